"""Composed photographs: a number somewhere, with squares where a person would set them."""

from __future__ import annotations

import numpy as np
import pytest

from memorywrap.data.scenes import Scene, compose_scene


@pytest.mark.parametrize("part", ["learn", "test"])
def test_scenes_are_the_same_for_the_same_seed_and_hold_their_digits(part):
    seen = set()
    for seed in range(30):
        scene = compose_scene(seed, part, fonts=[])
        again = compose_scene(seed, part, fonts=[])
        assert np.array_equal(np.asarray(scene.image), np.asarray(again.image))
        assert len(scene.boxes) == len(scene.labels) >= 1
        width, height = scene.image.size
        for (left, top, right, bottom), label in zip(scene.boxes, scene.labels, strict=True):
            assert abs((right - left) - (bottom - top)) <= 1
            assert -0.3 * width < left < width and -0.3 * height < top < height
            assert scene.reads((left, top, right, bottom)) == label
            seen.add(label)
    assert len(seen) > 7


def test_parts_differ_and_a_scene_may_be_without_a_number():
    learn, test = (compose_scene(0, part, fonts=[]) for part in ("learn", "test"))
    assert learn.image.size != test.image.size or learn.labels != test.labels
    none = compose_scene(0, "learn", fonts=[], number=False)
    assert none.labels == none.boxes == () and none.reads((0, 0, 50, 50)) is None


def test_a_square_reads_the_digit_in_its_middle_and_none_between_or_too_far_out():
    scene = Scene(compose_scene(0, fonts=[]).image, ((0, 0, 20, 20), (20, 0, 40, 20)), (3, 7))
    assert scene.reads((0, 0, 20, 20)) == 3 and scene.reads((18, 2, 38, 22)) == 7
    assert scene.reads((10, 0, 30, 20)) is None  # half of each
    assert scene.reads((0, 0, 80, 80)) is None and scene.reads((8, 8, 12, 12)) is None
