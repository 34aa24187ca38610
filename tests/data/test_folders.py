"""Image folders, good and bad."""

from __future__ import annotations

import logging

import pytest
import torch
from image_folders import write_images
from PIL import Image

from memorywrap.data.sets import DataError, load_data, load_test


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
    (tmp_path / "pets/cat/empty.png").write_bytes(b"")
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            data = load_data(f"folder:{tmp_path / 'pets'}")
        assert "skipped 2 unreadable files: cat/broken.png (The file is not" in caplog.text
        assert "; cat/empty.png (" in caplog.text
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


@pytest.mark.parametrize("name", ["train", "test"])
def test_a_class_may_be_called_like_a_split(tmp_path, name):
    write_images(tmp_path, {"bus": 5, name: 5})
    data = load_data(f"folder:{tmp_path}")
    assert data.classes == tuple(sorted(["bus", name]))
    assert (len(data.train), len(data.test)) == (8, 2)


def test_a_class_too_small_to_split_is_named(tmp_path):
    write_images(tmp_path, {"cat": 1, "dog": 9})
    with pytest.raises(DataError, match="class cat has one image"):
        load_data(f"folder:{tmp_path}")


@pytest.mark.parametrize("samples", [None, 2])
def test_images_for_testing_alone_are_never_trained_on(tmp_path, samples):
    write_images(tmp_path / "pets/test", {"cat": 5, "dog": 5})
    with pytest.raises(
        DataError, match=r"never trained on: put images .* into \S+/pets/train, one"
    ):
        load_data(f"folder:{tmp_path / 'pets'}", samples=samples)
    data, test = load_test(f"folder:{tmp_path / 'pets'}")
    assert len(test) == 10 and len(data.train) == 0
    assert data.version["split"] == "test folder"


def test_a_training_folder_alone_is_split_like_a_folder_of_classes(tmp_path):
    for folder in ("pets", "others/train"):
        write_images(tmp_path / folder, {"cat": 5, "dog": 5})
    plain, named = (load_data(f"folder:{tmp_path / name}") for name in ("pets", "others"))
    assert torch.equal(plain.train.images, named.train.images)
    assert len(named.test) == 2 and "20%" in named.version["split"]


def test_a_version_tells_copies_apart_by_their_pixels_alone(tmp_path):
    for name, cats in (("one", 5), ("two", 5), ("three", 6)):
        write_images(tmp_path / name, {"cat": cats, "dog": 5})
    one, two, three = (
        load_data(f"folder:{tmp_path / name}").version for name in ("one", "two", "three")
    )
    assert one["digest"] == two["digest"] != three["digest"]
    assert (one["name"], one["format"]) == (f"folder:{tmp_path / 'one'}", "png")
