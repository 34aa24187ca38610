"""Pictures of what a model does not know: letters, shapes, plain surfaces, digits, rendered here, and mosaics.

What is rendered is painted and photographed like the digits (`memorywrap.data.digits`), so that nothing but
what it shows tells it apart. There are two kinds of them without a letter or a shape in common: one to
learn from, one to be tested on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from memorywrap.data.digits import render_digit
from memorywrap.data.digits.fonts import Font, find_fonts, font_glyph
from memorywrap.data.digits.painting import SIZE, paint, photograph, screenshot
from memorywrap.data.digits.rows import CANVAS, GLYPH, row_mask
from memorywrap.data.digits.strokes import Figures, draw_strokes, pad_mask, stroke_glyph

# How often each kind is taken.
KINDS = {"letter": 0.45, "shape": 0.3, "surface": 0.25, "digit": 0.45}

# Those to be tested on are of another form than any that is learned from: no c, where there is a C.
# Twins are in neither, because many fonts draw them as they draw 0, 1, 1, 6, 9 and 9.
_LETTERS = {
    "learn": "ACEGKMQSUWYdfhjnprtvxz&%?",
    "test": "BDFHLNRTaei@#!",
    "twins": "OIlbgq",
}
# Lines of points (x, y) in the unit box, y downwards, as those of the digits.
_SHAPES: dict[str, Figures] = {
    "learn": (
        ([[(0.5, 0), (0.5, 0), (1, 0.95), (1, 0.95), (0, 0.95), (0, 0.95), (0.5, 0)]],),  # triangle
        ([[(0, 0), (0, 0), (1, 0), (1, 0), (1, 1), (1, 1), (0, 1), (0, 1), (0, 0)]],),  # square
        ([[(0.5, 0), (0.5, 1)], [(0, 0.5), (1, 0.5)]],),  # plus
        ([[(0.5, 1), (0.5, 1), (0.05, 0.45), (0.1, 0.1), (0.38, 0.05), (0.5, 0.3), (0.5, 0.3), (0.62, 0.05), (0.9, 0.1), (0.95, 0.45), (0.5, 1)]],),  # heart
        ([[(0, 0.5), (1, 0.5)], [(0.65, 0.2), (1, 0.5), (1, 0.5), (0.65, 0.8)]],),  # arrow
        ([[(0.5, 0), (0.5, 0), (0.8, 1), (0.8, 1), (0, 0.38), (0, 0.38), (1, 0.38), (1, 0.38), (0.2, 1), (0.2, 1), (0.5, 0)]],),  # star
        ([[(0, 0.5), (0.2, 0.2), (0.4, 0.5), (0.6, 0.8), (0.8, 0.5), (1, 0.3)]],),  # wave
        ([[(0, 0.5), (0, 0.5), (0.5, 0), (0.5, 0), (1, 0.5), (1, 0.5), (0.85, 0.5), (0.85, 0.5), (0.85, 1), (0.85, 1), (0.15, 1), (0.15, 1), (0.15, 0.5), (0.15, 0.5), (0, 0.5)]],),  # house
        ([[(0.7, 0), (0.2, 0.15), (0.1, 0.5), (0.2, 0.85), (0.7, 1), (0.7, 1), (0.45, 0.75), (0.4, 0.5), (0.45, 0.25), (0.7, 0)]],),  # moon
        ([[(0.5, 0), (0.1, 0.15), (0, 0.5), (0.1, 0.85), (0.5, 1), (0.9, 0.85), (1, 0.5), (0.9, 0.15), (0.5, 0)], [(0.32, 0.35), (0.32, 0.42)], [(0.68, 0.35), (0.68, 0.42)], [(0.25, 0.65), (0.5, 0.8), (0.75, 0.65)]],),  # face
    ),
    "test": (
        ([[(0.5, 0), (0.5, 0), (0.95, 0.5), (0.95, 0.5), (0.5, 1), (0.5, 1), (0.05, 0.5), (0.05, 0.5), (0.5, 0)]],),  # diamond
        ([[(0.5, 0), (0.5, 0), (1, 0.38), (1, 0.38), (0.8, 1), (0.8, 1), (0.2, 1), (0.2, 1), (0, 0.38), (0, 0.38), (0.5, 0)]],),  # pentagon
        ([[(0, 0), (1, 1)], [(1, 0), (0, 1)]],),  # cross
        ([[(0.5, 0.5), (0.62, 0.45), (0.6, 0.62), (0.42, 0.65), (0.35, 0.42), (0.6, 0.25), (0.8, 0.5), (0.65, 0.85), (0.25, 0.8), (0.1, 0.4), (0.45, 0.02), (0.95, 0.2)]],),  # spiral
        ([[(0.65, 0), (0.65, 0), (0.2, 0.55), (0.2, 0.55), (0.55, 0.5), (0.55, 0.5), (0.3, 1), (0.3, 1), (0.9, 0.38), (0.9, 0.38), (0.5, 0.4), (0.5, 0.4), (0.65, 0)]],),  # lightning
        ([[(0, 0.5), (0.3, 0.2), (0.65, 0.35), (1, 0.75), (1, 0.75), (0.95, 0.5), (1, 0.25), (1, 0.25), (0.65, 0.65), (0.3, 0.8), (0, 0.5)]],),  # fish
        ([[(0.05, 0.1), (0.05, 0.1), (0.15, 0.9), (0.15, 0.9), (0.6, 0.9), (0.6, 0.9), (0.7, 0.1), (0.7, 0.1), (0.05, 0.1)], [(0.68, 0.25), (0.95, 0.3), (0.9, 0.6), (0.64, 0.65)]],),  # cup
        ([[(0.5, 0), (0.5, 0), (0.85, 0.4), (0.85, 0.4), (0.65, 0.4), (0.65, 0.4), (1, 0.8), (1, 0.8), (0, 0.8), (0, 0.8), (0.35, 0.4), (0.35, 0.4), (0.15, 0.4), (0.15, 0.4), (0.5, 0)], [(0.5, 0.8), (0.5, 1)]],),  # tree
        ([[(0, 0.55), (0.35, 0.9), (0.35, 0.9), (1, 0.1)]],),  # check mark
        ([[(0.5, 0.5), (0.3, 0.1), (0.5, 0), (0.7, 0.1), (0.5, 0.5), (0.9, 0.3), (1, 0.5), (0.9, 0.7), (0.5, 0.5), (0.7, 0.9), (0.5, 1), (0.3, 0.9), (0.5, 0.5), (0.1, 0.7), (0, 0.5), (0.1, 0.3), (0.5, 0.5)]],),  # flower
    ),
}  # fmt: skip


def letters_of(part: str) -> str:
    """The letters and signs that are in a part, "learn", "test" or "twins"."""
    return _LETTERS[part]


def render_others(
    count: int,
    seed: int,
    kinds: Sequence[str],
    part: str = "learn",
    *,
    fonts: Sequence[Font] | None = None,
) -> tuple[Tensor, list[str]]:
    """Render pictures of some kinds of things.

    Args:
        count: how many.
        seed: any integer from 0.
        kinds: of `KINDS`.
        part: "learn", or "test" with other letters and other shapes; of letters also "twins", those
            that look like a digit.
        fonts: faces to draw letters with; `find_fonts()` when not given.

    Returns:
        Images, uint8 (count, 3, 32, 32), and the kind that each is of.
    """
    faces = tuple(find_fonts() if fonts is None else fonts) or (None,)
    rng = np.random.default_rng((seed, sorted(_LETTERS).index(part)))
    chances = np.array([KINDS[kind] for kind in kinds])
    of_each = rng.choice(list(kinds), count, p=chances / chances.sum()).tolist()
    drawn = {"letter": _letter, "shape": _shape, "surface": _surface, "digit": _digit}
    images = [np.asarray(drawn[kind](rng, part, faces)) for kind in of_each]
    stacked = np.stack(images) if images else np.empty((0, SIZE, SIZE, 3), np.uint8)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous(), of_each


def mosaics_of(pictures: Tensor, count: int, seed: int) -> Tensor:
    """Pictures of no one thing, pieced together from photographs, which nothing rendered is like: quarters of
    four of them, each in its place, or the sixteenths of one in any order.

    Args:
        pictures: uint8 (n, 3, side, side), the side a multiple of 4.
        count: how many.
        seed: any integer.

    Returns:
        uint8 (count, 3, side, side), of either kind one half.

    Raises:
        ValueError: another side.
    """
    side = pictures.shape[-1]
    if side % 4:
        raise ValueError(f"pictures: expected a side that is a multiple of 4, received {side}")
    generator = torch.Generator().manual_seed(seed)

    def chosen(of: int) -> Tensor:
        return pictures[torch.randint(len(pictures), (of,), generator=generator)]

    quartered = chosen(count // 2)
    half = slice(0, side // 2), slice(side // 2, side)
    for rows, columns in ((half[0], half[1]), (half[1], half[0]), (half[1], half[1])):
        quartered[:, :, rows, columns] = chosen(len(quartered))[:, :, rows, columns]
    whole = chosen(count - len(quartered))
    piece = side // 4
    pieces = whole.unfold(2, piece, piece).unfold(3, piece, piece).flatten(2, 3)
    order = torch.rand(len(whole), 16, generator=generator).argsort(dim=1)
    mixed = pieces.gather(2, order[:, None, :, None, None].expand_as(pieces))
    rows = mixed.unflatten(2, (4, 4)).transpose(3, 4)  # (n, 3, 4, piece, 4, piece)
    return torch.cat([quartered, rows.reshape(whole.shape)])


def _digit(rng: np.random.Generator, part: str, faces: Sequence[Font]) -> Image.Image:
    return render_digit(rng, int(rng.integers(10)), tuple(faces))


def _letter(rng: np.random.Generator, part: str, faces: Sequence[Font]) -> Image.Image:
    face = faces[int(len(faces) * rng.random() ** 1.6)]
    alphabet = _LETTERS[part]
    some = rng.permutation(len(alphabet))  # the neighbours of a letter are letters
    clean = rng.random() < 0.25
    row = row_mask(
        rng, 0, lambda number: font_glyph(face, int(some[number % len(some)]), alphabet), clean
    )
    return screenshot(rng, row) if clean else photograph(rng, paint(rng, row))


def _shape(rng: np.random.Generator, part: str, _: Sequence[Font]) -> Image.Image:
    shapes = _SHAPES[part]
    number, kind = int(rng.integers(len(shapes))), rng.random()
    if kind < 0.3:
        return screenshot(rng, pad_mask(rng, number, shapes))
    if kind < 0.6:
        return photograph(rng, paint(rng, _filled(rng, shapes[number][0][0])))
    width = rng.uniform(0.05, 0.15) * GLYPH
    row = row_mask(rng, number, lambda other: stroke_glyph(rng, other, width, shapes), False)
    return photograph(rng, paint(rng, row))


def _filled(rng: np.random.Generator, line: Sequence[tuple[float, float]]) -> Image.Image:
    """The inside of a line, of any size, turned, about the middle."""
    turn, size = rng.uniform(-0.4, 0.4), CANVAS * rng.uniform(0.35, 0.8)
    points = (np.asarray(line) - 0.5) @ [
        [np.cos(turn), np.sin(turn)],
        [-np.sin(turn), np.cos(turn)],
    ]
    points = points * size * rng.uniform(0.7, 1, 2) + CANVAS / 2 + rng.normal(0, 3, 2)
    mask = draw_strokes([points], CANVAS, 2.0)
    ImageDraw.Draw(mask).polygon([tuple(point) for point in points.tolist()], 255)
    return mask


def _surface(rng: np.random.Generator, part: str, _: Sequence[Font]) -> Image.Image:
    """Walls, boards, edges; sometimes with a pile of what stands about."""
    mask = Image.new("L", (CANVAS, CANVAS))
    if rng.random() < 0.6:
        pen = ImageDraw.Draw(mask)
        for left, top in rng.uniform(-20, CANVAS, (rng.integers(1, 7), 2)):
            wide, high = rng.uniform(2, 50, 2)
            box = (left, top, left + wide, top + high)
            draw = pen.ellipse if rng.random() < 0.4 else pen.rectangle
            draw(box, fill=int(rng.integers(0, 2)) * 255)
    return photograph(rng, paint(rng, mask))
