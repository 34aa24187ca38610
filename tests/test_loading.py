"""Models ready to answer, and banks drawn anew from training data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import tiny
import torch

from memorywrap.data.sampling import balanced, reduced
from memorywrap.data.sets import DATA_SETS, DataError, DataSet, ImageData, Split, Wanted
from memorywrap.loading import legible_bank, random_bank, training_images


@dataclass(frozen=True, kw_only=True)
class Asked(DataSet):
    """A data set of ninety images that notes what it was asked for."""

    wanted: list[Wanted] = field(default_factory=list)

    def load(self, wanted: Wanted) -> ImageData:
        self.wanted.append(wanted)
        images = Split(*tiny.images(90, seed=8))
        return ImageData(self.name, tiny.CLASSES, images, images, {"name": self.name})


@pytest.fixture
def train() -> Split:
    return Split(*tiny.images(90, seed=8))


def test_a_random_bank_is_as_large_as_the_models_own_and_drawn_by_its_seed(tiny_classifier, train):
    first, again, other = (random_bank(tiny_classifier, train, seed) for seed in (1, 1, 2))
    assert len(first) == len(tiny_classifier.bank) == 12
    assert first.keys == again.keys != other.keys


def test_a_legible_bank_holds_the_quarter_that_the_model_recognises_most_surely(
    tiny_classifier, train
):
    # 90 images for 4 x 12 places: some are not drawn at all, and of those drawn a fourth stays.
    legible = legible_bank(tiny_classifier, train)
    assert legible.labels.bincount().tolist() == [4, 4, 4]
    assert legible.keys == legible_bank(tiny_classifier, train).keys
    tiny_classifier.set_bank(random_bank(tiny_classifier, train, 5))
    assert legible.keys == legible_bank(tiny_classifier, train).keys  # whatever its present one
    seed = tiny_classifier.config.seed
    drawn = balanced(train.labels, 48, seed)
    first = balanced(train.labels, 12, seed)
    bank = tiny_classifier.make_bank(train.images[first], train.labels[first])
    sure = tiny_classifier.classify(train.images[drawn], bank)[0].softmax(dim=1)
    for label in range(3):
        mine = drawn[train.labels[drawn] == label]
        order = sure[train.labels[drawn] == label, label].argsort(descending=True)
        kept = legible.images[legible.labels == label]
        assert torch.equal(kept, train.images[mine[order[:4]]])


@pytest.mark.parametrize("draw", [legible_bank, lambda model, train: random_bank(model, train, 0)])
def test_a_model_without_memory_has_no_bank_to_draw_again(draw, train):
    with pytest.raises(ValueError, match="no memory bank"):
        draw(tiny.classifier("std"), train)


def test_training_images_are_those_that_the_model_was_trained_on(
    tiny_classifier, train, monkeypatch
):
    monkeypatch.setitem(DATA_SETS, "asked", record := Asked(name="asked"))
    data = {"name": "asked", "train": 90, "samples": 20, "seed": 3}
    config = replace(tiny_classifier.config, data=data)
    rows = reduced(train.labels, 20, 3)
    assert torch.equal(training_images(config).images, train.images[rows])
    assert torch.equal(training_images(config, 5).images, train.images[rows])  # which cost nothing
    assert not record.wanted[-1].fetch
    training_images(config, fetch=True)
    assert record.wanted[-1].fetch
    with pytest.raises(DataError, match="does not say what it was trained on"):
        training_images(replace(config, data={}))


def test_of_rendered_images_no_more_are_rendered_than_are_wanted(tiny_classifier, monkeypatch):
    monkeypatch.setitem(DATA_SETS, "asked", record := Asked(name="asked", rendered=True))
    config = replace(tiny_classifier.config, data={"name": "asked", "train": 60, "seed": 3})
    for most in (None, 20, 100):
        training_images(config, most)
    assert [(wanted.samples, wanted.seed) for wanted in record.wanted] == [
        (60, 3),
        (20, 3),
        (60, 3),
    ]
