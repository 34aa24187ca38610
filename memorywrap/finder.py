"""Where in a photograph is something to classify? A small network that looks at all squares at once.

It is convolutional from end to end and pads nothing: run over a whole picture it says of each square what it
would say of that square alone, for a fraction of the work. What it looks for is one whole digit in the middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from memorywrap.encoders.frozen import folded
from memorywrap.images import Box, to_unit

SIZE = 32  # side of the squares that it sees
_CUBIC = Image.Resampling.BICUBIC
_STRIDE = 4  # of neighbouring squares, in pixels of what it sees
# Squares from the whole shorter side of a picture down to this part of it, each smaller by the factor below.
_SMALLEST = 0.25
_SHRINK = 2**-0.5
_MOST = 4  # squares that are looked at again
# What a model's own log odds that it knows what is in a square count beside the finder's.
_MODELS_WEIGHT = 0.5
# Log odds from which a further square is offered, by the finder alone and with the model: with less, it is too
# often on no digit.
_BELIEVED, _BELIEVED_BY_BOTH = 3.0, 4.0
# A part of a digit may look like another: log odds that a square half as large has to be better by.
_PREFER_LARGE = 1.5
_OVERLAP = 0.3  # squares that share more than this part of their joint area are of the same thing
_HELD = 0.8  # and of those that are offered, if the smaller one lies in the other with more than this part
_LOOKED_AT = 200  # squares that are sorted out by their overlap
# The best squares are looked at again in these sizes, and moved by up to a stride each way.
_RESIZES = (2**-0.25, 1.0, 2**0.25)
_AROUND = SIZE + 2 * _STRIDE


class Finder(nn.Module):
    """Images (n, 3, height, width) in [0, 1], of at least 32 pixels -> log odds (n, 2, rows, columns)
    of each square of 32 pixels, 4 apart: that it shows one whole digit in its middle, and that it shows
    a digit at all."""

    def __init__(self) -> None:
        super().__init__()
        self._fast: tuple[nn.Module, ...] = ()  # in a tuple: no part of this one's state
        self.layers = nn.Sequential(
            *_convolution(3, 16, 3),  # 32 -> 30
            nn.AvgPool2d(2),  # 15
            *_convolution(16, 32, 4),  # 12
            nn.AvgPool2d(2),  # 6
            *_convolution(32, 64, 3),  # 4
            *_convolution(64, 64, 4),  # 1
            nn.Conv2d(64, 2, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, height, width) -> (n, 2, rows, columns)."""
        return self.layers((images - 0.5) / 0.25)

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        """Log odds (n, rows, columns) that the squares of images, uint8 (n, 3, height, width), show one
        whole digit in the middle; for a trained finder, whose weights stay as they are."""
        if not self._fast:
            fast = folded(self)
            fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._fast = (fast,)
        pixels = to_unit(images, torch.device("cpu")).contiguous(memory_format=torch.channels_last)
        return self._fast[0](pixels)[:, 0]

    @torch.no_grad()
    def squares(
        self, image: Image.Image, known: Callable[[Sequence[Box]], Tensor] | None = None
    ) -> list[Box]:
        """The squares of an RGB image that show one digit each, the likeliest first; no two of the same
        thing. One at least, even where all are unlikely.

        Args:
            image: a photograph.
            known: log odds (n,) that n squares of it show anything that the model to be asked knows; the
                few best are judged by that too.
        """
        found = self._all_squares(image)
        found.sort(key=lambda square: -square[0])
        apart = _apart(found[:_LOOKED_AT], _MOST)
        closer = self._closer(image, [box for _, box in apart])
        border = _BELIEVED
        if known is not None:
            border = _BELIEVED_BY_BOTH
            odds = (_MODELS_WEIGHT * known([box for _, box in closer])).tolist()
            closer = [(score + more, box) for (score, box), more in zip(closer, odds, strict=True)]
        closer.sort(key=lambda square: -square[0])
        # Looked at closely, two may have come to the same digit.
        believed = [closer[0], *(square for square in closer[1:] if square[0] > border)]
        return [box for _, box in _apart(believed, _MOST, _HELD)]

    def _all_squares(self, image: Image.Image) -> list[tuple[float, Box]]:
        """The best squares of each size, with their scores."""
        width, height = image.size
        shorter = min(width, height)
        found: list[tuple[float, Box]] = []
        side = shorter
        while side >= max(_SMALLEST * shorter, SIZE / 4) or not found:
            scale = SIZE / side
            extent = (max(SIZE, round(width * scale)), max(SIZE, round(height * scale)))
            seen = torch.from_numpy(
                np.array(image.resize(extent, _CUBIC, reducing_gap=2.0))
            ).permute(2, 0, 1)
            scores = self.scores(seen[None])[0]
            best = scores.flatten().topk(min(_LOOKED_AT, scores.numel()))
            for score, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                row, column = divmod(place, scores.shape[1])
                left = min(round(column * _STRIDE / scale), width - side)
                top = min(round(row * _STRIDE / scale), height - side)
                box = (left, top, left + side, top + side)
                found.append((score + _bonus(box, image), box))
            side = int(side * _SHRINK)
        return found

    def _closer(self, image: Image.Image, boxes: Sequence[Box]) -> list[tuple[float, Box]]:
        """Of each square the best of its like: a little larger, smaller, or moved."""
        width, height = image.size
        seen, places = [], []
        for left, top, right, bottom in boxes:
            for resize in _RESIZES:
                most = min(width, height)
                around = min((right - left) * resize * _AROUND / SIZE, most)
                x = min(max((left + right - around) / 2, 0), width - around)
                y = min(max((top + bottom - around) / 2, 0), height - around)
                region = (x, y, x + around, y + around)
                seen.append(np.array(image.resize((_AROUND, _AROUND), _CUBIC, box=region)))
                places.append((x, y, around / _AROUND))
        scores = self.scores(torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2))
        found = []
        for rank in range(len(boxes)):
            rows = slice(rank * len(_RESIZES), (rank + 1) * len(_RESIZES))
            score, place = scores[rows].flatten().max(dim=0)
            size, row, column = np.unravel_index(int(place), scores[rows].shape)
            x, y, scale = places[rank * len(_RESIZES) + int(size)]
            side = max(1, min(round(SIZE * scale), width, height))
            left = min(round(x + int(column) * _STRIDE * scale), width - side)
            top = min(round(y + int(row) * _STRIDE * scale), height - side)
            box = (left, top, left + side, top + side)
            found.append((float(score) + _bonus(box, image), box))
        return found


def _bonus(box: Box, image: Image.Image) -> float:
    """Added to the log odds of a square, for its size in the picture; 0 for the largest."""
    return _PREFER_LARGE * math.log2((box[2] - box[0]) / min(image.size))


def _apart(
    squares: Sequence[tuple[float, Box]], most: int, held: float = 1.0
) -> list[tuple[float, Box]]:
    """The first of those that are of the same thing, so many at most."""
    apart: list[tuple[float, Box]] = []
    for score, box in squares:
        if len(apart) < most and not any(_same(box, other, held) for _, other in apart):
            apart.append((score, box))
    return apart


def _same(one: Box, other: Box, held: float) -> bool:
    """Whether two squares are of the same thing: they share much of their joint area, or one holds the other
    with more than such a part."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    common = max(wide, 0) * max(high, 0)
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (one, other)]
    return common >= _OVERLAP * (sum(areas) - common) or common > held * min(areas)


def _convolution(inputs: int, outputs: int, side: int) -> Sequence[nn.Module]:
    return nn.Conv2d(inputs, outputs, side, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()
