"""Foreign files are decoded where they can do no harm."""

from __future__ import annotations

import os
import resource
import signal
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL import TiffImagePlugin as Tiff
from tiny import encoded

from app import cage
from app.cage import Cage
from app.decoder import EXTRA
from app.lanes import Busy
from memorywrap.decoding import ImageError
from memorywrap.images import read_image

NOISE = Image.fromarray(np.random.default_rng(0).integers(1, 255, (300, 200, 3), dtype=np.uint8))


def png_with(chunk: bytes, data: bytes) -> bytes:
    """A small PNG with one chunk more."""
    plain = encoded(Image.new("RGB", (8, 8)))
    more = struct.pack(">I", len(data)) + chunk + data + struct.pack(">I", zlib.crc32(chunk + data))
    return plain[:33] + more + plain[33:]


def short_strip() -> bytes:
    """A TIFF whose only tile holds 8 of its 256 rows."""
    small = encoded(Image.new("L", (256, 8), 200), "JPEG")
    tags = Tiff.ImageFileDirectory_v2()
    for tag, value in (
        (256, 256), (257, 256), (258, 8), (259, 7), (262, 1), (322, 256), (323, 256), (324, 0), (325, len(small)),
    ):  # fmt: skip
        tags[tag] = value
    tags[324] = 8 + len(tags.tobytes(8))
    return b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8) + small


@pytest.fixture(scope="module")
def one() -> Cage:
    return Cage(1)


@pytest.mark.parametrize(
    ("format", "options"), [("PNG", {}), ("JPEG", {"quality": 90}), ("GIF", {})]
)
def test_a_picture_is_the_same_as_outside(one, format, options):
    data = encoded(NOISE, format, **options)
    assert np.array_equal(np.asarray(one.decoded(data)), np.asarray(read_image(data)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"no picture", "not an image"),
        (encoded(NOISE)[:-5000], "damaged"),
        (bytes(11 * 2**20), "over 10 MB"),
        (encoded(Image.new("1", (6000, 6000))), "over 25 megapixels"),
    ],
)
def test_what_is_refused_is_refused_in_the_same_words(one, data, message):
    with pytest.raises(ImageError, match=message) as outside:
        read_image(data)
    with pytest.raises(ImageError) as inside:
        one.decoded(data)
    assert str(inside.value) == str(outside.value)


@pytest.mark.slow
def test_a_picture_that_takes_too_long_is_ended_and_the_next_is_read(one):
    head = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6)
    comments = b"\x21\xfe" + b"\1a" * 4_000_000 + b"\0"  # each makes all before it be copied again
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 8, 8, 0) + b"\2\2\x4c\1\0;"
    endless = head + comments + frame
    start = time.monotonic()
    with pytest.raises(ImageError, match="too much time or memory"):
        one.decoded(endless)
    assert time.monotonic() - start < cage._PATIENCE
    assert one.decoded(encoded(NOISE)).size == NOISE.size


def test_exif_that_repeats_itself_costs_no_time(one):
    start = time.monotonic()
    assert one.decoded(png_with(b"eXIf", b"Exif\0\0" * 1_600_000)).mode == "RGB"
    assert time.monotonic() - start < cage._PATIENCE


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no limit of memory here")
def test_a_picture_that_takes_too_much_memory_is_ended_and_the_next_is_read(one):
    """A bitmap of a kilobyte that asks for gigabytes."""
    body = b"\0\2\xff\xff\0\1"
    data = b"BM" + struct.pack("<IHHI", 1078 + len(body), 0, 0, 1078)
    data += struct.pack("<IiiHHIIiiII", 40, 12_000_000, 1, 1, 8, 1, len(body), 0, 0, 256, 0)
    data += b"".join(bytes((i, i, i, 0)) for i in range(256)) + body
    with pytest.raises(ImageError):
        one.decoded(data)
    assert one.decoded(encoded(NOISE)).size == NOISE.size
    process = one._free.queue[0]._process
    with open(f"/proc/{process.pid}/status") as file:
        (peak,) = (int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    assert peak * 1024 < EXTRA + 200 * 2**20


def test_nothing_of_the_pictures_before_is_seen(one):
    """What a damaged file does not fill is black."""
    seen = set()
    for _ in range(5):
        one.decoded(encoded(NOISE.resize((256, 256))))
        seen |= set(np.unique(np.asarray(one.decoded(short_strip()))))
    assert seen == {0, 200}


def test_a_process_that_is_killed_is_replaced(one):
    one.decoded(encoded(NOISE))
    process = one._free.queue[0]._process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert one.decoded(encoded(NOISE)).size == NOISE.size


def test_many_ask_at_once_and_who_waits_too_long_is_told(monkeypatch):
    two, sizes = Cage(2), []

    def ask(side: int) -> None:
        sizes.append((side, two.decoded(encoded(Image.new("RGB", (side, side)))).size))

    threads = [threading.Thread(target=ask, args=(side,)) for side in range(1, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sizes) == [(side, (side, side)) for side in range(1, 13)]
    monkeypatch.setattr(cage, "_WAIT", 0.01)
    with pytest.raises(Busy, match="try again"):
        Cage(0).decoded(encoded(NOISE))


def test_its_processes_know_nothing_of_this_one_s_environment(monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    mine = Cage(1)
    mine.decoded(encoded(NOISE))
    environment = f"/proc/{mine._free.queue[0]._process.pid}/environ"
    if not os.path.exists(environment):
        pytest.skip("no /proc here")
    with open(environment, "rb") as file:
        assert b"SECRET" not in file.read()


def test_with_thousands_of_open_files_pictures_are_read_as_before():
    """select() knows no descriptor over 1023."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most < 1200:
        pytest.skip("so many may not be open here")
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert Cage(1).decoded(encoded(NOISE)).size == NOISE.size
    finally:
        for number in held:
            os.close(number)


def test_an_answer_that_was_not_read_is_read_by_nobody_else(monkeypatch):
    mine = Cage(1)
    mine.decoded(encoded(NOISE))
    frombytes, asked = Image.frombytes, []

    def fails(*given):
        asked.append(given)
        if len(asked) == 1:
            raise MemoryError
        return frombytes(*given)

    monkeypatch.setattr(cage.Image, "frombytes", fails)
    with pytest.raises(ImageError):
        mine.decoded(encoded(NOISE))
    other = Image.new("RGB", (20, 10), "red")
    assert mine.decoded(encoded(other)).size == other.size


def test_a_process_that_does_not_start_is_no_fault_of_the_picture(monkeypatch):
    monkeypatch.setattr(cage.sys, "executable", "/bin/false")
    cage_of_one = cage.Cage(1)
    for _ in range(2):  # its place is free again
        with pytest.raises(OSError, match="did not start"):
            cage_of_one.decoded(b"any")
    monkeypatch.undo()
    with pytest.raises(ImageError, match="not an image"):
        cage_of_one.decoded(b"any")
