"""Augmentation of whole batches: what each setting does to the pixels."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch.nn import functional

from memorywrap.training.augment import Augment, augment


def gradient_images(count):
    values = torch.arange(32 * 32).view(1, 1, 32, 32).expand(count, 3, 32, 32)
    return (values // 4).to(torch.uint8)


def test_no_augmentation_leaves_the_pixels():
    images = tiny.images(4)[0]
    assert torch.equal(augment(images, Augment(), torch.Generator()), images / 255)


def test_images_are_shifted_by_all_but_one_of_their_pixels_at_most():
    images = tiny.images(40)[0]
    found = augment(images, Augment(translate=31), torch.Generator().manual_seed(3))
    assert found.min() >= 0 and found.max() <= 1 and not torch.equal(found, images / 255)


def test_shifts_and_flips_move_whole_pixels_and_mirror_at_the_edges():
    images = tiny.images(40)[0]
    settings = Augment(translate=2, flip=True)
    found = augment(images, settings, torch.Generator().manual_seed(3))
    padded = functional.pad(images / 255, (2, 2, 2, 2), mode="reflect")
    seen = set()
    for image, moved in zip(padded, found, strict=True):
        matches = [
            (top, left, flip)
            for top in range(5)
            for left in range(5)
            for flip in (False, True)
            if torch.equal(
                image[:, top : top + 32, left : left + 32].flip(2 if flip else ()), moved
            )
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) > 20


@pytest.mark.parametrize(
    "settings",
    [
        Augment(rotate=10, scale=0.2, shear=0.1, translate=3),
        Augment(brightness=0.2, contrast=0.4, colour=0.1, invert=0.5),
        Augment(cutout=8),
    ],
)
def test_augmented_images_are_alike_valid_and_repeatable(settings):
    images = gradient_images(16)
    first, again = (augment(images, settings, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == images.shape and first.dtype == torch.float32
    assert first.min() >= 0 and first.max() <= 1
    assert len({image.numpy().tobytes() for image in first}) == 16
    assert torch.equal(images, gradient_images(16))  # the data set is not touched


def test_negatives_and_cut_outs_are_what_they_say():
    images = tiny.images(64)[0]
    negatives = augment(images, Augment(invert=1.0), torch.Generator())
    torch.testing.assert_close(negatives, 1 - images / 255)
    cut = augment(images, Augment(cutout=8), torch.Generator().manual_seed(0))
    changed = (cut != images / 255).any(dim=1)
    assert (cut[changed[:, None].expand_as(cut)] == 0.5).all()
    rows, columns = changed.any(dim=2).sum(dim=1), changed.any(dim=1).sum(dim=1)
    assert rows.max() <= 8 and columns.max() <= 8 and rows.float().mean() > 4
