"""Outline fonts of this machine: which ones show ten legible digits, and their glyphs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor

from memorywrap.data.digits.rows import GLYPH, Glyph

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

Font = Path | None  # None: the scalable font that Pillow brings along


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
    legible = (margins > 0).all(1)
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
def _font_glyphs(face: Font, characters: str) -> tuple[Glyph, ...]:
    font = _load(face, GLYPH)
    eight = font.getbbox("8", anchor="ls")
    font = _load(face, max(8, round(GLYPH * GLYPH / max(eight[3] - eight[1], 8))))
    top = font.getbbox("8", anchor="ls")[1]
    glyphs = []
    for character in characters:
        left, upper, right, lower = font.getbbox(character, anchor="ls")
        mask = Image.new("L", (max(int(right - left), 1), max(int(lower - upper), 1)))
        ImageDraw.Draw(mask).text((-left, -upper), character, fill=255, font=font, anchor="ls")
        glyphs.append(Glyph(mask, int(upper - top), round(font.getlength(character))))
    return tuple(glyphs)


def _load(face: Font, size: int) -> ImageFont.FreeTypeFont:
    if face is not None:
        return ImageFont.truetype(str(face), size)
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # with a size, it is one that scales
    return font


def font_glyph(face: Font, number: int, characters: str = "0123456789") -> Glyph:
    """The character of that number, a digit where no others are given, as the font draws it."""
    return _font_glyphs(face, characters)[number]
