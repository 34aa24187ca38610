"""The embedded data set: digits as photographs show them and as people draw them, rendered here.

Each image starts as a row of glyphs, taken from an outline font or drawn along a stroke skeleton.
The row is warped into a 64 x 64 coverage mask, painted (surface, colours, relief, light) and
photographed (blur, few pixels, noise, JPEG) at 32 x 32. A part stays clean: screenshots, pad drawings.
"""

from __future__ import annotations

import io
import math
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont
from torch import Tensor

SIZE = 32  # side of a rendered image
CANVAS = 64  # side of the scene before it is photographed
GLYPH = 48  # height of the digit 8 in a glyph, in pixels
CHUNK = 250  # images that share a random stream; also the unit of work of a process
FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/usr/share/texmf/fonts/opentype",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "~/Library/Fonts",
)
FONT_SUFFIXES = (".ttf", ".otf", ".ttc", ".pfb")

Progress = Callable[[int, int], None]
Font = Path | None  # None: the scalable font that Pillow brings along


class Glyph(NamedTuple):
    """One digit: coverage 0..255 (height, width), and where it stands in a row."""

    mask: Image.Image
    top: int  # distance of the mask from the top of the digit 8, in pixels
    advance: int  # distance to the next glyph


def render_digits(
    count: int,
    seed: int,
    *,
    fonts: Sequence[Font] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """Render labelled digits; every ten consecutive images hold each digit once.

    Image i depends on `seed`, `fonts` and i alone, so a smaller `count` gives a prefix.

    Args:
        count: number of images.
        seed: any integer from 0.
        fonts: faces to draw with, the commonest shapes first, since early ones are drawn more
            often; `find_fonts()` when not given, Pillow's own font where that is empty.
        workers: processes; one for each CPU when not given. Starting them imports the main module,
            so scripts need the `if __name__ == "__main__"` guard unless workers is 1.
        progress: called with (images done, count).

    Returns:
        Images, uint8 (count, 3, 32, 32), and labels, int64 (count,).
    """
    if count < 0 or seed < 0:
        raise ValueError(f"expected count and seed of at least 0, received {count} and {seed}")
    faces = tuple(find_fonts() if fonts is None else fonts) or (None,)
    tasks = [(seed, i, min(CHUNK, count - i * CHUNK), faces) for i in range(-(-count // CHUNK))]
    workers = min(workers or multiprocessing.cpu_count(), len(tasks))
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    labels = np.empty(count, np.int64)

    def collect(chunks) -> None:
        for i, (chunk, chunk_labels) in enumerate(chunks):
            at = slice(i * CHUNK, i * CHUNK + len(chunk))
            images[at], labels[at] = chunk, chunk_labels
            if progress is not None:
                progress(at.stop, count)

    if workers > 1:
        # Not multiprocessing.Pool: it restarts a worker that cannot start, again and again.
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            collect(pool.map(_render_chunk, tasks))
    else:
        collect(map(_render_chunk, tasks))
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)


def _render_chunk(task: tuple[int, int, int, tuple[Font, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (count, 32, 32, 3) and labels (count,) of one chunk."""
    seed, index, count, faces = task
    rng = np.random.default_rng((seed, index))
    labels = np.concatenate([rng.permutation(10) for _ in range(CHUNK // 10)])[:count]
    images = [np.asarray(_render(rng, int(label), faces)) for label in labels]
    return np.stack(images), labels


def _render(rng: np.random.Generator, label: int, faces: tuple[Font, ...]) -> Image.Image:
    """One RGB image (32, 32)."""
    kind = rng.random()
    if kind < 0.14:
        return _pad_drawing(rng, label)
    # A power above one prefers the early, common faces: display faces are rare on houses.
    face = faces[int(len(faces) * rng.random() ** 1.6)]
    if kind < 0.21:
        return _screenshot(rng, _row_mask(rng, label, lambda digit: _font_glyph(face, digit), True))
    if kind < 0.28:
        width = rng.uniform(0.05, 0.2) * GLYPH
        row = _row_mask(rng, label, lambda digit: _stroke_glyph(rng, digit, width), False)
    else:
        row = _row_mask(rng, label, lambda digit: _font_glyph(face, digit), False)
    return _photograph(rng, _paint(rng, row))


# --- Fonts -------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def find_fonts() -> list[Path]:
    """Outline fonts of this machine with ten legible digits, the most typical shapes first.

    Left out: faces whose digits are missing, blank or alike; faces that a linear classifier over
    all faces misreads (dingbats, illegible display faces); near copies of a face already taken, so
    that no large family dominates. The order is the same each time on the same machine.
    """
    folders = [Path(folder).expanduser() for folder in FONT_FOLDERS]
    paths = sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix.lower() in FONT_SUFFIXES and path.is_file()
    )
    shapes = {path: shape for path in paths if (shape := _face_shape(path)) is not None}
    if not shapes:
        return []
    paths = list(shapes)
    features = torch.stack(list(shapes.values()))  # (faces, 10, pixels)
    different = _without_near_copies(features)
    margins = _legibility(features[different])  # (faces, 10)
    legible = (margins > 0).sum(1) >= 9
    order = margins.mean(1).argsort(descending=True, stable=True)
    return [paths[different[i]] for i in order.tolist() if legible[i]]


def _face_shape(path: Path) -> Tensor | None:
    """The ten digits of a face stretched to 16 x 16, (10, 256) of unit length; None if unusable."""
    try:
        font = ImageFont.truetype(str(path), 24)
        missing = bytes(font.getmask("\U0010fffd"))
        masks = [font.getmask(digit) for digit in "0123456789"]
    except (OSError, ValueError, OverflowError):
        return None
    if any(min(mask.size) < 2 or max(mask.size) > 200 or bytes(mask) == missing for mask in masks):
        return None
    pixels = []
    for mask in masks:
        image = Image.frombytes("L", mask.size, bytes(mask))
        # A thin one stretched to a square would be a solid block: keep narrow digits narrow.
        canvas = Image.new("L", (max(mask.size[0], mask.size[1] // 2), mask.size[1]))
        canvas.paste(image, ((canvas.width - image.width) // 2, 0))
        small = canvas.resize((16, 16), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.7))
        pixels.append(np.asarray(small, np.float32).ravel())
    shape = torch.nn.functional.normalize(torch.from_numpy(np.stack(pixels)), dim=1)
    alike = (shape @ shape.T - torch.eye(10)).max() > 0.985
    return None if alike or not shape.isfinite().all() else shape


def _without_near_copies(features: Tensor, limit: float = 0.985) -> list[int]:
    """Indices of faces (faces, 10, pixels) that no earlier kept face resembles (mean cosine)."""
    flat = features.flatten(1) / 10**0.5
    similar = flat @ flat.T > limit
    kept: list[int] = []
    for i in range(len(features)):
        if not similar[i, kept].any():
            kept.append(i)
    return kept


def _legibility(features: Tensor) -> Tensor:
    """Score of the right digit minus the best other, (faces, 10), under a ridge classifier."""
    inputs = features.flatten(0, 1).double()
    targets = torch.eye(10, dtype=torch.double).repeat(len(features), 1)
    gram = inputs.T @ inputs + 1.0 * torch.eye(inputs.shape[1], dtype=torch.double)
    scores = inputs @ torch.linalg.solve(gram, inputs.T @ targets)
    right = scores[targets.bool()]
    best_other = scores.masked_fill(targets.bool(), -torch.inf).amax(1)
    return (right - best_other).view(-1, 10)


@lru_cache(maxsize=4096)
def _font_glyphs(face: Font) -> tuple[Glyph, ...]:
    font = _load(face, GLYPH)
    eight = font.getbbox("8", anchor="ls")
    font = _load(face, max(8, round(GLYPH * GLYPH / max(eight[3] - eight[1], 8))))
    top = font.getbbox("8", anchor="ls")[1]
    glyphs = []
    for digit in "0123456789":
        left, upper, right, lower = font.getbbox(digit, anchor="ls")
        mask = Image.new("L", (max(right - left, 1), max(lower - upper, 1)))
        ImageDraw.Draw(mask).text((-left, -upper), digit, fill=255, font=font, anchor="ls")
        glyphs.append(Glyph(mask, int(upper - top), round(font.getlength(digit))))
    return tuple(glyphs)


def _load(face: Font, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size) if face is None else ImageFont.truetype(str(face), size)


def _font_glyph(face: Font, digit: int) -> Glyph:
    return _font_glyphs(face)[digit]


# --- Strokes -----------------------------------------------------------------------------------

# Several topologies per digit; a digit is a list of strokes, a stroke a list of points (x, y) in
# the unit box, y downwards, joined by a smooth curve. A point given twice makes a corner.
Strokes = list[list[tuple[float, float]]]
_TOP = [(0.5, 0.0), (0.12, 0.2), (0.05, 0.5), (0.15, 0.85), (0.5, 1.0), (0.85, 0.85), (0.95, 0.5)]
_ZERO = [*_TOP, (0.85, 0.17), (0.5, 0.0)]
SKELETONS: tuple[tuple[Strokes, ...], ...] = (
    (
        [_ZERO],
        [[(0.6, 0.02), (0.2, 0.15), *_TOP[2:], (0.8, 0.1), (0.45, 0.0), (0.3, 0.08)]],
        [[(0.5, 0), (0.2, 0.1), (0.1, 0.5), (0.2, 0.9), (0.5, 1), (0.8, 0.9), (0.9, 0.5), (0.8, 0.1), (0.5, 0)]],
    ),
    (
        [[(0.5, 0), (0.5, 1)]],
        [[(0.2, 0.25), (0.55, 0), (0.55, 0), (0.55, 1)]],
        [[(0.25, 0.2), (0.5, 0), (0.5, 0), (0.5, 1)], [(0.15, 1), (0.85, 1)]],
        [[(0.3, 0.12), (0.55, 0), (0.55, 0), (0.5, 1)]],
        [[(0.0, 0.42), (0.6, 0), (0.6, 0), (0.6, 1)]],
    ),
    (
        [[(0.08, 0.25), (0.25, 0.04), (0.6, 0), (0.9, 0.22), (0.75, 0.5), (0.35, 0.8), (0.05, 1), (0.05, 1), (0.95, 1)]],
        [[(0.1, 0.2), (0.45, 0), (0.85, 0.2), (0.7, 0.55), (0.2, 0.95), (0.1, 0.8), (0.35, 0.8), (0.6, 0.97), (0.95, 0.9)]],
        [[(0.1, 0.05), (0.6, 0), (0.85, 0.25), (0.6, 0.6), (0.1, 1), (0.1, 1), (0.5, 0.93), (0.95, 1)]],
        [[(0.1, 0.0), (0.9, 0), (0.9, 0), (0.9, 0.3), (0.1, 0.98), (0.1, 0.98), (0.95, 0.98)]],
    ),
    (
        [[(0.1, 0.12), (0.5, 0), (0.85, 0.2), (0.7, 0.42), (0.4, 0.48), (0.4, 0.48), (0.75, 0.53), (0.93, 0.75), (0.6, 1), (0.05, 0.88)]],
        [[(0.1, 0), (0.85, 0), (0.85, 0), (0.4, 0.42), (0.4, 0.42), (0.8, 0.5), (0.9, 0.75), (0.6, 1), (0.05, 0.88)]],
        [[(0.1, 0.1), (0.6, 0), (0.8, 0.22), (0.45, 0.47), (0.3, 0.42), (0.45, 0.47), (0.9, 0.7), (0.6, 1), (0.1, 0.9)]],
        [[(0.05, 0.2), (0.5, 0), (0.9, 0.25), (0.55, 0.47), (0.9, 0.75), (0.5, 1), (0.05, 0.8)]],
    ),
    (
        [[(0.3, 0), (0.05, 0.65), (0.05, 0.65), (0.95, 0.65)], [(0.7, 0.3), (0.7, 1)]],
        [[(0.65, 1), (0.65, 0), (0.65, 0), (0.0, 0.7), (0.0, 0.7), (0.95, 0.7)]],
        [[(0.15, 0), (0.1, 0.5), (0.1, 0.5), (0.85, 0.5)], [(0.85, 0), (0.85, 1)]],
        [[(0.2, 0), (0.1, 0.4), (0.3, 0.55), (0.8, 0.45)], [(0.85, 0.05), (0.7, 1)]],
        [[(0.6, 0), (0.0, 0.72), (0.0, 0.72), (0.95, 0.72)], [(0.72, 0.4), (0.66, 1)]],
    ),
    (
        [[(0.85, 0), (0.2, 0), (0.2, 0), (0.15, 0.45), (0.15, 0.45), (0.55, 0.37), (0.93, 0.65), (0.6, 1), (0.05, 0.9)]],
        [[(0.2, 0), (0.15, 0.45), (0.15, 0.45), (0.6, 0.4), (0.9, 0.7), (0.5, 1), (0.05, 0.88)], [(0.2, 0.02), (0.9, 0)]],
        [[(0.85, 0.03), (0.4, 0.05), (0.2, 0.3), (0.5, 0.45), (0.85, 0.7), (0.5, 1), (0.05, 0.9)]],
        [[(0.8, 0.02), (0.25, 0.0), (0.15, 0.48), (0.5, 0.4), (0.85, 0.6), (0.7, 0.95), (0.1, 1)]],
    ),
    (
        [[(0.75, 0), (0.3, 0.25), (0.08, 0.65), (0.3, 0.97), (0.75, 0.95), (0.92, 0.7), (0.65, 0.48), (0.25, 0.55), (0.1, 0.75)]],
        [[(0.85, 0.12), (0.55, 0), (0.2, 0.2), (0.07, 0.6), (0.25, 0.95), (0.6, 1), (0.92, 0.75), (0.7, 0.45), (0.3, 0.48), (0.1, 0.68)]],
        [[(0.35, 0), (0.1, 0.5), (0.15, 0.9), (0.55, 1), (0.85, 0.8), (0.65, 0.58), (0.3, 0.65), (0.15, 0.85)]],
        [[(0.65, 0), (0.15, 0.6), (0.25, 0.95), (0.7, 0.97), (0.9, 0.72), (0.6, 0.52), (0.2, 0.62)]],
    ),
    (
        [[(0.05, 0), (0.95, 0), (0.95, 0), (0.4, 1)]],
        [[(0.05, 0), (0.95, 0), (0.95, 0), (0.4, 1)], [(0.3, 0.5), (0.9, 0.5)]],
        [[(0.05, 0.02), (0.92, 0), (0.92, 0), (0.55, 0.45), (0.42, 1)]],
        [[(0.08, 0.18), (0.08, 0), (0.08, 0), (0.95, 0), (0.95, 0), (0.35, 1)]],
        [[(0.05, 0.08), (0.3, 0), (0.65, 0.07), (0.95, 0), (0.95, 0), (0.45, 1)]],
    ),
    (
        [[(0.85, 0.15), (0.5, 0), (0.15, 0.2), (0.5, 0.47), (0.9, 0.75), (0.5, 1), (0.1, 0.75), (0.5, 0.47), (0.85, 0.2), (0.75, 0.05)]],
        [
            [(0.5, 0), (0.18, 0.22), (0.5, 0.46), (0.82, 0.22), (0.5, 0)],
            [(0.5, 0.46), (0.08, 0.73), (0.5, 1), (0.92, 0.73), (0.5, 0.46)],
        ],
        [[(0.5, 0.45), (0.15, 0.22), (0.5, 0), (0.85, 0.2), (0.5, 0.47), (0.1, 0.75), (0.5, 1), (0.9, 0.75), (0.5, 0.45)]],
    ),
    (
        [[(0.85, 0.2), (0.5, 0), (0.12, 0.25), (0.45, 0.5), (0.85, 0.25), (0.85, 0.2), (0.85, 1)]],
        [[(0.85, 0.2), (0.5, 0), (0.1, 0.28), (0.45, 0.53), (0.85, 0.3), (0.88, 0.5), (0.7, 0.9), (0.35, 1), (0.1, 0.9)]],
        [[(0.85, 0.15), (0.4, 0), (0.12, 0.25), (0.4, 0.45), (0.85, 0.15), (0.85, 0.15), (0.6, 1)]],
        [[(0.5, 0), (0.12, 0.25), (0.5, 0.5), (0.88, 0.25), (0.5, 0)], [(0.87, 0.2), (0.82, 1)]],
    ),
)  # fmt: skip


def draw_strokes(strokes: Strokes, size: int, width: float, wobble: float = 0.0) -> Image.Image:
    """Coverage 0..255 (size, size) of strokes given in pixels, with a round pen.

    Args:
        strokes: points in pixels, as in `SKELETONS`.
        size: side of the image.
        width: diameter of the pen in pixels.
        wobble: how much that varies along a stroke, 0..1.
    """
    image = Image.new("L", (size, size))
    pen = ImageDraw.Draw(image)
    for stroke in strokes:
        curve = _smooth(np.asarray(stroke, np.float32))
        curve = curve[np.r_[True, (np.diff(curve, axis=0) != 0).any(1)]]  # repeats upset the joints
        core = max(1, round(width * (1 - wobble)))
        pen.line([tuple(point) for point in curve.tolist()], 255, core, "curve")
        if wobble == 0:
            curve = curve[[0, -1]]
        radii = width / 2 * (1 + wobble * np.sin(np.linspace(0, 6, len(curve)) + width))
        for (x, y), radius in zip(curve.tolist(), radii.tolist(), strict=True):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
    return image


def _smooth(points: np.ndarray, steps: int = 10) -> np.ndarray:
    """Catmull-Rom curves through points (n, 2), as a dense polyline; a repeated point is a corner."""
    corners = np.flatnonzero((points[1:] == points[:-1]).all(1)) + 1
    sections = [_smooth_section(section, steps) for section in np.split(points, corners)]
    return np.concatenate(sections)


def _smooth_section(points: np.ndarray, steps: int) -> np.ndarray:
    padded = np.concatenate([points[:1], points, points[-1:]])
    before, start, end, after = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[:, None]
    curve = start + 0.5 * t * (
        end - before
        + t * (2 * before - 5 * start + 4 * end - after + t * (3 * (start - end) + after - before))
    )  # fmt: skip
    return np.concatenate([curve.reshape(-1, 2), points[-1:]])


def _jittered_strokes(rng: np.random.Generator, digit: int) -> Strokes:
    """A skeleton with another hand: points moved, bent, slanted and turned, about the unit box."""
    skeletons = SKELETONS[digit]
    aspect, slant, turn = rng.uniform(0.4, 0.95), rng.normal(0.08, 0.18), rng.normal(0, 0.12)
    linear = np.array([[1, -slant], [0, 1]]) @ np.array([[aspect, 0], [0, 1]])
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ linear
    bend, phase = rng.normal(0, 0.035, (2, 2)), rng.uniform(0, 6.3, (2, 2))
    strokes = []
    for stroke in skeletons[rng.integers(len(skeletons))]:
        points = np.asarray(stroke) - 0.5
        # The same point twice must stay the same point: it is a corner.
        corner = np.r_[False, (points[1:] == points[:-1]).all(1)]
        noise = rng.normal(0, 0.025, points.shape)
        noise[corner] = noise[np.flatnonzero(corner) - 1]
        points = points + noise
        points = points + np.sin(4 * points @ np.array([[0.3, 1], [1, 0.3]]) + phase[0]) * bend[0]
        strokes.append(points @ linear.T)
    return strokes


def _fit(strokes: Strokes, height: float) -> tuple[Strokes, np.ndarray]:
    """Strokes scaled to a height with their corner at the origin, and their (width, height)."""
    points = np.concatenate(strokes)
    low, extent = points.min(0), np.ptp(points, axis=0)
    scale = height / max(extent[1], 0.7 * extent[0], 1e-3)
    return [(stroke - low) * scale for stroke in strokes], extent * scale


def _stroke_glyph(rng: np.random.Generator, digit: int, width: float) -> Glyph:
    strokes, extent = _fit(_jittered_strokes(rng, digit), GLYPH - width)
    side = int(extent.max() + width) + 2
    mask = draw_strokes([stroke + width / 2 for stroke in strokes], side, width)
    mask = mask.crop((0, 0, int(extent[0] + width) + 1, int(extent[1] + width) + 1))
    return Glyph(mask, 0, mask.width + int(rng.uniform(0, 0.2) * GLYPH))


def _pad_drawing(rng: np.random.Generator, label: int) -> Image.Image:
    """A digit drawn on a plain canvas with mouse or finger, scaled down as the input is."""
    side = 128
    height = side * rng.uniform(0.3, 0.92)
    width = min(side * rng.choice([rng.uniform(0.02, 0.06), rng.uniform(0.04, 0.14)]), height / 5)
    strokes, extent = _fit(_jittered_strokes(rng, label), height - width)
    room = np.maximum(side - extent - width, 0)
    at = width / 2 + room * np.clip(rng.normal(0.5, 0.17, 2), 0.02, 0.98)
    wobble = rng.uniform(0.1, 0.5) if rng.random() < 0.3 else 0.0
    mask = draw_strokes([stroke + at for stroke in strokes], side, width, wobble)
    return _screenshot(rng, mask)


# --- From glyphs to a mask -----------------------------------------------------------------------


def _row_mask(
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
        shift = rng.normal(0, 0.08, 2)
    else:
        loose = rng.random() < 0.15
        fill = rng.uniform(0.35, 0.7) if loose else np.clip(rng.normal(0.86, 0.1), 0.6, 1.15)
        shift = rng.normal(0, 0.08 if loose else 0.035, 2) * (1.5, 1)
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


# --- From a mask to a picture --------------------------------------------------------------------

# Surfaces and inks of houses, 0..1 (red, green, blue), with how often each is taken.
_PALETTE = (
    (5, (0.93, 0.93, 0.91)),  # white
    (4, (0.72, 0.72, 0.73)),  # light grey
    (4, (0.47, 0.47, 0.49)),  # grey
    (4, (0.22, 0.22, 0.25)),  # dark grey
    (5, (0.06, 0.06, 0.08)),  # black
    (4, (0.12, 0.18, 0.48)),  # enamel blue
    (1, (0.10, 0.45, 0.80)),  # bright blue
    (2, (0.55, 0.62, 0.75)),  # pale blue
    (2, (0.55, 0.27, 0.22)),  # brick
    (3, (0.42, 0.31, 0.20)),  # wood
    (3, (0.80, 0.72, 0.60)),  # sandstone
    (2, (0.74, 0.60, 0.30)),  # brass
    (1, (0.15, 0.35, 0.22)),  # green
    (1, (0.68, 0.12, 0.16)),  # red
    (1, (0.90, 0.80, 0.25)),  # yellow
)
_CHANCES = np.cumsum([chance for chance, _ in _PALETTE]) / sum(chance for chance, _ in _PALETTE)
_COLOURS = np.array([colour for _, colour in _PALETTE], np.float32)
_LEVELS = np.arange(256)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_CAST = np.float32([-0.02, 0, 0.02])  # street view is bluish
_Y, _X = np.mgrid[-1 : 1 : CANVAS * 1j, -1 : 1 : CANVAS * 1j].astype(np.float32)[..., None]


def _colour(rng: np.random.Generator) -> np.ndarray:
    """A colour (3,), 0..1."""
    colour = _COLOURS[np.searchsorted(_CHANCES, rng.random())]
    noise = rng.normal(0, 0.07) + 0.03 * rng.standard_normal(3, np.float32)
    return np.clip(colour + noise, 0, 1)


def _two_colours(rng: np.random.Generator, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Two colours (3,) whose brightness differs by at least that much, of 1."""
    first, second = _colour(rng), _colour(rng)
    for _ in range(20):
        if abs((first - second) @ _LUMA) >= least:
            break
        second = _colour(rng)
    return first, second


def _cloud(rng: np.random.Generator, cells: tuple[int, int]) -> np.ndarray:
    """Smooth noise (64, 64, 1) about 0 with values up to 1; `cells` (x, y) sets how fine."""
    noise = Image.fromarray(rng.integers(0, 256, cells[::-1], dtype=np.uint8))
    noise = noise.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC)
    return (np.asarray(noise, np.float32)[..., None] - 128) / 128


def _ramp(rng: np.random.Generator, sharpness: float) -> np.ndarray:
    """A straight edge (64, 64, 1) from -1 to 1 somewhere in the picture; low sharpness: a gradient."""
    angle = rng.uniform(0, 2 * math.pi)
    across = sharpness * math.cos(angle) * _X[:1] + sharpness * math.sin(angle) * _Y[:, :1]
    return np.tanh(across - sharpness * rng.uniform(-1, 1))


def _coverage(mask: Image.Image) -> np.ndarray:
    """(64, 64, 1), 0..1."""
    return np.asarray(mask, np.float32)[..., None] / 255


def _reweight(mask: Image.Image, blur: float, threshold: float) -> Image.Image:
    """Bolder (threshold below a half) or thinner strokes with rounder corners."""
    table = np.clip((_LEVELS - threshold * 255) * 4 + 128, 0, 255).astype(np.uint8)
    return Image.fromarray(table[np.asarray(mask.filter(ImageFilter.GaussianBlur(blur)))])


def _surface(rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    """What the digits stand on (64, 64, 3): texture, plate edges, boards, brick courses."""
    scene = colour * (1 + rng.uniform(0, 0.25) * _cloud(rng, (4, 4)))
    if rng.random() < 0.4:
        fine = int(rng.integers(8, 40))
        stretched = (fine, 4) if rng.random() < 0.3 else (fine, fine)
        scene = scene * (1 + rng.uniform(0.02, 0.2) * _cloud(rng, stretched))
    for _ in range(rng.integers(0, 4)):  # whatever is beside the plate
        if rng.random() < 0.35:
            edge = rng.uniform(0.1, 0.5) * (1 + _ramp(rng, rng.uniform(8, 60)))
            scene = scene + (_colour(rng) - scene) * edge
        else:  # a bar or a frame parallel to the border
            axis = _X if rng.random() < 0.5 else _Y
            middle = rng.choice([-1, 1]) * rng.uniform(0.7, 1.05)
            bar = np.abs(axis + rng.normal(0, 0.05) * (_X + _Y) - middle) < rng.uniform(0.02, 0.15)
            scene = scene + rng.uniform(0.3, 1) * (_colour(rng) - scene) * bar
    if rng.random() < 0.08:  # boards, courses, blinds
        axis = _Y if rng.random() < 0.7 else _X
        waves = np.sin(axis * rng.uniform(6, 30) + rng.uniform(0, 6))
        scene = scene * (1 - rng.uniform(0.05, 0.3) * (waves > rng.uniform(0.3, 0.95)))
    return scene


def _paint(rng: np.random.Generator, mask: Image.Image) -> np.ndarray:
    """The scene before the camera: linear-ish colours (64, 64, 3), about 0..1."""
    if rng.random() < 0.5:
        mask = _reweight(mask, rng.uniform(0.5, 2.2), rng.uniform(0.2, 0.55))
    paper, ink = _two_colours(rng, 0.25)
    scene = _surface(rng, paper)
    digit = _coverage(mask)
    style = rng.random()
    right, down = rng.uniform(-4, 4, 2).tolist()
    if style < 0.3:  # a shadow beside or below raised digits
        shadow = mask.transform(
            mask.size, Image.Transform.AFFINE, (1, 0, right, 0, 1, down)
        ).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 2.5)))
        scene = scene * (1 - rng.uniform(0.2, 0.8) * _coverage(shadow))
    elif style < 0.42:  # an outline in a third colour
        outline = _coverage(_reweight(mask, rng.uniform(1.5, 3), rng.uniform(0.08, 0.2)))
        scene = scene + (_colour(rng) - scene) * outline
    ink_scene = ink * (1 + rng.uniform(0, 0.35) * _ramp(rng, rng.uniform(0.3, 3)))
    if style > 0.95:  # only the contour is painted
        inner = _coverage(_reweight(mask, rng.uniform(1, 2), rng.uniform(0.7, 0.9)))
        digit = np.clip(digit - inner, 0, 1)
    elif style > 0.85:  # embossed or cut in: one flank lit, the other dark
        soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(1.2)), np.float32) / 255
        slope_down, slope_right = np.gradient(soft)
        relief = (slope_right * right + slope_down * down)[..., None]
        ink_scene = ink_scene + rng.uniform(0.2, 0.8) * relief
        digit = digit * rng.uniform(0.3, 1)
    if rng.random() < 0.15:  # worn paint, dirt, glare
        digit = digit * np.clip(1.2 + rng.uniform(0.3, 1) * _cloud(rng, (6, 6)), 0, 1)
    scene = scene + (ink_scene - scene) * digit
    if rng.random() < 0.12:  # a twig, a wire, a crack
        scene = scene + (_colour(rng) - scene) * (1 - np.abs(_ramp(rng, 15))) * rng.uniform(0.3, 1)
    return _light(rng, scene)


def _light(rng: np.random.Generator, scene: np.ndarray) -> np.ndarray:
    """Uneven light, a colour cast, and the brightness and contrast that photographs have."""
    scene = scene * (1 + rng.uniform(0, 0.4) * _ramp(rng, rng.uniform(0.3, 1)))
    if rng.random() < 0.12:  # the edge of a shadow
        scene = scene * (1 - rng.uniform(0.1, 0.4) * (0.5 + 0.5 * _ramp(rng, rng.uniform(3, 30))))
    # Brightness, spread and colour as street view photographs have them, not left to chance.
    grey = scene @ _LUMA
    spread = min(max(0.145 * math.exp(rng.normal(0, 0.37)), 0.06), 0.32)
    gain = spread / (float(grey.std()) + 0.02)
    level = min(max(rng.normal(0.45, 0.16), 0.12), 0.85)
    chroma = scene - grey[..., None]
    strength = float(np.abs(chroma).mean()) * gain
    chroma *= gain * rng.uniform(0.2, 1) * min(1, rng.uniform(0.02, 0.09) / (strength + 1e-3))
    tint = 0.02 * rng.standard_normal(3, np.float32) + _CAST
    patches = 0.02 * _cloud(rng, (5, 5)) * rng.standard_normal(3, np.float32)
    return chroma + ((grey - grey.mean()) * gain + level)[..., None] + (tint + patches)


def _photograph(rng: np.random.Generator, scene: np.ndarray) -> Image.Image:
    """The scene (64, 64, 3) through a camera: RGB (32, 32)."""
    image = Image.fromarray((np.clip(scene, 0, 1) * 255).astype(np.uint8))
    if rng.random() < 0.2:  # the car moves, mostly along the street
        reach, angle = (
            rng.uniform(1, 3),
            rng.normal(0, 0.3) if rng.random() < 0.7 else rng.uniform(0, 3),
        )
        for part in (reach, reach / 2):  # two copies of two copies: close to an even smear
            shift = (1, 0, part * math.cos(angle), 0, 1, part * math.sin(angle))
            moved = image.transform(image.size, Image.Transform.AFFINE, shift, _BILINEAR)
            image = Image.blend(image, moved, 0.5)
    image = image.filter(ImageFilter.GaussianBlur(abs(rng.normal(0, 1.3))))
    if rng.random() < 0.7:  # lenses bend red and blue apart
        red, green, blue = image.split()
        right, down = rng.normal(0, 0.8, 2)
        red = ImageChops.offset(red, round(right), round(down))
        blue = ImageChops.offset(blue, -round(right), -round(down))
        image = Image.merge("RGB", (red, green, blue))
    # House numbers are often a dozen pixels high before they are enlarged to the input's size.
    side = int(np.clip(np.exp(rng.normal(np.log(21), 0.33)), 10, 48))
    image = image.resize((side, side), Image.Resampling.BOX)
    if rng.random() < 0.4:
        pixels = np.asarray(image, np.float32)
        noise = rng.standard_normal(pixels.shape, np.float32) * rng.uniform(0, 5)
        image = Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))
    if rng.random() < 0.3:  # cameras sharpen, which leaves bright seams along edges
        image = image.filter(
            ImageFilter.UnsharpMask(rng.uniform(0.8, 2), int(rng.uniform(50, 200)), 0)
        )
    if rng.random() < 0.7:
        image = _jpeg(image, int(rng.uniform(30, 95)))
    return image.resize((SIZE, SIZE), rng.choice(_RESAMPLING))


_BILINEAR = Image.Resampling.BILINEAR
_RESAMPLING = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS)


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _screenshot(rng: np.random.Generator, mask: Image.Image) -> Image.Image:
    """A mask of any size in two plain colours: RGB (32, 32)."""
    paper, ink = _two_colours(rng, 0.3)
    kind = rng.random()
    if kind < 0.6:  # black on white and nearly so, the rule on screens, or the other way round
        paper, ink = (
            1 - rng.uniform(0, 0.1, 3) * (kind < 0.2),
            rng.uniform(0, 0.25, 3) * (kind > 0.3),
        )
        if kind < 0.15 or kind > 0.5:
            paper, ink = ink, paper
    small = mask.resize((SIZE, SIZE), rng.choice(_RESAMPLING))
    digit = np.asarray(small, np.float32)[..., None] / 255
    pixels = (paper + (ink - paper) * digit) * 255
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return _jpeg(image, int(rng.uniform(50, 95))) if rng.random() < 0.2 else image
