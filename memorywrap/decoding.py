"""From the bytes of an image file to upright RGB pixels. Without torch: the page does this in small processes."""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
from PIL import Image, ImageCms, ImageOps

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 25_000_000
TOO_MANY_PIXELS = "The image has over 25 megapixels: please make it smaller first."

# Pillow knows more, but some of them run other programs (EPS) or decode before their size is known
# (ICO).
_FORMATS = ["PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM"]
with contextlib.suppress(ImportError):  # the photographs of iPhones, where the package is there
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
    _FORMATS.append("HEIF")

_PROFILE = 4_000_000  # bytes of a colour profile
_EXIF = 128 * 1024  # bytes in which the orientation is looked for; a JPEG has room for half of them
# Integers of more than 8 bits are of as many as their largest needs; a PNG's are always of 16.
_BITS = (8, 10, 12, 14, 16)


class ImageError(ValueError):
    """An input that cannot be used as an image; the message is one sentence for its owner."""


def decoded(data: bytes) -> Image.Image:
    """The upright RGB image in the bytes of a file.

    Raises:
        ImageError: not an image, truncated, over 10 MB or over 25 megapixels.
    """
    return loaded(opened(data))


def opened(data: bytes) -> Image.Image:
    """The image in the bytes of a file, of which only the head has been read.

    Raises:
        ImageError: not an image, over 10 MB or over 25 megapixels.
    """
    if len(data) > MAX_BYTES:
        raise ImageError("The file is over 10 MB: please upload a smaller one.")
    if not data:
        raise ImageError("The file is empty: please choose another one.")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images on opening; check_pixels refuses them in our words.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except MemoryError:  # which says nothing of the file
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(TOO_MANY_PIXELS) from error
    except Exception as error:  # Pillow's parsers raise many kinds on hostile input
        raise ImageError(_unreadable(data)) from error
    check_pixels(image)
    return image


def loaded(image: Image.Image) -> Image.Image:
    """An opened image, upright and RGB.

    Raises:
        ImageError: truncated.
    """
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(
            "The image file is damaged or incomplete: please save it again."
        ) from error
    return upright_rgb(image)


def check_pixels(image: Image.Image) -> None:
    """Raises ImageError for an image of too many pixels, or of none."""
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(TOO_MANY_PIXELS)
    if image.width == 0 or image.height == 0:
        raise ImageError("The image has no pixels: please choose another one.")


def upright_rgb(image: Image.Image) -> Image.Image:
    """The image as `memorywrap.images.read_image` gives it."""
    profile, transparent = image.info.get("icc_profile"), image.info.get("transparency")
    is_png = image.format == "PNG"
    if len(image.info.get("exif") or b"") > _EXIF:  # reading takes time as the square of its size
        del image.info["exif"]
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF must not cost the person the picture
        image = image.copy()
    if image.mode.startswith(("I", "F")):
        image = _to_8_bit(image, 16 if is_png else 0, transparent)
    elif profile:
        image = _in_srgb(image, profile)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    on_white = Image.new("RGB", image.size, (255, 255, 255))
    on_white.paste(image, mask=image.getchannel("A"))
    return on_white


def _unreadable(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return "This HEIC photograph cannot be read here: please save it as a JPEG."
    return "The file is not an image that can be read: try a PNG or JPEG."


def _to_8_bit(image: Image.Image, bits: int, transparent: object) -> Image.Image:
    """Grey of more than 8 bits, or of numbers: integers keep the scale of so many bits (0: of as many as
    they need), numbers from 0 to 1 or to 255 theirs, and others are stretched. Where a value is
    transparent it is white."""
    values = np.nan_to_num(np.asarray(image).astype(np.float32), copy=False)
    low, high = float(values.min()), float(values.max())
    gone = values == transparent if isinstance(transparent, int) else None
    if image.mode.startswith("I") and low >= 0 and high < 2**16:
        bits = bits or next(bits for bits in _BITS if high < 2**bits)
        values *= 255 / (2**bits - 1)
    elif low >= 0 and high <= 1:
        values *= 255
    elif low < 0 or high > 255:
        values -= low
        values *= 255 / (high - low) if high > low else 0
        values += 255 if high == low else 0
    if gone is not None:
        values[gone] = 255
    return Image.fromarray(values.round(out=values).astype(np.uint8))


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """With the colours that its profile means; as it is where that makes no sense."""
    if image.mode not in ("RGB", "RGBA", "CMYK", "L") or len(profile) > _PROFILE:
        return image
    try:
        meant = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(meant).lower():
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        found = ImageCms.profileToProfile(
            image, meant, ImageCms.createProfile("sRGB"), outputMode=mode
        )
    except Exception:  # a damaged one, or one for another kind of picture
        return image
    return image if found is None else found
