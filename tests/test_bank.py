"""The memory bank: edits return a new bank and leave the old one and its indices alone."""

from __future__ import annotations

import pytest
import tiny
import torch

from memorywrap import MemoryBank


@pytest.fixture
def bank() -> MemoryBank:
    images, labels = tiny.images(5)
    return MemoryBank(images, labels, torch.randn(5, 4), predicted=torch.tensor([0, 1, 2, 0, 1]))


def test_a_bank_is_shown_in_a_line(bank: MemoryBank) -> None:
    size, classes = len(bank), len(bank.labels.unique())
    assert repr(bank) == f"<MemoryBank: {size} samples of {classes} classes, 32 x 32 pixels>"
    assert "pixels, 2 of them removed>" in repr(bank.without([0, 1]))


def test_removing_keeps_every_index_and_asks_for_new_predictions(bank: MemoryBank) -> None:
    smaller = bank.without([1, 3, 1])
    assert smaller.available.tolist() == [True, False, True, False, True]
    assert len(smaller) == 5
    assert smaller.predicted is None
    torch.testing.assert_close(smaller.images, bank.images)
    assert bank.available.all()
    assert bank.predicted is not None


def test_removed_samples_stay_removed_through_other_edits(bank: MemoryBank) -> None:
    images, _ = tiny.images(2, seed=7)
    edited = bank.without([1]).added(images, [2, 0], torch.randn(2, 4)).relabelled(0, 2)
    assert edited.without([0]).available.tolist() == [False, False, True, True, True, True, True]


def test_a_new_label_changes_no_prediction(bank: MemoryBank) -> None:
    edited = bank.relabelled(2, 0)
    assert edited.labels.tolist() == [0, 1, 0, 0, 1]
    assert bank.labels.tolist() == [0, 1, 2, 0, 1]
    assert edited.predicted is bank.predicted


def test_a_swapped_sample_takes_the_place_of_another(bank: MemoryBank) -> None:
    images, _ = tiny.images(1, seed=7)
    embedding = torch.randn(4)
    edited = bank.without([0]).swapped(3, images[0], 2, embedding)
    assert edited.labels.tolist() == [0, 1, 2, 2, 1] and bank.labels.tolist() == [0, 1, 2, 0, 1]
    torch.testing.assert_close(edited.images[3], images[0])
    torch.testing.assert_close(edited.embeddings[3], embedding)
    assert not torch.equal(bank.images[3], images[0])
    assert edited.available.tolist() == [False, True, True, True, True]
    assert edited.predicted is None
    kept = [0, 1, 2, 4]
    assert [edited.keys[i] for i in kept] == [bank.keys[i] for i in kept]
    assert edited.keys[3] != bank.keys[3]


def test_a_sample_unlike_those_of_the_bank_is_refused(bank: MemoryBank) -> None:
    image, embedding = bank.images[0], bank.embeddings[0]
    for wrong in (
        (image.float() / 255, 1, embedding),
        (image[:1, :1, :1], 1, embedding),
        (image, 1, torch.tensor(1.0)),
        (image, -1, embedding),
    ):
        with pytest.raises(ValueError, match=r"(image|embedding|label): expected .*, received "):
            bank.swapped(2, *wrong)
    with pytest.raises(ValueError, match="label: expected one from 0, received -1"):
        bank.relabelled(2, -1)


def test_added_samples_unlike_those_of_the_bank_are_refused(bank: MemoryBank) -> None:
    images, embeddings = bank.images[:2], bank.embeddings[:2]
    for wrong in (
        (images.float() / 255, [1, 1], embeddings),
        (images[..., :16, :16], [1, 1], embeddings),
        (images, [1, 1], embeddings[:, :3]),
        (images, [1, 1], embeddings.double()),
        (images, [1, 1], embeddings[:1]),
        (images, [1], embeddings),
        (images, [1, -1], embeddings),
    ):
        with pytest.raises(ValueError, match=r"(images|embeddings|labels?): expected .*, received"):
            bank.added(*wrong)


def test_added_samples_come_last_and_ask_for_new_predictions(bank: MemoryBank) -> None:
    images, _ = tiny.images(2, seed=7)
    added = torch.randn(2, 4)
    larger = bank.added(images, [2, 0], added)
    assert (len(larger), len(bank)) == (7, 5)
    assert larger.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    torch.testing.assert_close(larger.images[5:], images)
    torch.testing.assert_close(larger.embeddings[5:], added)
    assert larger.predicted is None


def test_keys_tell_pixels_apart_and_survive_edits(bank: MemoryBank) -> None:
    assert len(set(bank.keys)) == 5
    assert bank.without([0]).relabelled(1, 2).keys == bank.keys
    twin = bank.added(bank.images[:1], [0], bank.embeddings[:1])
    assert twin.keys[5] == bank.keys[0]


def test_the_last_sample_cannot_be_removed(bank: MemoryBank) -> None:
    with pytest.raises(ValueError, match="at least one sample must stay"):
        bank.without(range(5))


@pytest.mark.parametrize("index", [-1, 5])
def test_an_index_outside_the_bank_shows_the_allowed_ones(bank: MemoryBank, index: int) -> None:
    with pytest.raises(IndexError, match=f"sample {index}: expected an index from 0 to 4"):
        bank.without([index])
    with pytest.raises(IndexError, match=f"sample {index}: expected an index from 0 to 4"):
        bank.relabelled(index, 0)


def test_parts_that_do_not_fit_show_expected_and_received() -> None:
    images, labels = tiny.images(5)
    with pytest.raises(ValueError, match="5 images: expected as many labels, received 4"):
        MemoryBank(images, labels[:4], torch.randn(5, 4))
    with pytest.raises(ValueError, match="5 images: expected as many embeddings, received 6"):
        MemoryBank(images, labels, torch.randn(6, 4))
    with pytest.raises(ValueError, match=r"expected uint8 .*, received torch.float32 \(5, 3, 32"):
        MemoryBank(images.float(), labels, torch.randn(5, 4))
