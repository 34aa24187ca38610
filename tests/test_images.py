"""Whatever people upload: every kind of picture is read upright in RGB, or refused in one sentence."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import encoded

from memorywrap.images import (
    MAX_BYTES,
    ImageError,
    central_square,
    of_side,
    read_image,
    refuse_plain,
    to_input,
    to_pil,
)

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def two_halves(size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, size[0], size[1]))
    return image


def near(
    image: Image.Image, at: tuple[int, int], colour: tuple[int, int, int], by: int = 3
) -> bool:
    return max(abs(a - b) for a, b in zip(image.getpixel(at), colour, strict=True)) <= by


# --- kinds of pictures ---


@pytest.mark.parametrize(
    ("orientation", "size", "red"),
    [
        (1, (40, 20), (2, 10)),
        (2, (40, 20), (37, 10)),  # mirrored
        (3, (40, 20), (37, 10)),  # upside down
        (6, (20, 40), (10, 2)),  # a quarter turn
        (8, (20, 40), (10, 37)),  # a quarter turn the other way
    ],
)
def test_a_photo_is_turned_upright_as_its_camera_says(orientation, size, red):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(encoded(two_halves(), "PNG", exif=exif))
    assert image.size == size and near(image, red, RED)


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*", b"Exif\0\0XX\0*\0\0\0\x08"])
def test_damaged_exif_does_not_cost_the_picture(exif):
    image = read_image(encoded(two_halves(), "PNG", exif=exif))
    assert image.size == (40, 20) and near(image, (5, 10), RED)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa"])
def test_what_is_transparent_is_white(mode):
    image = Image.new("LA", (8, 8), (0, 0))
    image.paste((0, 255), (0, 0, 4, 8))
    read = read_image(image if mode == "LA" else image.convert("RGBA").convert(mode))
    assert near(read, (1, 4), (0, 0, 0)) and near(read, (6, 4), WHITE)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_transparency_of_files(format):
    assert near(read_image(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), format)), (4, 4), WHITE)


def test_half_transparent_is_half_white():
    assert near(read_image(Image.new("RGBA", (2, 2), (0, 0, 0, 128))), (0, 0), (127, 127, 127))


def test_a_palette_with_and_without_transparency():
    image = two_halves().convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    assert near(read_image(encoded(image)), (5, 10), RED)
    clear = image.getpixel((5, 10))
    assert near(read_image(encoded(image, transparency=clear)), (5, 10), WHITE)
    assert near(read_image(encoded(image, "GIF")), (35, 10), BLUE)


def test_sixteen_bits_keep_their_scale():
    values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    read = read_image(encoded(Image.fromarray(values)))
    assert [read.getpixel((x, 0))[0] for x in range(3)] == [0, 100, 255]
    tiff = read_image(encoded(Image.fromarray(values), "TIFF"))
    assert np.array_equal(np.asarray(tiff), np.asarray(read))


@pytest.mark.parametrize(("bits", "format"), [(10, "TIFF"), (12, "TIFF"), (14, "TIFF")])
def test_sixteen_bits_of_a_camera_that_has_fewer_are_not_black(bits, format):
    values = np.array([[0, 2 ** (bits - 1), 2**bits - 1]], dtype=np.uint16)
    read = read_image(encoded(Image.fromarray(values), format))
    assert [read.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_a_dark_png_of_sixteen_bits_is_dark():
    values = np.array([[0, 260, 4095]], dtype=np.uint16)
    read = read_image(encoded(Image.fromarray(values)))
    assert [read.getpixel((x, 0))[0] for x in range(3)] == [0, 1, 16]


def test_a_transparent_grey_of_sixteen_bits_is_white():
    values = np.array([[0, 1, 65535]], dtype=np.uint16)
    read = read_image(encoded(Image.fromarray(values), transparency=0))
    assert [read.getpixel((x, 0))[0] for x in range(3)] == [255, 0, 255]


def test_floating_point_grey_from_0_to_1_is_not_black():
    values = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    read = read_image(encoded(Image.fromarray(values), "TIFF"))
    assert [read.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def profile(*primaries: tuple[float, float, float]) -> bytes:
    """A colour profile of three primaries, as XYZ, whose values are linear in light."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(65536 * value)) for value in values)

    white = fixed(0.9642, 1, 0.8249)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"mine\0" + bytes(78)
    linear = b"curv" + bytes(8)
    tags = {
        b"desc": text,
        b"cprt": b"text" + bytes(4) + b"none\0\0\0\0",
        b"wtpt": b"XYZ " + bytes(4) + white,
    }
    for colour, primary in zip(b"rgb", primaries, strict=True):
        tags[bytes([colour]) + b"XYZ"] = b"XYZ " + bytes(4) + fixed(*primary)
        tags[bytes([colour]) + b"TRC"] = linear
    table, data, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", at + len(data), len(value))
        data += value
    header = b"\0\0\0\0lcms" + struct.pack(">I", 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    header += bytes(28) + white + bytes(48)
    size = struct.pack(">I", len(header) + len(table) + len(data))
    return size + header[4:] + table + data


SRGB = ((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_colour_profile_is_followed(mode):
    swapped = profile(SRGB[1], SRGB[0], SRGB[2])  # what it calls red is green
    image = Image.new(mode, (8, 8), (255, 0, 0))
    assert near(read_image(encoded(image, icc_profile=swapped)), (4, 4), (0, 255, 0), 3)
    middle = Image.new(mode, (8, 8), (55, 55, 55))  # linear light: half as bright as it looks
    assert near(read_image(encoded(middle, icc_profile=profile(*SRGB))), (4, 4), (128,) * 3, 3)


@pytest.mark.parametrize(
    "damaged", [b"nothing", profile(*SRGB)[:200], profile(*SRGB)[:128] + b"x" * 99]
)
def test_a_damaged_colour_profile_does_not_cost_the_picture(damaged):
    data = encoded(Image.new("RGB", (8, 8), RED), icc_profile=damaged)
    assert near(read_image(data), (4, 4), RED)


def test_the_photograph_of_an_iphone_is_read_or_named(monkeypatch):
    data = io.BytesIO()
    pytest.importorskip("pillow_heif").from_pillow(two_halves()).save(data, quality=95)
    assert near(read_image(data.getvalue()), (5, 10), RED, 12)
    monkeypatch.setattr("memorywrap.decoding._FORMATS", ["PNG", "JPEG"])  # without that package
    with pytest.raises(ImageError, match="HEIC photograph cannot be read here"):
        read_image(data.getvalue())


def test_floating_point_grey_is_stretched_and_survives_nan():
    values = np.array([[-1.0, 0.0, 1.0, np.nan]], dtype=np.float32)
    read = read_image(encoded(Image.fromarray(values), "TIFF"))
    assert [read.getpixel((x, 0))[0] for x in range(4)] == [0, 128, 255, 128]


def test_cmyk_is_the_colour_it_was():
    image = read_image(encoded(two_halves().convert("CMYK"), "JPEG", quality=95))
    assert near(image, (5, 10), RED, 8) and near(image, (35, 10), BLUE, 8)


@pytest.mark.parametrize(("mode", "value"), [("L", 90), ("1", 1)])
def test_grey_and_black_and_white(mode, value):
    grey = 255 if mode == "1" else value
    assert near(read_image(encoded(Image.new(mode, (4, 4), value))), (1, 1), (grey,) * 3)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_shows_its_first_frame(format):
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)
    data = encoded(first, format, save_all=True, append_images=[second])
    assert near(read_image(data), (4, 4), RED, 8)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_formats(format, tmp_path):
    path = tmp_path / "picture.without.a.known.ending"
    path.write_bytes(encoded(two_halves(), format))
    image = read_image(path)
    assert image.mode == "RGB" and near(image, (5, 10), RED, 12)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (33, 31)])
def test_any_size_and_shape_becomes_an_input(size):
    pixels = to_input(read_image(encoded(Image.new("RGB", size, BLUE))), 32)
    assert pixels.shape == (3, 32, 32) and near(to_pil(pixels), (16, 16), BLUE)


# --- what is refused ---


def refused(source: object) -> str:
    with pytest.raises(ImageError) as problem:
        read_image(source)  # type: ignore[arg-type]
    sentence = str(problem.value)
    assert sentence.count(". ") == 0 and "\n" not in sentence and len(sentence) < 160
    return sentence


def test_what_is_no_image(tmp_path):
    assert "not an image" in refused(b"this is text")
    assert "not an image" in refused(b"<svg xmlns='http://www.w3.org/2000/svg'></svg>")
    assert "empty" in refused(b"")
    assert "no image file named none.png" in refused(tmp_path / "none.png")
    assert "cannot be read" in refused(tmp_path)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
def test_a_truncated_file(format):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)
    sentence = refused(data[: len(data) // 2])
    assert "damaged" in sentence or "not an image" in sentence


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch):
    bomb = encoded(Image.new("1", (5001, 5000)))  # a few kB

    def decoded(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    assert "over 25 megapixels" in refused(bomb)


def test_a_claim_of_a_billion_pixels_is_refused_in_the_same_words():
    """Pillow's own limit speaks first there."""
    data = bytearray(encoded(Image.new("1", (8, 8))))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    assert "over 25 megapixels" in refused(bytes(data))


@pytest.mark.parametrize(
    "make",
    [lambda side: Image.new("1", (side, 5000)), lambda side: np.zeros((5000, side), np.uint8)],
)
def test_the_limit_of_pixels_holds_for_images_and_arrays(make: Callable[[int], object]):
    assert "over 25 megapixels" in refused(make(5001))


def test_over_ten_megabytes(tmp_path):
    (tmp_path / "large.png").write_bytes(encoded(two_halves()) + b"\0" * MAX_BYTES)
    assert "over 10 MB" in refused(tmp_path / "large.png")


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4), np.float32), np.zeros((0, 4), np.uint8)],
    ids=["two channels", "floats", "no pixels"],
)
def test_arrays_of_another_kind_show_expected_and_received(array):
    with pytest.raises(ImageError, match=r"expected uint8 .* received (uint8|float32) \("):
        read_image(array)


# --- the square that the model sees ---


def test_the_central_square():
    assert central_square(Image.new("RGB", (40, 20))) == (10, 0, 30, 20)
    assert central_square(Image.new("RGB", (20, 41))) == (0, 10, 20, 30)


def test_a_box_is_cut_out_exactly():
    pixels = to_input(two_halves((64, 32)), 32, (32, 0, 64, 32))
    assert (to_pil(pixels).getextrema()) == ((0, 0), (0, 0), (255, 255))


def test_a_box_over_the_edge_repeats_the_edge():
    pixels = to_pil(to_input(two_halves((32, 32)), 32, (16, -8, 48, 24)))
    assert pixels.getextrema() == ((0, 0), (0, 0), (255, 255))


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 5, 9)])
def test_an_empty_box_is_refused(box):
    with pytest.raises(ImageError, match="crop is empty"):
        to_input(two_halves(), 32, box)


def test_images_are_enlarged_to_the_side_of_an_encoder():
    images = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    images[1, :, :, 2:] = 255
    large = of_side(images, 16)
    assert large.shape == (3, 3, 16, 16) and large.dtype == torch.uint8
    assert large[0].max() == 0 and large[1, :, :, :6].max() < 20 < 235 < large[1, :, :, 10:].min()
    assert of_side(images, 4) is images


def test_pixels_go_through_unchanged():
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    assert np.array_equal(np.asarray(to_pil(to_input(image, 32))), np.asarray(image))


def test_formats_that_run_programs_or_decode_before_they_are_measured_are_refused():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    icon = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(icon, "ICO")
    for data in (postscript, icon.getvalue()):
        with pytest.raises(ImageError, match="not an image that can be read"):
            read_image(data)


def test_wide_integers_of_eight_bits_keep_their_scale(tmp_path):
    values = np.full((4, 4), 200, dtype=np.int32)
    Image.fromarray(values).save(tmp_path / "grey.tif")
    assert read_image(tmp_path / "grey.tif").getpixel((0, 0)) == (200, 200, 200)


def test_what_is_one_plain_colour_to_the_model_is_refused():
    strokes = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    strokes.paste((255, 255, 255, 255), (20, 10, 40, 50))  # white on nothing
    with pytest.raises(ImageError, match="one plain colour to the model"):
        refuse_plain(to_input(read_image(strokes), 32))
    almost = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    almost[1, 2, 3] += 2
    with pytest.raises(ImageError, match="one plain colour"):
        refuse_plain(almost)
    almost[1, 2, 3] += 1
    refuse_plain(almost)
    refuse_plain(torch.stack([almost[0] * 0, almost[1], almost[2] * 0]))
