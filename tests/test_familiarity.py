"""Unlike everything known: learned from embeddings, kept with the weights, shown first."""

from __future__ import annotations

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from memorywrap import MemoryWrapClassifier
from memorywrap.checkpoints.folder import FAMILIARITY, CheckpointError
from memorywrap.familiarity import REFUSED, Familiarity, fit_familiarity


def clouds(count: int, away: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 8, generator=generator) + away * torch.arange(8) / 8


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memorywrap.familiarity._STEPS", 1000)
        yield


@pytest.fixture(scope="module")
def learned() -> Familiarity:
    return fit_familiarity(clouds(2000, 0, 0), clouds(2000, 3, 1), clouds(2000, 0, 2))


@pytest.fixture
def model():
    """One that knows what its embeddings say: whatever has an above-average first number."""
    model = tiny.classifier()
    dim = model.bank.embeddings.shape[1]
    weights = torch.zeros(1, dim)
    weights[0, 0] = 1
    model.set_familiarity(
        Familiarity(
            torch.zeros(dim),
            torch.ones(dim),
            weights,
            torch.full((1,), 9.0),
            torch.ones(1),
            torch.tensor(-9.0),
        )
    )
    return model


@pytest.mark.slow
def test_what_was_never_seen_is_told_from_what_is_known(learned) -> None:
    assert (learned(clouds(2000, 3, 3)) < 0).double().mean() > 0.9
    assert (learned(clouds(4000, 0, 4)) < 0).double().mean() == pytest.approx(REFUSED, abs=0.01)


@pytest.mark.slow
def test_it_is_the_same_for_the_same_seed_and_leaves_chance_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    one, two = (
        fit_familiarity(clouds(50, 0, 0), clouds(50, 3, 1), clouds(50, 0, 2), seed=3) for _ in "ab"
    )
    assert torch.equal(torch.rand(1), wanted)
    assert torch.equal(one(clouds(9, 1, 7)), two(clouds(9, 1, 7)))


def test_a_prediction_says_whether_its_input_is_known(model) -> None:
    seen = model.predict_inputs(list(tiny.images(30, seed=3)[0]))
    expected = [float(one.query[0]) for one in seen]
    assert [one.familiarity for one in seen] == pytest.approx(expected, abs=1e-4)
    assert [one.unlike for one in seen] == [value < 0 for value in expected]
    assert seen[0].to_dict("tiny")["unlike"] is seen[0].unlike
    plain = tiny.classifier().predict(tiny.picture())
    assert plain.familiarity is None and plain.unlike is False


def test_it_travels_with_the_checkpoint_and_not_with_other_weights(model, tmp_path) -> None:
    model.save_pretrained(tmp_path / "m")
    again = MemoryWrapClassifier.from_pretrained(tmp_path / "m", device="cpu")
    assert again.familiarity is not None
    with torch.no_grad():
        next(again.parameters()).add_(0.1)
    assert again.familiarity is None and again.predict(tiny.picture()).familiarity is None
    again.save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m" / FAMILIARITY).exists()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda found: found.pop("centre"), "expected the tensors"),
        (lambda found: found.update(scale=torch.ones(3)), "scale: expected finite numbers"),
        (lambda found: found.update(offset=torch.tensor(float("nan"))), "offset: expected finite"),
    ],
)
def test_a_damaged_one_is_refused_by_name(model, tmp_path, change, what) -> None:
    model.save_pretrained(tmp_path / "m")
    found = load_file(tmp_path / "m" / FAMILIARITY)
    change(found)
    save_file(found, tmp_path / "m" / FAMILIARITY)
    with pytest.raises(CheckpointError, match=what):
        MemoryWrapClassifier.from_pretrained(tmp_path / "m", device="cpu")
