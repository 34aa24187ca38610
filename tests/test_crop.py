"""The first guess at what to classify: inside the picture, on the object, whatever the size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from memorywrap.crop import drawing_box, figure_box, suggest_box

RED = (200, 30, 30)


def redness(inputs: Tensor) -> Tensor:
    """How well each input matches a red disc that fills it."""
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    disc = (rows - 15.5) ** 2 + (columns - 15.5) ** 2 < 14**2
    red = inputs[:, 0].float() - inputs[:, 2].float() > 80
    return (red == disc).float().mean(dim=(1, 2))


def scene(size: tuple[int, int], centre: tuple[int, int], radius: int) -> Image.Image:
    image = Image.new("RGB", size, (90, 90, 90))
    x, y = centre
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), RED)
    return image


@pytest.mark.parametrize(
    ("size", "centre", "radius"),
    [((640, 480), (500, 130), 70), ((300, 900), (100, 700), 60), ((3000, 2000), (700, 900), 400)],
)
def test_the_square_lies_on_the_object(size, centre, radius) -> None:
    left, top, right, bottom = suggest_box(redness, scene(size, centre, radius), 32)
    assert right - left == bottom - top
    assert abs((left + right) / 2 - centre[0]) < radius / 2
    assert abs((top + bottom) / 2 - centre[1]) < radius / 2
    assert 1.4 * radius < right - left < 3.2 * radius


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 400), (5, 7), (31, 90), (33, 32), (65, 65), (401, 399)]
)
def test_the_square_is_inside_the_picture(size) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    left, top, right, bottom = suggest_box(redness, Image.fromarray(noise), 32)
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    assert right - left == bottom - top


def test_a_small_square_picture_is_taken_whole() -> None:
    assert suggest_box(redness, scene((64, 64), (20, 20), 9), 32) == (0, 0, 64, 64)


@pytest.mark.parametrize("score", [1.0, -1.0, -300.0])
def test_of_equals_the_largest_is_taken(score: float) -> None:
    image = Image.new("RGB", (300, 200))
    left, _, right, _ = suggest_box(lambda inputs: torch.full((len(inputs),), score), image, 32)
    assert right - left == 200


@pytest.mark.parametrize("size", [(1900, 40), (61, 2000), (90000, 20), (25_000_000, 1)])
def test_a_long_narrow_picture_is_not_looked_at_for_ever(size) -> None:
    looked_at = []

    def count(inputs: Tensor) -> Tensor:
        looked_at.append(len(inputs))
        return redness(inputs)

    left, top, right, bottom = suggest_box(count, Image.new("RGB", size), 32)
    assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
    assert sum(looked_at) < 1000


def test_a_figure_on_plain_paper_is_framed_and_nothing_else_is() -> None:
    paper = Image.new("RGB", (400, 300), "white")
    drawing = paper.copy()
    ImageDraw.Draw(drawing).line((250, 100, 250, 200), "black", 9)
    assert figure_box(drawing) == drawing_box(drawing)
    row = drawing.copy()
    ImageDraw.Draw(row).line((80, 100, 80, 200), "black", 9)
    cut_off = paper.copy()
    ImageDraw.Draw(cut_off).line((250, 200, 250, 300), "black", 9)
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for other in (paper, row, cut_off, Image.fromarray(noise)):
        assert figure_box(other) is None


def test_a_drawing_is_framed_by_its_strokes() -> None:
    drawing = Image.new("RGB", (400, 300), "white")
    ImageDraw.Draw(drawing).line((250, 100, 250, 200), "black", 9)
    left, top, right, bottom = drawing_box(drawing)
    assert left < 250 - 20 and right > 250 + 20
    assert top < 100 and bottom > 200
    assert right - left == bottom - top < 200


def test_a_model_of_whole_photographs_looks_at_the_middle():
    image = Image.effect_noise((600, 400), 60).convert("RGB")

    def scores(inputs):
        raise AssertionError("nothing is looked for")

    assert suggest_box(scores, image, 224) == (100, 0, 500, 400)
