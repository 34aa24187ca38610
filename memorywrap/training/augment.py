"""Augmentation of a whole batch at once: random geometry, colours and cut-outs, no per-image loop."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from memorywrap.images import to_unit
from memorywrap.training.settings import check_range, check_types

_CUTOUT_GREY = 0.5


@dataclass(frozen=True)
class Augment:
    """What may happen to a training image; every zero switches its part off.

    Raises:
        ValueError: names the setting that is of the wrong type or out of its range.

    Attributes:
        translate: largest shift in pixels, either way.
        flip: whether to mirror left and right.
        cutout: side of the square that is painted grey, in pixels.
        rotate: largest turn in degrees, either way.
        scale: largest change of size, as a factor: 0.2 gives 1/1.2 to 1.2; each axis differs a bit.
        shear: largest slant, as a fraction of the height.
        brightness: largest shift of all pixels, as a fraction of the full range.
        contrast: largest change of contrast, as a factor like `scale`.
        colour: largest shift of each channel on its own.
        invert: share of images turned into their negative.
    """

    translate: int = 0
    flip: bool = False
    cutout: int = 0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    colour: float = 0.0
    invert: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, 0, math.inf, "translate", "cutout", "shear", "scale", "contrast")
        check_range(self, 0, 180, "rotate")
        check_range(self, 0, 1, "brightness", "colour", "invert")


def augment(images: Tensor, settings: Augment, generator: torch.Generator) -> Tensor:
    """Augmented images in [0, 1].

    Args:
        images: uint8 (n, 3, height, width), on the generator's device.
        settings: what may happen to them.
        generator: where the chances come from.

    Returns:
        float32 (n, 3, height, width).
    """
    if settings.rotate or settings.scale or settings.shear:
        pixels = _warp(to_unit(images), settings, generator)
    else:
        pixels = to_unit(_shift(images, settings, generator))
    if settings.brightness or settings.contrast or settings.colour or settings.invert:
        pixels = _recolour(pixels, settings, generator)
    if settings.cutout:
        pixels = _cut_out(pixels, settings.cutout, generator)
    return pixels


def _shift(images: Tensor, settings: Augment, generator: torch.Generator) -> Tensor:
    """Integer shifts with mirrored edges, and flips."""
    if not (settings.translate or settings.flip):
        return images
    count, channels, height, width = images.shape
    rows = _shifted(height, count, settings.translate, generator)  # (n, height)
    columns = _shifted(width, count, settings.translate, generator)  # (n, width)
    if settings.flip:
        mirrored = torch.rand(count, 1, generator=generator, device=images.device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    places = rows[:, :, None] * width + columns[:, None, :]  # (n, height, width)
    places = places.flatten(1)[:, None, :].expand(count, channels, height * width)
    return images.flatten(2).gather(2, places).view(images.shape)


def _shifted(size: int, count: int, most: int, generator: torch.Generator) -> Tensor:
    """Source positions (n, size) of a line of pixels shifted by up to `most`, edges mirrored."""
    places = torch.arange(size, device=generator.device)[None, :]
    if most:
        shape = (count, 1)
        places = places + torch.randint(
            -most, most + 1, shape, generator=generator, device=generator.device
        )
    places = places.abs()
    return (size - 1 - (size - 1 - places).abs()).expand(count, size)


def _warp(pixels: Tensor, settings: Augment, generator: torch.Generator) -> Tensor:
    """Rotation, scale, slant, shift and flip in one bilinear sampling, edges mirrored."""
    count, size = len(pixels), pixels.shape[-1]

    def uniform(most: float) -> Tensor:
        chance = torch.rand(count, generator=generator, device=pixels.device)
        return (2 * chance - 1) * most

    angle = uniform(math.radians(settings.rotate))
    zoom = uniform(math.log1p(settings.scale))
    stretch = uniform(math.log1p(settings.scale) / 2)
    width, height = torch.exp(zoom + stretch), torch.exp(zoom - stretch)
    if settings.flip:
        width = width * torch.sign(uniform(1.0))
    cos, sin, slant = torch.cos(angle), torch.sin(angle), uniform(settings.shear)
    shift = 2 * settings.translate / size  # the grid spans two units
    rows = (
        torch.stack([width * cos, width * (slant * cos - sin), uniform(shift)], dim=1),
        torch.stack([height * sin, height * (slant * sin + cos), uniform(shift)], dim=1),
    )
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(pixels.shape), align_corners=False)
    return functional.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _recolour(pixels: Tensor, settings: Augment, generator: torch.Generator) -> Tensor:
    """Contrast, brightness, colour cast and negative: one factor and one offset per channel."""
    count = len(pixels)

    def uniform(channels: int, most: float) -> Tensor:
        shape = (count, channels, 1, 1)
        return (2 * torch.rand(shape, generator=generator, device=pixels.device) - 1) * most

    factor = torch.exp(uniform(1, math.log1p(settings.contrast)))
    middle = pixels.mean(dim=(1, 2, 3), keepdim=True)
    offset = middle * (1 - factor) + uniform(1, settings.brightness) + uniform(3, settings.colour)
    chance = torch.rand(factor.shape, generator=generator, device=pixels.device)
    negative = chance < settings.invert
    factor = torch.where(negative, -factor, factor)
    offset = torch.where(negative, 1 - offset, offset)
    return torch.addcmul(offset, pixels, factor).clamp_(0, 1)


def _cut_out(pixels: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A grey square somewhere, partly outside at the edges."""
    count, _, height, width = pixels.shape

    def inside(size: int) -> Tensor:
        start = torch.randint(1 - side, size, (count, 1), generator=generator, device=pixels.device)
        offset = torch.arange(size, device=pixels.device)[None, :] - start
        return (offset >= 0) & (offset < side)  # (n, size)

    square = inside(height)[:, None, :, None] & inside(width)[:, None, None, :]
    return pixels.masked_fill_(square, _CUTOUT_GREY)
