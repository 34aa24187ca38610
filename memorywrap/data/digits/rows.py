"""A digit among its neighbours, seen by a camera: from glyphs to a coverage mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

CANVAS = 64  # side of the scene before it is photographed
GLYPH = 48  # height of the digit 8 in a glyph, in pixels


class Glyph(NamedTuple):
    """One digit: coverage 0..255 (height, width), and where it stands in a row."""

    mask: Image.Image
    top: int  # distance of the mask from the top of the digit 8, in pixels
    advance: int  # distance to the next glyph


def row_mask(
    rng: np.random.Generator, label: int, glyph_of: Callable[[int], Glyph], clean: bool
) -> Image.Image:
    """The label among its neighbours, warped into coverage 0..255 (64, 64)."""
    glyph = glyph_of(label)
    space = rng.uniform(-0.08, 0.2) * GLYPH * (not clean)
    side, pad = GLYPH * 5, GLYPH * 2
    sheet = Image.new("L", (side, side))
    left = (side - glyph.mask.width) // 2
    lonely = rng.random() < (0.5 if clean else 0.08)
    _paste(sheet, glyph, left, pad)
    if not lonely and rng.random() < 0.05:  # numbers that run from top to bottom
        gap = int(GLYPH * rng.uniform(1.05, 1.4))
        for step in (-gap, gap):
            other = glyph_of(_neighbour(rng))
            _paste(sheet, other, (side - other.mask.width) // 2, pad + step)
    elif not lonely:
        x, margin = left, glyph.advance - glyph.mask.width
        for _ in range(rng.choice(3, p=(0.25, 0.45, 0.3))):
            other = glyph_of(_neighbour(rng))
            x -= int(other.mask.width + max(margin, 1) + space)
            _paste(sheet, other, x, pad)
        x = left + int(max(glyph.advance, glyph.mask.width + 1) + space)
        for _ in range(rng.choice(3, p=(0.25, 0.45, 0.3))):
            other = glyph_of(_neighbour(rng))
            _paste(sheet, other, x, pad)
            x += int(max(other.advance, other.mask.width + 1) + space)
    centre = (side / 2, pad + glyph.top + glyph.mask.height / 2)
    return _warp(rng, sheet, centre, glyph.mask.size, clean)


def _neighbour(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.12 else int(rng.integers(10))


def _paste(sheet: Image.Image, glyph: Glyph, left: int, top: int) -> None:
    # The mask masks itself, so that overlapping glyphs do not erase each other.
    sheet.paste(255, (int(left), top + glyph.top), glyph.mask)


def _warp(
    rng: np.random.Generator,
    sheet: Image.Image,
    centre: tuple[float, float],
    extent: tuple[int, int],
    clean: bool,
) -> Image.Image:
    """The sheet (side, side) seen by a camera that points near the centre of the digit."""
    if clean:
        fill, turn, slant, stretch, view = rng.uniform(0.3, 0.95), 0.0, 0.0, 1.0, np.zeros(2)
        # In a row, the digit meant is the one nearest to the middle: small ones may not stray far.
        shift = rng.normal(0, 0.08 * fill, 2)
    else:
        loose = rng.random() < 0.15
        fill = rng.uniform(0.42, 0.7) if loose else np.clip(rng.normal(0.86, 0.1), 0.6, 1.15)
        shift = rng.normal(0, 0.035, 2) * (1.5, 1)
        turn = rng.normal(0, 0.3 if rng.random() < 0.2 else 0.06)
        slant, stretch = rng.normal(0.03, 0.14), np.exp(rng.normal(-0.32, 0.22))
        view = rng.normal(0, 0.0012, 2)
    # Crops are square and hold the whole digit, so a wide digit is seen from further away.
    scale = max(extent[1], extent[0] * 0.95 * stretch, GLYPH * 0.5) / (fill * CANVAS)
    cos, sin = np.cos(turn), np.sin(turn)
    linear = np.array([[1 / stretch, slant], [0, 1]]) @ np.array([[cos, -sin], [sin, cos]]) * scale
    middle = CANVAS / 2
    # Pillow wants output -> input: (a x + b y + c) / (g x + h y + 1), here about the middle.
    to_middle = np.array([[1, 0, -middle], [0, 1, -middle], [0, 0, 1]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[2, :2] = view
    from_centre = np.eye(3)
    from_centre[:2, 2] = np.array(centre) + shift * CANVAS * scale
    matrix = from_centre @ matrix @ to_middle
    if scale > 1.5:  # bilinear sampling would skip pixels
        sheet = sheet.reduce(2)
        matrix = np.diag([0.5, 0.5, 1]) @ matrix
    data = (matrix / matrix[2, 2]).ravel()[:8].tolist()
    return sheet.transform(
        (CANVAS, CANVAS), Image.Transform.PERSPECTIVE, data, Image.Resampling.BILINEAR
    )
