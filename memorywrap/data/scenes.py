"""Photographs with a house number somewhere in them, composed here: to learn and to measure where to look.

A wall with what is found on walls (windows, doors, leaves, lamps, words) and a row of digits, upright or
a little turned, large or small. There are two kinds of scenes: one to
learn from, one to be tested on, with other faces, walls, things and words. Plain plaster, and leaves that hang
into the picture, are in both.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from tqdm import tqdm

from memorywrap.data.digits.fonts import Font, find_fonts, font_glyph
from memorywrap.data.digits.painting import any_colour, two_colours
from memorywrap.data.digits.rows import Glyph
from memorywrap.data.digits.strokes import stroke_glyph
from memorywrap.data.others import letters_of
from memorywrap.images import Box

Pen = ImageDraw.ImageDraw
Rng = np.random.Generator


@dataclass(frozen=True)
class Scene:
    """A composed photograph.

    Attributes:
        image: RGB.
        boxes: of each digit the square (left, top, right, bottom) that holds it, as a person would set it;
            it may stick out of the picture by a little.
        labels: the digits, from left to right; none where there is no number.
    """

    image: Image.Image
    boxes: tuple[Box, ...]
    labels: tuple[int, ...]

    def reads(self, box: Box) -> int | None:
        """The digit that a square shows; None where no digit is."""
        place = self.place(box)
        return None if place is None else self.labels[place]

    def place(self, box: Box) -> int | None:
        """Which digit of the number, counted from the left, a square shows: the one whose middle is nearest
        to its own, no further away than half a side, and neither less than half nor more than twice as
        large. None where no digit is."""
        left, top, right, bottom = box
        best, found = 0.5, None
        for place, (x0, y0, x1, y1) in enumerate(self.boxes):
            side = min(right - left, x1 - x0)
            away = max(abs(left + right - x0 - x1), abs(top + bottom - y0 - y1)) / 2 / side
            if away < best and 0.5 <= (right - left) / (x1 - x0) <= 2:
                best, found = away, place
        return found


def compose_scene(
    seed: int, part: str = "learn", *, fonts: Sequence[Font] | None = None, number: bool = True
) -> Scene:
    """Compose a photograph.

    Args:
        seed: any integer from 0; the same seed gives the same scene.
        part: "learn", or "test" with other faces, walls and things.
        fonts: faces to draw with; `find_fonts()` when not given. Every third is for the test.
        number: whether there is a number in it.
    """
    rng = np.random.default_rng((seed, int(part == "test"), 7))
    faces = list(find_fonts() if fonts is None else fonts) or [None]
    faces = [face for i, face in enumerate(faces) if (i % 3 == 2) == (part == "test")] or faces
    width = int(rng.uniform(110, 420))
    height = int(np.clip(width / np.exp(rng.normal(0.45, 0.35)), 48, 420))
    image = _wall(rng, part, (width, height))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 5)):
        things = _THINGS[part]
        things[rng.integers(len(things))](rng, pen, width, height)
    if rng.random() < 0.3:
        _word(rng, image, part, faces)
    boxes: list[Box] = []
    labels: list[int] = []
    if number:
        boxes, labels = _number(rng, image, faces)
    if rng.random() < 0.25:
        _leaves(rng, ImageDraw.Draw(image), width, height)
    return Scene(_camera(rng, image), tuple(boxes), tuple(labels))


def compose_scenes(seeds: Iterable[int], part: str) -> list[Scene]:
    """`compose_scene` for each of some seeds, with a bar."""
    bar = tqdm(seeds, desc="composing photographs", unit=" photographs")
    return [compose_scene(seed, part) for seed in bar]


def _number(rng: Rng, image: Image.Image, faces: Sequence[Font]) -> tuple[list[Box], list[int]]:
    """Puts a row of digits somewhere; their squares and what they are."""
    width, height = image.size
    labels = rng.integers(0, 10, rng.choice((1, 2, 3, 4), p=(0.15, 0.4, 0.35, 0.1))).tolist()
    face = faces[int(len(faces) * rng.random() ** 1.6)]
    pen_width = rng.uniform(4, 8)
    written = rng.random() < 0.1
    glyphs = [
        stroke_glyph(rng, label, pen_width) if written else font_glyph(face, label)
        for label in labels
    ]
    stretch = float(np.exp(rng.normal(-0.2, 0.2)))
    row, spans = _row(glyphs, int(rng.uniform(0, 12)), stretch)
    high = height * float(np.clip(np.exp(rng.normal(-1.0, 0.45)), 0.16, 0.9))
    high = max(min(high, 0.95 * width * row.height / row.width), 12.0)
    scale = high / row.height
    row = row.resize(
        (max(2, round(row.width * scale)), max(2, round(high))), Image.Resampling.LANCZOS
    )
    left = rng.uniform(0, max(width - row.width, 1))
    top = rng.uniform(0, max(height - row.height, 1))
    paper, ink = two_colours(rng, 0.25)
    if rng.random() < 0.5:
        _plate(rng, image, (left, top, left + row.width, top + row.height), paper)
    else:  # straight on the wall, in a colour that can be seen on it
        area = (int(left), int(top), int(left) + row.width, int(top) + row.height)
        ground = np.asarray(image.crop(area), np.float32).mean((0, 1)) / 255
        ink = any_colour(rng)
        for _ in range(20):
            if abs(float((ink - ground).mean())) > 0.25:
                break
            ink = any_colour(rng)
    mask = Image.new("L", image.size)
    mask.paste(row, (int(left), int(top)))
    turn = rng.normal(0, 4.0)
    middle = (left + row.width / 2, top + row.height / 2)
    mask = mask.rotate(turn, Image.Resampling.BICUBIC, center=middle)
    if rng.random() < 0.4:  # a shadow beside raised digits
        shadow = mask.transform(
            mask.size, Image.Transform.AFFINE, (1, 0, rng.uniform(-3, 3), 0, 1, rng.uniform(-3, 0))
        ).filter(ImageFilter.GaussianBlur(1))
        image.paste((20, 20, 20), mask=shadow.point(lambda level: level // 2))
    image.paste(_rgb(ink), mask=mask)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    boxes = []
    for start, end in spans:
        wide = (end - start) * scale
        x, y = left + (start + end) / 2 * scale - middle[0], 0.0
        x, y = middle[0] + x * cos + y * sin, middle[1] - x * sin + y * cos
        side = max(high, wide) * 1.15
        boxes.append(
            tuple(round(at) for at in (x - side / 2, y - side / 2, x + side / 2, y + side / 2))
        )
    return boxes, labels


def _row(
    glyphs: Sequence[Glyph], space: int, stretch: float
) -> tuple[Image.Image, list[tuple[float, float]]]:
    """Glyphs side by side, coverage 0..255, and from where to where each goes."""
    wide = sum(max(glyph.advance, glyph.mask.width + 1) + space for glyph in glyphs)
    tall = max(glyph.top + glyph.mask.height for glyph in glyphs)
    row, spans, x = Image.new("L", (wide, tall)), [], 0
    for glyph in glyphs:
        row.paste(255, (x, glyph.top), glyph.mask)
        spans.append((x * stretch, (x + glyph.mask.width) * stretch))
        x += max(glyph.advance, glyph.mask.width + 1) + space
    return row.resize((max(2, round(wide * stretch)), tall)), spans


def _word(rng: Rng, image: Image.Image, part: str, faces: Sequence[Font]) -> None:
    """A name or a warning, which is no number."""
    letters = letters_of(part)
    face = faces[int(rng.integers(len(faces)))]
    chosen = rng.integers(0, len(letters), rng.integers(2, 8))
    row, _ = _row([font_glyph(face, int(i), letters) for i in chosen], 3, 1.0)
    high = max(8, round(image.height * rng.uniform(0.08, 0.3)))
    wide = max(8, min(round(row.width * high / row.height), image.width))
    row = row.resize((wide, high), Image.Resampling.LANCZOS)
    at = (int(rng.uniform(0, image.width - wide + 1)), int(rng.uniform(0, image.height - high + 1)))
    paper, ink = two_colours(rng, 0.25)
    if rng.random() < 0.5:
        image.paste(_rgb(paper), (at[0], at[1], at[0] + wide, at[1] + high))
    image.paste(_rgb(ink), at, row)


def _plate(
    rng: Rng, image: Image.Image, area: tuple[float, float, float, float], paper: np.ndarray
) -> None:
    left, top, right, bottom = area
    margin = (bottom - top) * rng.uniform(0.08, 0.5)
    where = (left - margin, top - margin, right + margin, bottom + margin)
    edge = _rgb(any_colour(rng)) if rng.random() < 0.4 else None
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.2:
        pen.ellipse(
            (left - 2 * margin, top - 2 * margin, right + 2 * margin, bottom + 2 * margin),
            _rgb(paper),
            edge,
        )
    else:
        pen.rounded_rectangle(where, margin * rng.uniform(0, 1), _rgb(paper), edge, 2)


def _wall(rng: Rng, part: str, size: tuple[int, int]) -> Image.Image:
    width, height = size
    colour = any_colour(rng)
    image = Image.new("RGB", size, _rgb(colour))
    pen = ImageDraw.Draw(image)
    walls = _WALLS[part]
    walls[rng.integers(len(walls))](rng, pen, width, height, colour)
    cells = (int(rng.integers(2, 12)), int(rng.integers(2, 12)))
    noise = Image.fromarray(rng.integers(0, 256, cells, dtype=np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    light = 1 + rng.uniform(0.05, 0.5) * (np.asarray(noise, np.float32)[..., None] - 128) / 128
    return Image.fromarray(np.clip(np.asarray(image, np.float32) * light, 0, 255).astype(np.uint8))


def _shade(rng: Rng, colour: np.ndarray, spread: float) -> tuple[int, int, int]:
    return _rgb(np.clip(colour * (1 + rng.normal(0, spread)), 0, 1))


def _plaster(rng: Rng, pen: Pen, width: int, height: int, colour: np.ndarray) -> None:
    pass


def _bricks(rng: Rng, pen: Pen, width: int, height: int, colour: np.ndarray) -> None:
    high = max(5, height * rng.uniform(0.04, 0.12))
    wide = high * rng.uniform(2, 3)
    for i, y in enumerate(np.arange(0, height, high)):
        for x in np.arange(-wide / 2 * (i % 2), width, wide):
            pen.rectangle((x + 1, y + 1, x + wide - 1, y + high - 1), _shade(rng, colour, 0.12))


def _boards(rng: Rng, pen: Pen, width: int, height: int, colour: np.ndarray) -> None:
    wide = max(6, width * rng.uniform(0.05, 0.2))
    for x in np.arange(0, width, wide):
        pen.rectangle((x, 0, x + wide - 2, height), _shade(rng, colour, 0.1))


def _stones(rng: Rng, pen: Pen, width: int, height: int, colour: np.ndarray) -> None:
    for _ in range(60):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        wide, high = rng.uniform(0.05, 0.2, 2) * min(width, height)
        pen.ellipse(
            (x - wide, y - high, x + wide, y + high), _shade(rng, colour, 0.15), (60, 60, 60)
        )


def _tiles(rng: Rng, pen: Pen, width: int, height: int, colour: np.ndarray) -> None:
    side = max(8, min(width, height) * rng.uniform(0.1, 0.3))
    for y in np.arange(0, height, side):
        for x in np.arange(0, width, side):
            pen.rectangle((x, y, x + side - 2, y + side - 2), _shade(rng, colour, 0.05))


def _some_area(
    rng: Rng, width: int, height: int, low: float, high: float
) -> tuple[float, float, float, float]:
    wide, tall = rng.uniform(low, high) * width, rng.uniform(low, high) * height
    left, top = rng.uniform(-wide / 2, width - wide / 2), rng.uniform(-tall / 2, height - tall / 2)
    return left, top, left + wide, top + tall


def _window(rng: Rng, pen: Pen, width: int, height: int) -> None:
    left, top, right, bottom = _some_area(rng, width, height, 0.15, 0.5)
    frame, thick = _rgb(any_colour(rng)), max(2, int(rng.uniform(0.01, 0.03) * width))
    pen.rectangle((left, top, right, bottom), _rgb(any_colour(rng) * 0.5), frame, thick)
    pen.line(((left + right) / 2, top, (left + right) / 2, bottom), frame, thick)
    pen.line((left, (top + bottom) / 2, right, (top + bottom) / 2), frame, thick)


def _door(rng: Rng, pen: Pen, width: int, height: int) -> None:
    left = rng.uniform(-0.2, 0.9) * width
    wide, top = rng.uniform(0.15, 0.5) * width, rng.uniform(-0.2, 0.5) * height
    colour = any_colour(rng)
    pen.rectangle((left, top, left + wide, height), _rgb(colour), _rgb(colour * 0.6), 3)
    for row in range(int(rng.integers(1, 4))):
        y = top + (0.1 + 0.3 * row) * (height - top)
        box = (left + wide * 0.15, y, left + wide * 0.85, y + 0.22 * (height - top))
        pen.rectangle(box, _rgb(colour * 0.85), _rgb(colour * 0.6))
    knob = (left + wide * 0.88, (top + height) / 2)
    pen.ellipse((knob[0] - 3, knob[1] - 3, knob[0] + 3, knob[1] + 3), (210, 180, 90))


def _leaves(rng: Rng, pen: Pen, width: int, height: int) -> None:
    x, y = rng.choice((0, width)) + rng.normal(0, 0.1) * width, rng.uniform(0, height)
    for _ in range(rng.integers(20, 80)):
        at = np.array((x, y)) + rng.normal(0, 0.12, 2) * (width, height)
        size = rng.uniform(0.01, 0.05, 2) * min(width, height) + 1
        green = (int(rng.uniform(20, 110)), int(rng.uniform(60, 160)), int(rng.uniform(20, 70)))
        pen.ellipse((*(at - size), *(at + size)), green)


def _lamp(rng: Rng, pen: Pen, width: int, height: int) -> None:
    left, top, right, bottom = _some_area(rng, width, height, 0.06, 0.2)
    pen.ellipse((left, top, right, bottom), _rgb(any_colour(rng)), (30, 30, 30), 2)
    pen.rectangle(
        ((left + right) / 2 - 2, bottom, (left + right) / 2 + 2, max(bottom, height)), (30, 30, 30)
    )


def _shutter(rng: Rng, pen: Pen, width: int, height: int) -> None:
    left, top, right, bottom = _some_area(rng, width, height, 0.2, 0.5)
    colour = any_colour(rng)
    pen.rectangle((left, top, right, bottom), _rgb(colour))
    for y in np.arange(top, bottom, max(4, (bottom - top) / rng.uniform(6, 20))):
        pen.line((left, y, right, y), _rgb(colour * 0.6), 2)


def _railing(rng: Rng, pen: Pen, width: int, height: int) -> None:
    top, colour = rng.uniform(0.3, 0.9) * height, _rgb(any_colour(rng))
    thick = max(2, int(0.01 * width))
    pen.line((0, top, width, top), colour, thick)
    for x in np.arange(0, width, max(6, width * rng.uniform(0.03, 0.1))):
        pen.line((x, top, x, height), colour, thick)


def _bin(rng: Rng, pen: Pen, width: int, height: int) -> None:
    left, top, right, bottom = _some_area(rng, width, height, 0.15, 0.4)
    colour, lean = any_colour(rng), (right - left) * 0.1
    pen.polygon(
        ((left, top), (right, top), (right - lean, bottom), (left + lean, bottom)), _rgb(colour)
    )
    pen.rectangle((left - 2, top - (bottom - top) * 0.1, right + 2, top), _rgb(colour * 0.7))


def _mailbox(rng: Rng, pen: Pen, width: int, height: int) -> None:
    left, top, right, bottom = _some_area(rng, width, height, 0.1, 0.3)
    pen.rounded_rectangle((left, top, right, bottom), 4, _rgb(any_colour(rng)), (40, 40, 40), 2)
    slot = top + (bottom - top) * 0.25
    pen.rectangle(
        (left + (right - left) * 0.2, slot, right - (right - left) * 0.2, slot + 3), (20, 20, 20)
    )


_WALLS: dict[str, list[Callable[[Rng, Pen, int, int, np.ndarray], None]]] = {
    "learn": [_plaster, _bricks, _boards],
    "test": [_plaster, _stones, _tiles],
}
_THINGS: dict[str, list[Callable[[Rng, Pen, int, int], None]]] = {
    "learn": [_window, _door, _lamp, _leaves],
    "test": [_shutter, _railing, _bin, _mailbox],
}


def _camera(rng: Rng, image: Image.Image) -> Image.Image:
    """Light, blur, noise and compression."""
    pixels = np.asarray(image, np.float32) / 255
    gain, level = rng.uniform(0.6, 1.1), rng.normal(0.45, 0.12)
    pixels = (pixels - pixels.mean()) * gain + level + rng.normal(0, 0.02, 3)
    pixels = pixels + rng.standard_normal(pixels.shape) * rng.uniform(0, 0.02)
    image = Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(abs(rng.normal(0, 0.012)) * min(image.size)))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.uniform(40, 95)))
    return Image.open(file).convert("RGB")


def _rgb(colour: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (np.clip(colour, 0, 1) * 255).astype(int).tolist()
    return red, green, blue
