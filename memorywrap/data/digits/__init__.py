"""The embedded data set: digits as photographs show them and as people draw them, rendered here.

Each image starts as a row of glyphs, taken from an outline font (`fonts`) or drawn along a stroke
skeleton (`strokes`). The row is warped into a 64 x 64 coverage mask (`rows`), painted and
photographed at 32 x 32 (`painting`). A part stays clean: screenshots and pad drawings.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from memorywrap.data.digits.fonts import Font, find_fonts, font_glyph
from memorywrap.data.digits.painting import SIZE, legibility, paint, photograph, screenshot
from memorywrap.data.digits.rows import GLYPH, row_mask
from memorywrap.data.digits.strokes import pad_mask, stroke_glyph
from memorywrap.devices import available_cores

_log = logging.getLogger(__name__)

__all__ = ["RENDERER", "digest_of_fonts", "find_fonts", "render_digit", "render_digits"]

# Raise it with every change after which the same seed and fonts give other images: caches, data
# versions and runs that can be resumed hang on it. A test notices when that was forgotten.
RENDERER = "3"

CHUNK = 250  # images that share a random stream; also the unit of work of a process
# Photographs that show the digit less than this are taken again: nobody could read them, and a
# label that cannot be read teaches noise.
LEGIBLE = 0.6
TRIES = 6

Progress = Callable[[int, int], None]


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

    Raises:
        ValueError: a count or a seed below 0.
    """
    if count < 0 or seed < 0:
        raise ValueError(f"expected count and seed of at least 0, received {count} and {seed}")
    faces = tuple(find_fonts() if fonts is None else fonts) or (None,)
    tasks = [(seed, i, min(CHUNK, count - i * CHUNK), faces) for i in range(-(-count // CHUNK))]
    workers = min(workers or available_cores(), len(tasks))
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
        try:
            with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
                collect(pool.map(_render_chunk, tasks))
        except (
            BrokenProcessPool
        ):  # such as in a script without that line: its processes run it again, and end
            _log.warning(
                "a process that renders digits has ended, so they are rendered in this one, which takes longer; a "
                'script needs what it does to stand under `if __name__ == "__main__":` for that'
            )
            collect(map(_render_chunk, tasks))
    else:
        collect(map(_render_chunk, tasks))
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)


def digest_of_fonts(fonts: Sequence[Font]) -> str:
    """Tells one list of faces from another by what is in their files, wherever those lie."""
    digest = hashlib.sha256()
    for font in fonts:
        # Digests of equal length, so that where one file ends and the next begins counts, too.
        digest.update(hashlib.sha256(b"" if font is None else font.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _render_chunk(task: tuple[int, int, int, tuple[Font, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (count, 32, 32, 3) and labels (count,) of one chunk."""
    seed, index, count, faces = task
    rng = np.random.default_rng((seed, index))
    labels = np.concatenate([rng.permutation(10) for _ in range(CHUNK // 10)])[:count]
    images = [np.asarray(render_digit(rng, int(label), faces)) for label in labels]
    return np.stack(images), labels


def render_digit(rng: np.random.Generator, label: int, faces: tuple[Font, ...]) -> Image.Image:
    """One RGB image (32, 32), by faces of which early ones are taken more often."""
    kind = rng.random()
    if kind < 0.14:
        return screenshot(rng, pad_mask(rng, label))
    # A power above one prefers the early, common faces: display faces are rare on houses.
    face = faces[int(len(faces) * rng.random() ** 1.6)]
    if kind < 0.21:
        return screenshot(rng, row_mask(rng, label, lambda digit: font_glyph(face, digit), True))
    if kind < 0.28:
        width = rng.uniform(0.05, 0.15) * GLYPH
        row = row_mask(rng, label, lambda digit: stroke_glyph(rng, digit, width), False)
    else:
        row = row_mask(rng, label, lambda digit: font_glyph(face, digit), False)
    pictures = []
    for _ in range(TRIES):
        picture = photograph(rng, paint(rng, row))
        pictures.append((legibility(picture, row), picture))
        if pictures[-1][0] >= LEGIBLE:
            break
    return max(pictures, key=lambda shown: shown[0])[1]
