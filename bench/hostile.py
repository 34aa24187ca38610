"""Bad pictures, made to stop a server or to make it say what it should not: the same for the same seed.

Each kind knows the structure of what it breaks: lengths of chunks, repeated headers, many frames, sizes that
lie, tables that share their data, two formats in one file, and names that are no names.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from PIL import Image, TiffImagePlugin

_MOST = 4_000_000  # bytes of a file
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "ICO", "TGA", "JPEG2000")
_NAMES = (
    "../../etc/passwd", "a\nb.png", "picture\u202egnp.exe", "x" * 300 + ".png", "nul", ".", "a/b\\c.png",
    "\0.png", "<script>.png", "%2e%2e%2fa.png", "name;x=1.png", '"quoted".png', "no ending", "a.png.svg",
)  # fmt: skip


class Hostile(NamedTuple):
    """A file: what kind of trap it is, the name it goes by, and its bytes."""

    kind: str
    name: str
    data: bytes


def files(count: int, seed: int = 0) -> Iterator[Hostile]:
    """So many files, of all kinds in turn.

    Args:
        count: how many.
        seed: of the chance that makes them.
    """
    kinds = list(KINDS)
    for number in range(count):
        chance = random.Random(f"{seed} {number}")
        kind = kinds[number % len(kinds)]
        name = chance.choice(_NAMES) if number % 3 == 0 else "picture.png"
        yield Hostile(kind, name, KINDS[kind](chance)[:_MOST])


def picture(chance: random.Random, format: str | None = None) -> bytes:
    """An ordinary small picture, in a format of chance."""
    format = format or chance.choice(_FORMATS)
    mode = chance.choice(["RGB", "L", "P", "RGBA", "1", "LA", "I;16", "CMYK"])
    size = (chance.randint(1, 60), chance.randint(1, 60))
    image = Image.frombytes("RGB", size, chance.randbytes(3 * size[0] * size[1]))
    file = io.BytesIO()
    options = {"compression": chance.choice(_PACKED)} if format == "TIFF" else {}
    try:
        image.convert(mode).save(file, format, **options)
    except (OSError, ValueError, KeyError):  # this format has no such mode
        file = io.BytesIO()
        image.save(file, format)
    return file.getvalue()


_PACKED = ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate")


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*extra: bytes, width: int = 8, height: int = 8, rows: bytes | None = None) -> bytes:
    """A PNG of RGB rows with more chunks before them; its size need not be true."""
    rows = b"".join(b"\0" + bytes(24) for _ in range(8)) if rows is None else rows
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + end


def _truncated(chance: random.Random) -> bytes:
    data = picture(chance)
    return data[: chance.randrange(len(data) + 1)]


def _flipped(chance: random.Random) -> bytes:
    data = bytearray(picture(chance))
    for _ in range(chance.choice([1, 2, 5, 20])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _overwritten(chance: random.Random) -> bytes:
    data = bytearray(picture(chance))
    # The first bytes hold sizes and counts.
    at = chance.randrange(min(len(data), chance.choice([32, 128, 10**6])))
    with_what = chance.choice([b"\xff", b"\0", b"\x7f", b"\x80", chance.randbytes(1)])
    length = chance.choice([1, 2, 4, 8])
    data[at : at + length] = with_what * len(data[at : at + length])
    return bytes(data)


def _lengths(chance: random.Random) -> bytes:
    data = bytearray(picture(chance, "PNG"))
    starts, at = [], 8
    while at + 8 <= len(data):
        starts.append(at)
        at += 12 + struct.unpack(">I", data[at : at + 4])[0]
    length = chance.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, chance.randrange(10**6)])
    data[(at := chance.choice(starts)) : at + 4] = struct.pack(">I", length)
    return bytes(data)


def _repeated(chance: random.Random) -> bytes:
    one = chance.choice([
        chunk(b"tEXt", b"a\0b"), chunk(b"eXIf", b"Exif\0\0"), chunk(b"PLTE", bytes(768)),
        chunk(b"gAMA", bytes(4)), chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(3000))),
        chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0)), chunk(b"zzZz", b""),
    ])  # fmt: skip
    return png(one * chance.choice([2, 100, 5000]))


def _segments(chance: random.Random) -> bytes:
    data = picture(chance, "JPEG")
    kind = chance.choice([0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xDB, 0xC4, 0xFE, 0xDD, 0xDA])
    inside = chance.choice([b"Exif\0\0", b"ICC_PROFILE\0\1\1", b"Adobe\0", b"MPF\0", b""])
    one = bytes([0xFF, kind]) + struct.pack(">H", 2 + len(inside)) + inside
    return data[:2] + one * chance.choice([1, 50, 20_000]) + data[2:]


def _exif_loop(chance: random.Random) -> bytes:
    exif = b"Exif\0\0" * chance.choice([1, 100, 20_000, 600_000])
    return png(chunk(b"eXIf", exif))


def _comments(chance: random.Random) -> bytes:
    many = b"\x21\xfe" + b"\1a" * chance.choice([10, 10_000, 1_500_000]) + b"\0"
    head = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6)
    return head + many + b"\x2c" + struct.pack("<HHHHB", 0, 0, 8, 8, 0) + b"\2\2\x4c\1\0;"


def _frames(chance: random.Random) -> bytes:
    count = chance.choice([2, 100, 3000])
    head = b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0x80, 0, 0) + bytes(6)
    return head + (b"\x2c" + struct.pack("<HHHHB", 0, 0, 8, 8, 0) + b"\2\2\x4c\1\0") * count + b";"


def _delta(chance: random.Random) -> bytes:
    width = chance.choice([1000, 10**6, 10**7, 2**31 - 1])
    height, body = chance.choice([1, 1, 10_000]), b"\0\2\xff\xff" * chance.choice([1, 9]) + b"\0\1"
    table = b"".join(bytes((i, i, i, 0)) for i in range(256))
    start = 14 + 40 + len(table)
    return (
        b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0) + table + body
    )  # fmt: skip


def shared_tags(count: int, size: int) -> bytes:
    """A TIFF whose tags all point at the same bytes."""
    base = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
            (277, 3, 1, 1), (278, 4, 1, 8), (279, 4, 1, 64)]  # fmt: skip
    at = 8 + 2 + 12 * (len(base) + 1 + count) + 4
    entries = sorted([*base, (273, 4, 1, at), *((40_000 + i, 7, size, at) for i in range(count))])
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4 + size)


def _shared(chance: random.Random) -> bytes:
    tiff = shared_tags(chance.choice([10, 1000, 4000]), chance.choice([1000, 1_000_000]))
    return chance.choice([tiff, png(chunk(b"eXIf", tiff))])


def short_strip(rows: int, compressed: bool = True) -> bytes:
    """A TIFF that says it has more rows than its data fills, if only by 8."""
    file, tags = io.BytesIO(), TiffImagePlugin.ImageFileDirectory_v2()
    if compressed:
        Image.new("L", (256, 8), 200).save(file, "JPEG")
    else:
        file.write(bytes(256 * 8))
    data = file.getvalue()
    what = ((256, 256), (257, rows), (258, 8), (259, 7 if compressed else 1), (262, 1), (322, 256),
            (323, rows), (324, 0), (325, len(data)))  # fmt: skip
    for tag, value in what:
        tags[tag] = value
    tags[324] = 8 + len(tags.tobytes(8))
    return b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8) + data


def _short(chance: random.Random) -> bytes:
    return short_strip(chance.choice([16, 256, 4096, 16_000]), chance.random() < 0.7)


def _bomb(chance: random.Random) -> bytes:
    width, height = chance.choice([(60_000, 60_000), (1, 100_000), (100_000, 1), (2**31 - 1, 1),
                                   (5000, 5000), (25_000, 1000), (0, 8), (65_535, 65_535)])  # fmt: skip
    kind = chance.choice(["png", "gif", "ppm", "jpeg", "text", "full", "bmp"])
    if kind == "gif":
        size = struct.pack("<HH", min(width, 65_535), min(height, 65_535))
        return (
            b"GIF89a" + size + b"\x80\0\0" + bytes(6) + b"\x2c\0\0\0\0" + size + b"\0\2\2\x4c\1\0;"
        )
    if kind == "ppm":
        return b"P6 %d %d 255\n" % (width, height) + bytes(3000)
    if kind == "jpeg":
        data = bytearray(picture(chance, "JPEG"))
        at = data.find(b"\xff\xc0")
        sides = (min(height, 65_535), min(width, 65_535))
        data[at + 5 : at + 9] = struct.pack(">HH", *sides)
        return bytes(data)
    if kind == "text":
        packed = zlib.compress(bytes(chance.choice([10**6, 10**8])))
        return png(chunk(chance.choice([b"zTXt", b"iCCP"]), b"a\0\0" + packed))
    if kind == "bmp":
        head = struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 24, 0, 0, 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head + bytes(300)
    if kind == "full" and width * height <= 25_000_000:  # as large as is allowed, and whole
        return png(width=width, height=height, rows=(b"\0" + bytes(3 * width)) * height)
    return png(width=width, height=height)


def _polyglot(chance: random.Random) -> bytes:
    first, second = picture(chance), picture(chance)
    return chance.choice([
        first + second, first[: len(first) // 2] + second, second[:16] + first,
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>" + first,
        b"%PDF-1.4\n" + first, b"<html><script>1</script>" + first, first + b"PK\3\4" + bytes(30),
    ])  # fmt: skip


def _other(chance: random.Random) -> bytes:
    return chance.choice([
        b"", b"\0", chance.randbytes(chance.choice([3, 100, 100_000])), b"II*\0" + b"\xff" * 60,
        b"P7\nWIDTH 9\nHEIGHT 9\n", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
        b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><svg>&b;</svg>",
        b"RIFF\xff\xff\xff\x7fWEBPVP8X" + bytes(40), b"8BPS\0\1" + bytes(40), b"icns" + b"\xff" * 20,
        b"\0\0\0\x1cftypheic" + bytes(400), b"\0\0\0\x18ftypavif" + b"\xff" * 300, b"DDS " + bytes(200),
    ])  # fmt: skip


# By name; each makes one file.
KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "cut short": _truncated,
    "flipped bits": _flipped,
    "overwritten bytes": _overwritten,
    "lengths that lie": _lengths,
    "repeated chunks": _repeated,
    "repeated segments": _segments,
    "EXIF in a loop": _exif_loop,
    "many comments": _comments,
    "many frames": _frames,
    "BMP that skips": _delta,
    "tags that share data": _shared,
    "strips that are short": _short,
    "sizes that lie": _bomb,
    "two formats in one": _polyglot,
    "no picture": _other,
}
