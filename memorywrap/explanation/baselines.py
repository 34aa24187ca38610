"""Where the paths of attribution start: pictures in [0, 1] that are meant to say nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

_BLUR = 4  # places that a blurred picture has, per side
_NOISES = 4


def _blurred(images: Tensor) -> Tensor:
    coarse = functional.adaptive_avg_pool2d(images, _BLUR)
    return functional.interpolate(coarse, images.shape[2:], mode="bilinear", align_corners=False)


def _border(images: Tensor) -> Tensor:
    """The mean colour of the outermost pixels: of what stands in the middle, its ground."""
    inner = torch.ones_like(images[:1, :1])
    inner[..., 1:-1, 1:-1] = 0
    colour = (images * inner).sum(dim=(2, 3), keepdim=True) / inner.sum()
    return colour.expand_as(images)


def _noise(seed: int, images: Tensor) -> Tensor:
    """The same noise for each picture and at every call, whatever the device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(images.shape[1:], generator=generator).to(images).expand_as(images)


# A start gives, for images (batch, 3, height, width) in [0, 1], the images that the paths come from.
STARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "white": torch.ones_like,
    "black": torch.zeros_like,
    "mean": lambda images: images.mean(dim=(2, 3), keepdim=True).expand_as(images),
    "blur": _blurred,
    "border": _border,
    **{f"noise {seed}": partial(_noise, seed) for seed in range(_NOISES)},
}

# A baseline is one start, or several whose attributions are averaged.
BASELINES: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("white", "black", "border", "mean", "blur")},
    "noise": tuple(f"noise {seed}" for seed in range(_NOISES)),
}


def starts_of(baseline: str) -> tuple[str, ...]:
    """The starts of a baseline.

    Raises:
        ValueError: no baseline of that name.
    """
    if baseline not in BASELINES:
        raise ValueError(f"unknown baseline {baseline!r}: expected one of {', '.join(BASELINES)}")
    return BASELINES[baseline]


# In the colour of the ground, what stands out of it lies on its own pixels: strokes that are light on
# dark as well as dark on light, while a white start sees nothing in a white stroke. The paper's is white.
DEFAULT = "border"

_WORDS = {
    "white": "a plain white image",
    "black": "a plain black image",
    "border": "an image in the average colour of its border",
    "mean": "an image in its average colour",
    "blur": "a blurred image",
    "noise": "images of pure noise, on average,",
}


def in_words(baseline: str) -> str:
    """What a baseline is, for "on the way from ... to this image"; its name where no words are kept."""
    return _WORDS.get(baseline, f"its {baseline} baseline")
