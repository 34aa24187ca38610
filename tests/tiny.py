"""A small untrained classifier for tests: seeded, made in milliseconds, with varied answers."""

from __future__ import annotations

import copy
import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from memorywrap import MemoryBank, MemoryWrapClassifier
from memorywrap.checkpoints.config import Config
from memorywrap.images import of_side

CLASSES = ("red", "green", "blue")
SIZE = 32


def images(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noisy squares, uint8 (count, 3, 32, 32), and labels: the class names their colour."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(CLASSES)
    pixels = torch.randint(0, 120, (count, 3, SIZE, SIZE), generator=chance)
    pixels[torch.arange(count), labels] += 120
    return pixels.to(torch.uint8), labels


def picture(seed: int = 1, size: tuple[int, int] = (SIZE, SIZE)) -> Image.Image:
    """An image of random pixels; (width, height)."""
    chance = np.random.default_rng(seed)
    return Image.fromarray(chance.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """The bytes of a file that holds the image."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


_made: dict[tuple, tuple[dict[str, Tensor], MemoryBank | None]] = {}


def classifier(
    variant: str = "memory-wrap", *, memory: int = 12, seed: int = 3, **settings
) -> MemoryWrapClassifier:
    """A classifier in evaluation mode with a bank; `settings` go to its `Config`."""
    config = Config(
        **{
            "title": "Tiny",
            "encoder": "compact",
            "classes": CLASSES,
            "variant": variant,
            **settings,
        }
    )
    # Most tests ask for the same one: what takes long is done once, and copied.
    key = (repr(config), memory, seed)
    if key not in _made:
        made = _untrained(config, seed)
        _give_opinions(made, memory, seed)
        _made[key] = (made.state_dict(), made.bank)
    weights, bank = _made[key]
    model = _untrained(config, seed).eval().requires_grad_(False)
    model.load_state_dict(weights)
    if bank is not None:
        model.set_bank(copy.deepcopy(bank))
    return model


def _untrained(config: Config, seed: int) -> MemoryWrapClassifier:
    torch.manual_seed(seed)
    model = MemoryWrapClassifier(config)
    for module in model.encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    return model


def _give_opinions(model: MemoryWrapClassifier, memory: int, seed: int) -> None:
    """Statistics of the images, a head with opinions, and a bank: untrained embeddings are all
    alike, and then every sample is used and every image is in the same class."""
    pixels, labels = images(max(memory, 2), seed)
    pixels = of_side(pixels, model.config.image_size)
    with torch.no_grad():
        model.train().embed(pixels / 255.0)
        for parameter in model.head.parameters():
            parameter.mul_(4)
    model.eval().requires_grad_(False)
    if model.has_memory:
        model.set_bank(model.make_bank(pixels[:memory], labels[:memory]))
