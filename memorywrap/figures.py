"""Pictures: enlarged inputs, attribution overlays, the paper's figure, the bank at a glance."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torch import Tensor

from memorywrap.bank import MemoryBank
from memorywrap.images import to_pil

# Colour-blind safe; a legend and the place in the picture always say the same in words.
SUPPORT = (0, 90, 200)
OPPOSE = (220, 100, 0)


def enlarged(image: Image.Image, side: int = 256) -> Image.Image:
    """The image at a larger size with hard pixels, so that it shows what the model sees."""
    return image.resize((side, side), Image.Resampling.NEAREST)


def overlay(pixels: Tensor, attribution: Tensor, side: int = 256) -> Image.Image:
    """An attribution map over a pale grey copy of its image: blue supports, orange opposes.

    Args:
        pixels: uint8 (3, height, width).
        attribution: (3, height, width), any scale; summed over the channels. Full colour is the
            99th percentile of its magnitude.
        side: of the picture, in pixels.
    """
    grey = np.asarray(to_pil(pixels).convert("L"), dtype=np.float32)[..., None]
    pale = 140 + grey * (100 / 255)
    by_pixel = attribution.sum(dim=0).numpy()
    scale = float(np.quantile(np.abs(by_pixel), 0.99))
    strength = np.clip(np.abs(by_pixel) / (scale or 1.0), 0, 1)[..., None] ** 0.7
    colour = np.where(by_pixel[..., None] >= 0, SUPPORT, OPPOSE)
    blended = pale * (1 - strength) + colour * strength
    return enlarged(Image.fromarray(blended.round().astype(np.uint8)), side)


def bank_picture(bank: MemoryBank, columns: int = 20) -> Image.Image:
    """All memory samples in bank order, row by row."""
    height, width = bank.images.shape[2:]
    rows = -(-len(bank) // columns)
    picture = Image.new("RGB", (columns * width, rows * height), "white")
    for index, image in enumerate(bank.images):
        picture.paste(to_pil(image), ((index % columns) * width, (index // columns) * height))
    return picture
