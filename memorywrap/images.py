"""From whatever a person uploads to the pixels that the encoder sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from memorywrap.decoding import (
    MAX_BYTES,
    MAX_PIXELS,
    TOO_MANY_PIXELS,
    ImageError,
    check_pixels,
    decoded,
    upright_rgb,
)

ImageSource = Image.Image | str | Path | bytes | np.ndarray
Box = tuple[int, int, int, int]

_NOISE = 2  # levels of 256 that compression may add to one plain colour


def read_image(source: ImageSource) -> Image.Image:
    """An upright RGB image from a path, encoded bytes, a PIL image or an array.

    Orientation from EXIF and a colour profile are applied, transparency is laid on white, the first
    frame of an animation is taken, 16-bit and floating-point grey is scaled to 8 bits.

    Args:
        source: a path, the bytes of a file, a PIL image, or a uint8 array (height, width),
            (height, width, 3) or (height, width, 4).

    Raises:
        ImageError: not an image, truncated, over 10 MB or over 25 megapixels.
    """
    if isinstance(source, np.ndarray):
        return upright_rgb(_from_array(source))
    if isinstance(source, Image.Image):
        check_pixels(source)
        return upright_rgb(source)
    return decoded(source if isinstance(source, bytes) else _read_bytes(Path(source)))


def to_input(image: Image.Image, size: int, box: Box | None = None) -> Tensor:
    """What the model sees: the box of an RGB image, resized to uint8 (3, size, size).

    Args:
        image: an image as `read_image` returns it.
        size: side of the model's input in pixels.
        box: (left, top, right, bottom) in pixels, with parts outside the image filled by its edge
            pixels; the largest central square when not given.
    """
    left, top, right, bottom = central_square(image) if box is None else box
    if right <= left or bottom <= top:
        raise ImageError("The crop is empty: draw a square over the part to classify.")
    width, height = image.size
    outside = left < 0 or top < 0 or right > width or bottom > height
    if outside:
        pixels = np.asarray(image)
        rows = np.clip(np.arange(top, bottom), 0, height - 1)
        columns = np.clip(np.arange(left, right), 0, width - 1)
        image = Image.fromarray(pixels[rows][:, columns])
        box = (0, 0, right - left, bottom - top)
    else:
        box = (left, top, right, bottom)
    if box != (0, 0, size, size) or image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def check_inside(box: Box, image: Image.Image) -> None:
    """Refuses a part that an image does not have.

    Raises:
        ImageError: left, top, right or bottom lies outside.
    """
    left, top, right, bottom = box
    if left < 0 or top < 0 or right > image.width or bottom > image.height:
        raise ImageError(
            f"The crop lies outside the image, which is {image.width} x {image.height} pixels."
        )


def refuse_plain(pixels: Tensor) -> None:
    """What is one plain colour to the model has nothing to classify, such as white strokes on a
    transparent ground, which is laid on white.

    Args:
        pixels: uint8 (3, height, width), what the model sees.

    Raises:
        ImageError: all pixels are alike.
    """
    by_channel = pixels.flatten(1)
    if int((by_channel.amax(dim=1) - by_channel.amin(dim=1)).max()) <= _NOISE:
        raise ImageError(
            "The picture is one plain colour to the model: move the square, or lay what is "
            "transparent on another colour than white."
        )


def of_side(pixels: Tensor, size: int) -> Tensor:
    """uint8 images (n, 3, height, width) as squares (n, 3, size, size); themselves where they are."""
    if pixels.shape[-2:] == (size, size):
        return pixels
    resized = torch.empty(*pixels.shape[:-2], size, size, dtype=torch.uint8)
    for part, to in zip(pixels.split(256), resized.split(256), strict=True):
        large = functional.interpolate(part.float(), (size, size), mode="bicubic", antialias=True)
        to.copy_(large.round().clamp(0, 255))
    return resized


def to_unit(pixels: Tensor, device: torch.device | None = None) -> Tensor:
    """uint8 pixels of any shape as floats in [0, 1], on a device (theirs when not given)."""
    return pixels.to(device) / 255.0


def to_pil(pixels: Tensor) -> Image.Image:
    """uint8 (3, height, width) -> RGB image."""
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def central_square(image: Image.Image) -> Box:
    """The largest square in the middle of the image."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return (left, top, left + side, top + side)


def _read_bytes(path: Path) -> bytes:
    try:
        # One byte more than allowed tells a file that is too large without reading all of it.
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ImageError(f"There is no image file named {path.name}.") from error
    except OSError as error:
        raise ImageError(f"The image file {path.name} cannot be read.") from error


def _from_array(array: np.ndarray) -> Image.Image:
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not shaped or 0 in array.shape:
        raise ImageError(
            "image array: expected uint8 (height, width), (height, width, 3) or (height, width, 4), "
            f"received {array.dtype} {array.shape}"
        )
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise ImageError(TOO_MANY_PIXELS)
    return Image.fromarray(array)
