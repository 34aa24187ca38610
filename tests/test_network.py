"""The network: it notices new weights, can be copied, and answers alike in every precision and mode."""

from __future__ import annotations

import copy
import pickle

import pytest
import tiny
import torch

from memorywrap import MemoryWrapClassifier
from memorywrap.trust import SIGNALS, TrustGauge

GAUGE = TrustGauge(0.5, (1.0,) * len(SIGNALS))


def test_a_bank_is_encoded_anew_whoever_changed_the_weights():
    """As a part of another module, by a training step, by hand: no way in is ours alone."""
    model, other = tiny.classifier(seed=3, trust=GAUGE.to_dict()), tiny.classifier(seed=4)
    parent = torch.nn.ModuleDict({"part": model})
    parent.load_state_dict({f"part.{name}": value for name, value in other.state_dict().items()})
    torch.testing.assert_close(
        model.bank.embeddings, other.make_bank(model.bank.images, model.bank.labels).embeddings
    )
    assert model.config.trust is None
    before = model.fingerprint
    model.requires_grad_(True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    assert model.fingerprint != before
    expected = model.encode(model.bank.images)
    torch.testing.assert_close(model.bank.embeddings, expected)
    torch.testing.assert_close(
        model.predict(tiny.picture()).logits,
        model.classify(model.input(tiny.picture())[None]).logits[0],
    )


def test_a_bank_of_other_weights_is_encoded_anew_where_it_is_lent(
    tiny_classifier: MemoryWrapClassifier,
) -> None:
    other = tiny.classifier(seed=4)
    lent = tiny_classifier.predict(tiny.picture(), bank=other.bank)
    expected = tiny_classifier.make_bank(other.bank.images, other.bank.labels)
    torch.testing.assert_close(lent.bank.embeddings, expected.embeddings)
    torch.testing.assert_close(
        lent.logits, tiny_classifier.predict(tiny.picture(), bank=expected).logits
    )


def test_equal_weights_have_one_fingerprint_wherever_they_are() -> None:
    model = tiny.classifier()
    assert model.fingerprint == tiny.classifier().fingerprint
    assert model.fingerprint != tiny.classifier(seed=4).fingerprint
    # The same weights behind another normalisation are another model.
    assert model.fingerprint != tiny.classifier(std=(0.3, 0.25, 0.25)).fingerprint


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["copy", "pickle"],
)
def test_copies_answer_alike_and_are_on_their_own(copied, tiny_classifier: MemoryWrapClassifier):
    shown = tiny_classifier.explain(tiny.picture(), steps=2)
    other = copied(tiny_classifier)
    assert other.bank.keys == tiny_classifier.bank.keys
    again = other.explain(tiny.picture(), steps=2)
    torch.testing.assert_close(again.input_map, shown.input_map)
    with torch.no_grad():
        next(other.encoder.parameters()).mul_(-1)
    assert not torch.allclose(other.bank.embeddings, tiny_classifier.bank.embeddings)
    torch.testing.assert_close(
        tiny_classifier.predict(tiny.picture()).logits, shown.prediction.logits
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_predicts_and_explains(dtype: torch.dtype) -> None:
    expected = tiny.classifier().predict(tiny.picture()).probabilities
    model = tiny.classifier().to(dtype)
    found = model.predict(tiny.picture())
    assert found.probabilities == pytest.approx(expected, abs=0.1)
    explanation = model.explain(found, steps=16)
    assert explanation.input_map.dtype == torch.float32
    assert explanation.completeness_error < 0.2
    assert not torch.isnan(explanation.input_map).any()


def test_inference_mode_is_no_obstacle() -> None:
    expected = tiny.classifier().explain(tiny.picture(), steps=2)
    with torch.inference_mode():
        model = tiny.classifier()
        assert model.predict(tiny.picture()).predicted == expected.prediction.predicted
        found = model.explain(tiny.picture(), steps=2)
    torch.testing.assert_close(found.input_map, expected.input_map)
    torch.testing.assert_close(model.explain(tiny.picture(), steps=2).input_map, found.input_map)


def test_predicting_amid_training_answers_as_after_it_and_changes_nothing() -> None:
    model = tiny.classifier()
    expected = model.predict(tiny.picture()).logits
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.testing.assert_close(model.predict(tiny.picture()).logits, expected)
    model.explain(tiny.picture(), steps=2)
    model.make_bank(*tiny.images(3))
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_plain_network_says_that_it_has_no_memory() -> None:
    model = tiny.classifier("std")
    bank = tiny.classifier().bank
    for ask in (
        lambda: model.make_bank(*tiny.images(3)),
        lambda: model.set_bank(bank),
        lambda: model.completed(bank),
        lambda: model.predict(tiny.picture(), without=[1]),
        lambda: model.warm_paths(),
        lambda: model.explain(tiny.picture()),
    ):
        with pytest.raises(ValueError, match=r"without memory|no memory bank: expected variant"):
            ask()


def test_a_query_without_any_sample_is_told(tiny_classifier: MemoryWrapClassifier) -> None:
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[1] = False
    queries = tiny_classifier.encode(tiny.images(2)[0])
    with pytest.raises(ValueError, match="row 1 allows no sample"):
        tiny_classifier.read(queries, mask=mask)


def test_the_bank_goes_along_when_the_model_moves():
    model = tiny.classifier().double()
    assert model.bank.embeddings.dtype == torch.float64
    expected = tiny.classifier().predict(tiny.picture()).logits
    torch.testing.assert_close(model.predict(tiny.picture()).logits.float(), expected)


def test_embeddings_have_forward_mode_derivatives():
    model = tiny.classifier().double()
    generator = torch.Generator().manual_seed(0)
    pixels, way = torch.rand(2, 1, 3, 32, 32, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        ahead, behind = model.embed(pixels + 1e-5 * way), model.embed(pixels - 1e-5 * way)
        _, slope = torch.func.jvp(model.embed, (pixels,), (way,))
    torch.testing.assert_close(slope, (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-7)


def test_weights_replaced_more_than_once_are_noticed():
    model = tiny.classifier()
    weight, pixels = next(model.encoder.parameters()), torch.rand(2, 3, 32, 32)
    for _ in range(20):
        model.paths()
        for _ in range(2):  # the second tends to lie where the one before the first lay
            weight.data = torch.randn_like(weight)
        with torch.no_grad():
            expected = model.encoder((pixels - model.mean) / model.std)
            torch.testing.assert_close(model.frozen.embed(pixels), expected, rtol=1e-3, atol=1e-4)
