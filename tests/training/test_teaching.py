"""Models taught with few pictures."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from app.answers import checked_settings
from app.uploads import ArgumentError
from memorywrap import MemoryWrapClassifier, patch_counterfactual
from memorywrap.familiarity import Nearest, nearest_of
from memorywrap.measures.reliance import reliance
from memorywrap.training import teaching
from memorywrap.training.teaching import (
    ENCODER,
    Lesson,
    looked_at,
    memory_of,
    pretrained,
    teach,
)

CLASSES = ["discs", "bars", "noise"]


def scenes(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of three kinds, in colours and places of chance."""
    chance = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, 224)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    images, labels = [], []
    for number in range(count):
        label = number % 3
        x, y, width = (torch.rand(3, generator=chance) * 0.6).tolist()
        colour, ground = torch.rand(2, 3, 1, 1, generator=chance)
        if label == 0:
            shape = ((rows - y) ** 2 + (columns - x) ** 2 < 0.1 + width / 3).float()
        elif label == 1:
            shape = ((columns * (4 + 10 * width) + x).floor() % 2).float()
        else:
            coarse = torch.rand(1, 1, 40, 40, generator=chance)
            shape = functional.interpolate(coarse, (224, 224))[0, 0]
        picture = ground + (colour - ground) * shape
        images.append((255 * picture).round().to(torch.uint8))
        labels.append(label)
    return torch.stack(images), torch.tensor(labels)


@pytest.fixture(scope="module")
def taught():
    images, labels = scenes(18, seed=0)
    return teach(Lesson(images, labels, CLASSES, looked_at(images)), title="Scenes")


@pytest.mark.slow
def test_it_tells_pictures_that_it_has_not_seen(taught):
    images, labels = scenes(12, seed=1)
    answers = torch.tensor(
        [one.predicted for one in taught.classifier.predict_inputs(list(images))]
    )
    assert (answers == labels).float().mean() >= 0.9
    assert set(taught.unseen.tolist()) <= {0, 1, 2}
    assert (taught.unseen == scenes(18, seed=0)[1]).float().mean() >= 0.7


@pytest.mark.slow
def test_its_memory_decides(taught):
    images, _ = scenes(12, seed=1)
    found = reliance(taught.classifier, taught.classifier.encode(images))
    assert found["necessity"]["percent"] >= 95 and found["follow_rate"]["percent"] >= 95


@pytest.mark.slow
def test_everything_works_with_it(taught, tmp_path):
    model = taught.classifier
    images, _ = scenes(3, seed=2)
    seen = model.predict_inputs([images[0]])[0]
    assert model.baselines == ("border", "mean")
    with pytest.raises(ArgumentError, match="Unknown baseline: expected one of border, mean"):
        checked_settings(model, "integrated_gradients", "white", None)
    explanation = model.explain(seen, steps=8)
    assert explanation.input_map.shape == (112, 14, 14)
    assert set(explanation.memory_maps) == {seen.example, seen.other}
    patch = patch_counterfactual(model, seen)
    assert patch is None or patch.prediction.predicted != seen.predicted
    model.save_pretrained(tmp_path / "scenes")
    again = MemoryWrapClassifier.from_pretrained(tmp_path / "scenes", device="cpu")
    (same,) = again.predict_inputs([images[0]])
    assert same.probabilities == pytest.approx(seen.probabilities, abs=0.02)
    assert same.familiarity == pytest.approx(seen.familiarity, abs=0.5)
    # What if the memory were another: the same input, which is as familiar as before.
    (other,) = again.predict([same], without=[0])
    assert other.familiarity == same.familiarity


@pytest.mark.slow
def test_two_pictures_of_a_class_are_enough_and_one_is_not(monkeypatch):
    monkeypatch.setattr(teaching, "_STEPS", 20)
    images, labels = scenes(6, seed=0)
    told = []
    lesson = Lesson(images, labels, CLASSES, looked_at(images))
    assert teach(lesson, progress=told.append).unseen.min() >= 0
    assert told[-1] == 1.0 and told == sorted(told)
    few = Lesson(images[:5], labels[:5], CLASSES, lesson.features[:5])
    with pytest.raises(ValueError, match="class noise: expected at least two pictures, received 1"):
        teach(few)
    with pytest.raises(ValueError, match="at least two"):
        teach(Lesson(images[:2], torch.zeros(2, dtype=torch.int64), ["one"], lesson.features[:2]))


@pytest.mark.parametrize(("classes", "each"), [(2, 2), (3, 2), (2, 3)])
def test_what_it_says_of_its_own_pictures_is_right_where_they_are_easily_told(
    monkeypatch, classes, each
):
    """Of two pictures of a class, one alone is left to learn from."""
    monkeypatch.setattr(teaching, "_assembled", lambda lesson, head, *_: head)
    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(classes).repeat_interleave(each)
    centres = torch.randn(classes, 1, 64, generator=chance)
    features = centres[labels] + 0.2 * torch.randn(len(labels), 2, 64, generator=chance)
    names = [f"class {number}" for number in range(classes)]
    unseen = teach(Lesson(torch.zeros(len(labels)), labels, names, features)).unseen
    assert unseen.tolist() == labels.tolist()


@pytest.mark.slow
def test_with_few_pictures_it_is_no_worse_than_the_nearest_of_them():
    images, labels = scenes(6, seed=0)
    unseen, right = scenes(30, seed=5)
    features, others = looked_at(images), looked_at(unseen)[:, 0]
    taught = teach(Lesson(images, labels, CLASSES, features)).classifier
    told = torch.tensor([one.predicted for one in taught.predict_inputs(list(unseen))])
    alike = functional.normalize(others, dim=1) @ functional.normalize(features[:, 0], dim=1).T
    nearest = labels[alike.argmax(dim=1)]
    assert (told == right).float().mean() >= (nearest == right).float().mean() - 0.1


def test_a_memory_has_as_many_of_each_class_and_those_that_stand_for_it():
    torch.manual_seed(0)
    features = torch.cat(
        [torch.randn(50, 4) * 0.1 + torch.eye(4)[0], torch.randn(10, 4) + torch.eye(4)[1]]
    )
    labels = torch.tensor([0] * 50 + [1] * 10)
    assert memory_of(features, labels, 60).tolist() == list(range(60))
    chosen = memory_of(features, labels, 12)
    assert labels[chosen].bincount().tolist() == [6, 6]
    mean = functional.normalize(features[:50], dim=1).mean(dim=0)
    far = (functional.normalize(features[chosen[:6]], dim=1).mean(dim=0) - mean).norm()
    random = torch.stack([
        (functional.normalize(features[torch.randperm(50)[:6]], dim=1).mean(dim=0) - mean).norm()
        for _ in range(50)
    ])  # fmt: skip
    assert far < random.quantile(0.1)


def test_what_is_like_no_taught_picture_is_unlike_everything_known():
    torch.manual_seed(0)
    features = torch.eye(16)[:2].repeat_interleave(10, 0) + 0.1 * torch.randn(20, 16)
    known = nearest_of(features)
    assert (known(features + 0.01) > 0).all()
    assert (known(torch.eye(16)[5:9]) < 0).all()
    with pytest.raises(ValueError, match="at least 2"):
        nearest_of(features[:1])


def test_what_looks_like_other_kinds_is_less_alike():
    """Two pictures of the same direction to the taught ones, one of which looks like a kind that they do not."""
    torch.manual_seed(0)
    features = torch.eye(16)[:2].repeat_interleave(10, 0) + 0.1 * torch.randn(20, 16)
    kinds = torch.eye(16, 17)  # each number of the features is a kind
    same, other = (
        torch.eye(16)[0] + 0.3 * torch.eye(16)[1],
        torch.eye(16)[0] + 0.9 * torch.eye(16)[7],
    )
    plain, told = nearest_of(features), nearest_of(features, kinds)
    asked = torch.stack([same, other])
    gaps = [float(known(asked)[0] - known(asked)[1]) for known in (plain, told)]
    assert 0 < gaps[0] < gaps[1]
    again = Nearest.from_tensors(told.tensors(), 16)
    torch.testing.assert_close(again(asked), told(asked))
    assert "kinds" not in Nearest.from_tensors(plain.tensors(), 16).tensors()
    with pytest.raises(ValueError, match="kinds"):
        Nearest.from_tensors(told.tensors() | {"kinds": torch.eye(16)}, 16)


def test_the_packaged_encoder_brings_its_kinds():
    made, _ = pretrained(ENCODER)
    assert made.kinds is not None and made.kinds.shape == (1000, 1281)
    assert "kinds" not in made.state_dict()
