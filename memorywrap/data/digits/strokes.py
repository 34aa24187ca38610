"""Digits as people draw them: stroke skeletons, another hand each time, a round pen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from memorywrap.data.digits.rows import GLYPH, Glyph

# Several topologies per digit; a digit is a list of strokes, a stroke a list of points (x, y) in
# the unit box, y downwards, joined by a smooth curve. A point given twice makes a corner.
# Lines of a digit, each of points (x, y).
Skeleton = list[list[tuple[float, float]]]
Strokes = Sequence[np.ndarray]  # each (points, 2)
Figures = Sequence[Sequence[Skeleton]]  # the ways to draw each figure
_TOP = [(0.5, 0.0), (0.12, 0.2), (0.05, 0.5), (0.15, 0.85), (0.5, 1.0), (0.85, 0.85), (0.95, 0.5)]
_ZERO = [*_TOP, (0.85, 0.17), (0.5, 0.0)]
SKELETONS: tuple[tuple[Skeleton, ...], ...] = (
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


def draw_strokes(
    strokes: Skeleton | Strokes, size: int, width: float, wobble: float = 0.0
) -> Image.Image:
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


def _jittered_strokes(rng: np.random.Generator, skeletons: Sequence[Skeleton]) -> Strokes:
    """One of them with another hand: points moved, bent, slanted and turned, about the unit box."""
    aspect, slant, turn = rng.uniform(0.4, 0.95), rng.normal(0.08, 0.18), rng.normal(0, 0.12)
    linear = np.array([[1, -slant], [0, 1]]) @ np.array([[aspect, 0], [0, 1]])
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ linear
    bend, phase = rng.normal(0, 0.035, (2, 2)), rng.uniform(0, 6.3, (2, 2))
    strokes = []
    for stroke in skeletons[int(rng.integers(len(skeletons)))]:
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


def stroke_glyph(
    rng: np.random.Generator, number: int, width: float, figures: Figures = SKELETONS
) -> Glyph:
    """The figure of that number, a digit where no others are given, as a hand draws it with a pen of
    that width in pixels; never twice alike."""
    strokes, extent = _fit(_jittered_strokes(rng, figures[number]), GLYPH - width)
    side = int(extent.max() + width) + 2
    mask = draw_strokes([stroke + width / 2 for stroke in strokes], side, width)
    mask = mask.crop((0, 0, int(extent[0] + width) + 1, int(extent[1] + width) + 1))
    return Glyph(mask, 0, mask.width + int(rng.uniform(0, 0.2) * GLYPH))


def pad_mask(rng: np.random.Generator, number: int, figures: Figures = SKELETONS) -> Image.Image:
    """Coverage 0..255 (128, 128) of the figure of that number, a digit where no others are given,
    drawn on a canvas with mouse or finger."""
    side = 128
    height = side * rng.uniform(0.3, 0.92)
    width = min(side * rng.choice([rng.uniform(0.02, 0.06), rng.uniform(0.04, 0.14)]), height / 5)
    strokes, extent = _fit(_jittered_strokes(rng, figures[number]), height - width)
    room = np.maximum(side - extent - width, 0)
    at = width / 2 + room * np.clip(rng.normal(0.5, 0.17, 2), 0.02, 0.98)
    wobble = rng.uniform(0.1, 0.5) if rng.random() < 0.3 else 0.0
    return draw_strokes([stroke + at for stroke in strokes], side, width, wobble)
