"""A first guess at the part of a picture to classify: the square that the model reads best.

A person may move it. The guess slides squares of several sizes over the picture, classifies them
all, and takes the one where overlapping squares agree most on one class: a real object keeps its
class when the square shifts a little, clutter does not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from memorywrap.images import Box, central_square, to_input

# Squares from the whole shorter side down to this part of it, each smaller by the factor below.
_SMALLEST = 0.25
_SHRINK = 2**-0.5
# Neighbouring squares are this part of their side apart.
_STRIDE = 0.25
# Squares that overlap at least this much (intersection over union) vote for each other.
_VOTERS = 0.3
# A picture at most this much larger than the model's input is taken to be cropped already.
_CROPPED = 2.0
# Room around the strokes of a drawing, as a part of their longer side.
_MARGIN = 0.2


def suggest_box(probabilities: Callable[[Tensor], Tensor], image: Image.Image, size: int) -> Box:
    """The square (left, top, right, bottom) to start from.

    Args:
        probabilities: uint8 (n, 3, size, size) -> class probabilities (n, classes).
        image: an upright RGB image.
        size: side of the model's input in pixels.

    Returns:
        The central square for a picture that is cropped already (square and small), otherwise the
        best of some hundred squares.
    """
    width, height = image.size
    whole = central_square(image)
    if width == height and width <= _CROPPED * size:
        return whole
    boxes = _squares(width, height, size)
    inputs = torch.stack(_inputs(image, boxes, size))
    votes = _agreement(boxes) @ probabilities(inputs).cpu().numpy()  # (boxes, classes)
    return boxes[int(votes.max(axis=1).argmax())]


def _squares(width: int, height: int, size: int) -> list[Box]:
    """Squares of falling size that cover the picture, the whole shorter side first."""
    shorter = min(width, height)
    boxes: list[Box] = []
    side = float(shorter)
    # A square much smaller than the model's input would be enlarged: nothing is to be read there.
    while side >= max(_SMALLEST * shorter * 0.99, size / 4):
        boxes += [
            (round(left), round(top), round(left) + round(side), round(top) + round(side))
            for top in _positions(height, side)
            for left in _positions(width, side)
        ]
        side *= _SHRINK
    return boxes


def _positions(length: int, side: float) -> np.ndarray:
    room = length - round(side)
    count = int(np.ceil(room / (side * _STRIDE))) + 1
    return np.linspace(0, room, count)


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


def _agreement(boxes: list[Box]) -> np.ndarray:
    """Voting weights (boxes, boxes): each row averages over the squares that overlap enough."""
    corners = np.array(boxes, dtype=np.float64)
    low = np.maximum(corners[:, None, :2], corners[None, :, :2])
    high = np.minimum(corners[:, None, 2:], corners[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    area = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    overlap = shared / (area[:, None] + area[None, :] - shared)
    votes = np.where(overlap >= _VOTERS, overlap, 0.0)
    return votes / votes.sum(axis=1, keepdims=True)


def drawing_box(image: Image.Image) -> Box:
    """The square to start from on a drawing: its strokes, with the margin of a written digit.

    Args:
        image: strokes on plain paper, light or dark, as RGB.
    """
    pixels = np.asarray(image.convert("L"), dtype=np.int16)
    ink = np.abs(pixels - np.median(pixels)) > 40
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
