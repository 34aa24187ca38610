"""Data sets by name: their records, seeded training sets, and the splits to measure on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from image_folders import DIGITS, write_digits, write_images

from memorywrap.checkpoints.card import model_card
from memorywrap.checkpoints.config import Config
from memorywrap.data.banks import bank_recipe
from memorywrap.data.published import PublishedSet
from memorywrap.data.sets import (
    DATA_SETS,
    DataError,
    DataSet,
    ImageData,
    Split,
    data_names,
    describe,
    load_data,
    load_test,
    register_data_set,
)
from memorywrap.training.recipes import recipe_for


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar10", "--download"),
        ("svhn", "--download"),
        ("cinic10", "github.com/BayesWatch/cinic-10"),
        ("mnist", "expected digits, cifar10, svhn, cinic10 or folder:PATH"),
        ("folder", "unknown data set 'folder'"),
        ("svhn:extra", "unknown data set 'svhn:extra'"),
        ("folder:/nowhere/at/all", "no folder /nowhere/at/all"),
    ],
)
def test_missing_data_says_how_to_get_it_and_nothing_is_downloaded(name, message, monkeypatch):
    monkeypatch.setattr(PublishedSet, "download", lambda *_: pytest.fail("downloaded"))
    with pytest.raises(DataError, match=message):
        load_data(name)


def test_a_named_set_is_read_from_the_data_folder(data):
    write_digits(data / "svhn", 2)
    svhn = load_data("svhn")
    assert svhn.version["format"] == "png" and len(svhn.train) == 20
    assert describe(svhn.version) == "SVHN (20 training and 10 test images)"
    assert load_test("svhn", DIGITS)[1].labels.tolist() == list(range(10))
    assert len(load_test("svhn:train")[1]) == 20
    with pytest.raises(DataError, match="classes differ from the model's: expected cat, dog"):
        load_test("svhn", ("cat", "dog"))


def test_whole_sets_are_called_so_and_copies_by_what_they_lack():
    whole = {"name": "cifar10", "format": "png", "train": 50_000, "test": 10_000}
    assert describe(whole) == "CIFAR-10"
    assert describe({**whole, "format": "jpg+png"}) == "CIFAR-10 (JPEG copy)"
    assert describe({**whole, "test": 9}).endswith("(50,000 training and 9 test images)")
    assert describe({"name": "gone", "format": "jpg", "train": 2, "test": 1}).startswith("gone (2 ")


def test_reduced_sets_are_drawn_by_their_seed(tmp_path):
    write_images(tmp_path / "pets", {"cat": 30, "dog": 30})
    name = f"folder:{tmp_path / 'pets'}"
    first, again, other = (load_data(name, samples=20, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.train.images, again.train.images) and len(first.train) == 20
    assert not torch.equal(first.train.images, other.train.images)
    assert torch.equal(first.test.images, other.test.images)
    assert first.train.images[:, 0, 0, 0].unique().numel() == 20
    assert (first.version["samples"], first.version["seed"]) == (20, 1)
    with pytest.raises(DataError, match="expected 1 to 48 training samples, received 49"):
        load_data(name, samples=49)


def test_no_samples_are_not_all_samples():
    with pytest.raises(DataError, match="at least 1 training sample, received 0"):
        load_data("digits", samples=0)


@pytest.fixture
def arrows(monkeypatch):
    """A data set of somebody else, in one class: everything that is said of it is in its record."""
    monkeypatch.setattr("memorywrap.data.sets.DATA_SETS", records := dict(DATA_SETS))
    for module in ("banks",):
        monkeypatch.setattr(f"memorywrap.data.{module}.DATA_SETS", records)

    class Arrows(DataSet):
        def load(self, wanted):
            split = Split(torch.zeros(6, 3, 32, 32, dtype=torch.uint8), torch.arange(6) % 2)
            version = {"name": self.name, "format": "png", "train": 6, "test": 6}
            return ImageData(self.name, ("left", "right"), split, split, version)

    record = Arrows(
        name="arrows",
        title="Arrows",
        sizes=(6, 6),
        mirrors=False,
        public=True,
        paper_epochs=8,
        account="{train} arrows.",
        limits="No other signs.",
    )
    register_data_set(record)
    return record


def test_a_new_data_set_is_one_record(arrows):
    assert "arrows" in data_names()
    data = load_data("arrows", samples=4, seed=2)
    assert len(data.train) == 4 and describe(data.version) == "Arrows"
    paper, fast = (recipe_for(name, "arrows", 6) for name in ("paper", "fast"))
    assert (paper.epochs, paper.milestones, paper.augment.flip) == (8, (4, 6), False)
    assert not (fast.augment.flip or fast.mirror)
    assert bank_recipe(data, 2, 0)["dataset"] == "arrows"
    card = model_card(Config("Arrows", "compact", data.classes, data=data.version))
    assert "6 arrows." in card and "No other signs." in card
    register_data_set(replace(arrows, mirrors=True, public=False))
    assert recipe_for("fast", "arrows", 6).augment.flip
    assert bank_recipe(data, 2, 0) is None
