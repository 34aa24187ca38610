"""Data sets: folders good and bad, seeded draws, published files, the cache."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from memorywrap.data import published as downloads
from memorywrap.data import sets as datasets
from memorywrap.data.sets import DataError, balanced, draw_bank, load_data, load_test, reduced


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """$MEMORYWRAP_DATA of each test's own, so that nobody's data or cache is touched."""
    folder = tmp_path / "data"
    monkeypatch.setenv("MEMORYWRAP_DATA", str(folder))
    return folder


def write_images(folder, counts, size=(32, 32)):
    """FOLDER/CLASS/N.png, each image of one grey value that no other has."""
    value = 0
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", size, (value, value, value)).save(folder / name / f"{index}.png")
            value += 1


def test_a_folder_with_train_and_test_is_read_in_the_order_of_class_names(tmp_path):
    write_images(tmp_path / "pets/train", {"dog": 2, "cat": 3})
    write_images(tmp_path / "pets/test", {"cat": 1, "dog": 1})
    data = load_data(f"folder:{tmp_path / 'pets'}")
    assert data.classes == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert data.train.images.shape == (5, 3, 32, 32) and data.train.images.dtype == torch.uint8
    assert data.train.images[:, 0, 0, 0].tolist() == [2, 3, 4, 0, 1]
    assert data.test.labels.tolist() == [0, 1]


def test_images_of_other_sizes_are_read_at_32_pixels(tmp_path):
    write_images(tmp_path / "train", {"a": 1, "b": 1}, size=(50, 40))
    write_images(tmp_path / "test", {"a": 1, "b": 1}, size=(8, 9))
    data = load_data(f"folder:{tmp_path}")
    assert data.train.images.shape == data.test.images.shape == (2, 3, 32, 32)


def test_a_folder_without_a_test_part_is_split_the_same_way_every_time(tmp_path):
    write_images(tmp_path / "pets", {"cat": 10, "dog": 20})
    data, again = (load_data(f"folder:{tmp_path / 'pets'}") for _ in range(2))
    assert data.test.labels.bincount().tolist() == [2, 4]
    assert data.train.labels.bincount().tolist() == [8, 16]
    values = torch.cat([data.train.images, data.test.images])[:, 0, 0, 0]
    assert sorted(values.tolist()) == list(range(30))
    assert torch.equal(data.test.images, again.test.images)
    assert "20%" in data.version["split"]


def test_unreadable_files_are_named_counted_and_skipped_also_from_the_cache(tmp_path, caplog):
    write_images(tmp_path / "pets", {"cat": 10, "dog": 10})
    (tmp_path / "pets/cat/broken.png").write_bytes(b"not an image")
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            data = load_data(f"folder:{tmp_path / 'pets'}")
        assert "skipped 1 unreadable files: cat/broken.png" in caplog.text
        assert len(data.train) + len(data.test) == 20


def test_a_second_reading_decodes_nothing_until_a_file_changes(tmp_path, monkeypatch):
    write_images(tmp_path / "pets", {"cat": 5, "dog": 5})
    name = f"folder:{tmp_path / 'pets'}"
    first = load_data(name)
    monkeypatch.setattr(
        "memorywrap.data.folders.read_image", lambda path: pytest.fail("decoded again")
    )
    assert load_data(name).version == first.version
    Image.new("RGB", (32, 32), (200, 0, 0)).save(tmp_path / "pets/cat/0.png")
    with pytest.raises(pytest.fail.Exception):
        load_data(name)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ({"cat": 2}, {"cat": 2}, "two at least; only the class 'cat'"),
        ({}, {"cat": 2}, "two at least; none"),
        ({"cat": 2, "dog": 0}, {"cat": 1, "dog": 1}, "no readable image in the class dog"),
        ({"cat": 2, "dog": 2}, {"cat": 1, "cow": 1}, "only in train: dog"),
        ({"cat": 2, "dog": 2}, {"cat": 1, "dog": 1, "eel": 1}, "only in test: eel"),
    ],
)
def test_unusable_folders_are_refused_by_what_is_wrong(tmp_path, train, test, message):
    (tmp_path / "train").mkdir()
    write_images(tmp_path / "train", train)
    write_images(tmp_path / "test", test)
    with pytest.raises(DataError, match=message):
        load_data(f"folder:{tmp_path}")


def test_a_class_too_small_to_split_is_named(tmp_path):
    write_images(tmp_path, {"cat": 1, "dog": 9})
    with pytest.raises(DataError, match="class cat has one image"):
        load_data(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar10", "--download"),
        ("svhn", "--download"),
        ("cinic10", "github.com/BayesWatch/cinic-10"),
        ("mnist", "expected digits, cifar10"),
        ("folder:/nowhere/at/all", "no folder /nowhere/at/all"),
    ],
)
def test_missing_data_says_how_to_get_it_and_nothing_is_downloaded(name, message, monkeypatch):
    monkeypatch.setattr(datasets, "download", lambda *_: pytest.fail("downloaded"))
    with pytest.raises(DataError, match=message):
        load_data(name)


def test_a_named_set_is_read_from_the_data_folder(data):
    write_images(data / "svhn/train", {str(digit): 2 for digit in range(10)})
    write_images(data / "svhn/test", {str(digit): 1 for digit in range(10)})
    svhn = load_data("svhn")
    assert svhn.version["format"] == "png" and len(svhn.train) == 20
    assert datasets.describe(svhn.version) == "SVHN (20 training and 10 test images)"
    assert load_test("svhn", tuple("0123456789"))[1].labels.tolist() == list(range(10))
    assert len(load_test("svhn:train")[1]) == 20
    with pytest.raises(DataError, match="classes differ from the model's: expected cat, dog"):
        load_test("svhn", ("cat", "dog"))


def test_reduced_sets_are_drawn_by_their_seed(tmp_path):
    write_images(tmp_path / "pets", {"cat": 30, "dog": 30})
    first, again, other = (
        load_data(f"folder:{tmp_path / 'pets'}", samples=20, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first.train.images, again.train.images) and len(first.train) == 20
    assert not torch.equal(first.train.images, other.train.images)
    assert torch.equal(first.test.images, other.test.images)
    assert first.train.images[:, 0, 0, 0].unique().numel() == 20
    with pytest.raises(DataError, match="expected 1 to 48 training samples, received 49"):
        load_data(f"folder:{tmp_path / 'pets'}", samples=49)
    assert reduced(torch.zeros(5), 5, 0).sort().values.tolist() == [0, 1, 2, 3, 4]


def test_balanced_takes_as_many_of_each_class_as_it_can():
    labels = torch.tensor([0] * 50 + [1] * 3 + [2] * 50)
    rows = balanced(labels, 15, seed=4)
    assert len(rows.unique()) == 15
    assert labels[rows].bincount().tolist() == [6, 3, 6]
    assert torch.equal(rows, balanced(labels, 15, seed=4))
    assert not torch.equal(rows, balanced(labels, 15, seed=5))


def test_a_bank_drawn_by_recipe_is_balanced_and_outlives_its_data(data):
    write_images(data / "svhn/train", {str(digit): 4 for digit in range(10)})
    write_images(data / "svhn/test", {str(digit): 1 for digit in range(10)})
    svhn = load_data("svhn", samples=30, seed=3)
    recipe = datasets.bank_recipe(svhn, 10, 3)
    bank = draw_bank(recipe)
    assert recipe.pop("digest") == datasets.digest_of(bank)
    assert recipe == {"dataset": "svhn", "seed": 3, "size": 10, "samples": 30}
    assert datasets.digest_of(bank) != datasets.digest_of(draw_bank({**recipe, "seed": 4}))
    rows = balanced(svhn.train.labels, 10, 3)
    assert torch.equal(bank.images, svhn.train.images[rows])
    (data / "svhn").rename(data / "gone")
    assert torch.equal(draw_bank(recipe).images, bank.images)
    with pytest.raises(DataError, match="svhn: no images"):
        draw_bank({**recipe, "seed": 5})


def test_published_cifar10_records_are_parsed_without_a_pickle(data):
    folder = data / "cifar10/cifar-10-batches-bin"
    folder.mkdir(parents=True)
    record = np.arange(3073, dtype=np.int64).astype(np.uint8)
    for name in [*(f"data_batch_{part}" for part in range(1, 6)), "test_batch"]:
        records = np.stack([record, record])
        records[:, 0] = (3, 9)
        records.tofile(folder / f"{name}.bin")
    cifar = load_data("cifar10")
    assert cifar.classes[3] == "cat" and len(cifar.train) == 10
    assert cifar.test.labels.tolist() == [3, 9]
    # Channel by channel, row by row: byte 1 + 1024 * channel + 32 * row + column.
    assert cifar.test.images[0, 2, 5, 7].item() == (1 + 2048 + 5 * 32 + 7) % 256
    (folder / "test_batch.bin").write_bytes(b"\1" * 3000)
    with pytest.raises(DataError, match=r"test_batch\.bin is damaged"):
        load_data("cifar10")


def test_svhn_without_scipy_says_so(data, monkeypatch):
    (data / "svhn").mkdir(parents=True)
    for part in ("train", "test"):
        (data / f"svhn/{part}_32x32.mat").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    with pytest.raises(DataError, match="need scipy"):
        load_data("svhn")


def test_published_svhn_calls_its_label_ten_zero(data, monkeypatch):
    savemat = pytest.importorskip("scipy.io").savemat
    (data / "svhn").mkdir(parents=True)
    pixels = np.zeros((32, 32, 3, 2), np.uint8)
    pixels[4, 6, 1, 1] = 77
    known = {}
    for part in ("train", "test"):
        path = data / f"svhn/{part}_32x32.mat"
        savemat(path, {"X": pixels, "y": np.array([[10], [4]])})
        url = downloads._SVHN[part][0]
        known[part] = (url, hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(downloads, "_SVHN", known)
    svhn = load_data("svhn")
    assert svhn.train.labels.tolist() == [0, 4]
    assert svhn.train.images[1, 1, 4, 6].item() == 77


def test_digits_are_rendered_once_and_tested_on_others(data, monkeypatch):
    monkeypatch.setattr(datasets, "DIGITS_TEST_SAMPLES", 30)
    digits = load_data("digits", samples=20, seed=1)
    assert digits.train.labels.bincount().tolist() == [2] * 10
    assert digits.version["fonts"] is not None and digits.version["seed"] == 1
    cached = sorted((data / "cache/digits").glob("20-1-*"))
    assert len(cached) == 1
    assert torch.equal(load_file(cached[0])["images"], digits.train.images)
    test = {image.numpy().tobytes() for image in digits.test.images}
    assert not any(image.numpy().tobytes() in test for image in digits.train.images)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path, data):
    data.parent.mkdir(exist_ok=True)
    data.write_text("a file where the folder should be")
    write_images(tmp_path / "pets", {"cat": 5, "dog": 5})
    assert len(load_data(f"folder:{tmp_path / 'pets'}").train) == 8


def test_a_bank_is_drawn_from_public_data_sets_only(tmp_path):
    recipe = {"dataset": f"folder:{tmp_path}", "seed": 0, "size": 2}
    with pytest.raises(DataError, match="expected one of cifar10, svhn, cinic10"):
        draw_bank(recipe)


def test_no_samples_are_not_all_samples():
    with pytest.raises(DataError, match="at least 1 training sample, received 0"):
        load_data("digits", samples=0)
