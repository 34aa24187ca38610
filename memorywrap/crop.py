"""A first guess at the part of a picture to classify: the square most like something in memory.

A person may move it. Squares of several sizes slide over the picture and the one most similar to a
memory sample is taken, then moved and resized a little while that helps. A network's probabilities
would be a worse guide: they are just as high on clutter, which resembles no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from memorywrap.images import Box, central_square, to_input

# Squares from the whole shorter side down to this part of it, each smaller by the factor below.
_SMALLEST = 0.25
_SHRINK = 2**-0.5
_MOST = 800  # squares to look at: a long narrow picture has room for thousands
# A picture this many times as long as it is wide is a strip, not a photograph.
_LONGEST = 50
# Neighbouring squares are this part of their side apart.
_STRIDE = 1 / 3
# The best few squares are tried again shifted by this part of their side and resized.
_BEST = 3
_SHIFTS = (-1 / 6, 0, 1 / 6)
_RESIZES = (2**-0.25, 1, 2**0.25)
# Part of an object may score as high as all of it: a square half as large loses this power of 1/2.
_PREFER_LARGE = 0.01
# A picture at most this much larger than the model's input is taken to be cropped already.
_CROPPED = 2.0
# A model that sees so many pixels of a side looks at whole photographs, as it was taught.
_WHOLE = 128
# Room around the strokes of a drawing, as a part of their longer side.
_MARGIN = 0.2
# Grey levels away from those of the paper: strokes are more, its grain is less.
_INK, _GRAIN = 40, 8

Scores = Callable[[Tensor], Tensor]


def suggest_box(scores: Scores, image: Image.Image, size: int) -> Box:
    """The square (left, top, right, bottom) to start from.

    Args:
        scores: uint8 (n, 3, size, size) -> (n,), how likely each is to show something to classify.
        image: an upright RGB image.
        size: side of the model's input in pixels.

    Returns:
        The central square for a picture that is cropped already (square and small) or a strip,
        otherwise the best of some hundred squares.
    """
    if is_settled(image, size):
        return central_square(image)
    small, shrink = small_copy(image, size)
    scored = _scored(scores, small, size, _squares(*small.size, size))
    best = sorted(scored, key=scored.__getitem__, reverse=True)[:_BEST]
    near = {box for start in best for box in _near(start, *small.size)}
    scored |= _scored(scores, small, size, sorted(near - set(scored)))
    return enlarged(max(scored, key=scored.__getitem__), shrink, image)


def small_copy(image: Image.Image, size: int) -> tuple[Image.Image, int]:
    """A copy of a large photograph that tells the same, sooner, and how many times smaller it is.

    Args:
        image: an upright RGB image.
        size: side of the model's input in pixels.
    """
    shrink = max(1, round(min(image.size) * _SMALLEST / size))
    return image.reduce(shrink), shrink


def enlarged(box: Box, shrink: int, image: Image.Image) -> Box:
    """A square of a small copy, on the image that it is of."""
    left, top, right, _ = box
    side = min((right - left) * shrink, *image.size)
    left, top = min(left * shrink, image.width - side), min(top * shrink, image.height - side)
    return (left, top, left + side, top + side)


def is_settled(image: Image.Image, size: int) -> bool:
    """Whether nothing is to be looked for: a picture that is cropped already, or a strip, or a model of whole
    photographs.

    Args:
        image: an upright RGB image.
        size: side of the model's input in pixels.
    """
    width, height = image.size
    cropped = width == height <= _CROPPED * size or size >= _WHOLE
    return cropped or max(width, height) > _LONGEST * min(width, height)


def _scored(scores: Scores, image: Image.Image, size: int, boxes: list[Box]) -> dict[Box, float]:
    if not boxes:
        return {}
    sides = torch.tensor([right - left for left, _, right, _ in boxes]) / min(image.size)
    found = scores(torch.stack(_inputs(image, boxes, size))).cpu()
    # Of negative scores, as of negative distances, the one nearer to zero is the better one.
    favoured = found * sides ** (_PREFER_LARGE * found.sign())
    return dict(zip(boxes, favoured.tolist(), strict=True))


def _squares(width: int, height: int, size: int) -> list[Box]:
    """Squares of falling size that cover the picture, the whole shorter side first."""
    shorter = min(width, height)
    boxes: list[Box] = []
    side = float(shorter)
    # A square much smaller than the model's input would be enlarged: nothing is to be read there.
    while side >= max(_SMALLEST * shorter * 0.99, size / 4) or not boxes:
        here = [
            (round(left), round(top), round(left) + round(side), round(top) + round(side))
            for top in _positions(height, side)
            for left in _positions(width, side)
        ]
        if boxes and len(boxes) + len(here) > _MOST:
            break
        boxes += here[:: -(-len(here) // _MOST)]
        side *= _SHRINK
    return boxes


def _positions(length: int, side: float) -> np.ndarray:
    room = length - round(side)
    count = int(np.ceil(room / (side * _STRIDE))) + 1
    return np.linspace(0, room, count)


def _near(box: Box, width: int, height: int) -> Iterable[Box]:
    """The square and its like, a little moved and resized, inside the picture."""
    left, top, right, bottom = box
    side = right - left
    for resize in _RESIZES:
        new = max(1, min(round(side * resize), width, height))
        for right_by in _SHIFTS:
            for down_by in _SHIFTS:
                x = round((left + right - new) / 2 + right_by * side)
                y = round((top + bottom - new) / 2 + down_by * side)
                x, y = min(max(x, 0), width - new), min(max(y, 0), height - new)
                yield (x, y, x + new, y + new)


def _inputs(image: Image.Image, boxes: list[Box], size: int) -> list[Tensor]:
    """What the model sees of each square. The picture is shrunk once per square size, not once per
    square, which is what makes hundreds of squares cheap."""
    shrunk: dict[int, Image.Image] = {}
    inputs = []
    for left, top, right, _ in boxes:
        side = right - left
        scale = size / side
        if side not in shrunk:
            extent = (max(size, round(image.width * scale)), max(size, round(image.height * scale)))
            shrunk[side] = image.resize(extent, Image.Resampling.BICUBIC)
        x = min(round(left * scale), shrunk[side].width - size)
        y = min(round(top * scale), shrunk[side].height - size)
        inputs.append(to_input(shrunk[side], size, (x, y, x + size, y + size)))
    return inputs


def figure_box(image: Image.Image) -> Box | None:
    """The square around a single figure on plain paper, as in a drawing or a screenshot; None where the
    picture is anything else.

    Args:
        image: an upright RGB image.
    """
    pixels = np.asarray(image.convert("L"), dtype=np.int16)
    away = np.abs(pixels - np.median(pixels))
    ink = away > _INK
    if not ink.any() or ink.mean() > 0.5 or float((away[~ink] > _GRAIN).mean()) > 0.1:
        return None
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    high, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
    inside = min(rows[0], columns[0]) > 0 and rows[-1] < image.height - 1
    if not inside or columns[-1] == image.width - 1 or wide > 1.2 * high:  # a row of them
        return None
    return drawing_box(image)


def drawing_box(image: Image.Image) -> Box:
    """The square to start from on a drawing: its strokes, with the margin of a written digit.

    Args:
        image: strokes on plain paper, light or dark, as RGB.
    """
    pixels = np.asarray(image.convert("L"), dtype=np.int16)
    ink = np.abs(pixels - np.median(pixels)) > _INK
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return central_square(image)
    longest = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    side = min(round(longest * (1 + 2 * _MARGIN)), *image.size)
    left = round((columns[0] + columns[-1] + 1 - side) / 2)
    top = round((rows[0] + rows[-1] + 1 - side) / 2)
    left = min(max(left, 0), image.width - side)
    top = min(max(top, 0), image.height - side)
    return (left, top, left + side, top + side)
