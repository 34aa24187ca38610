"""Files as they are read, and how long their pictures stay in memory."""

from __future__ import annotations

import gc
import weakref

import pytest
import tiny
from PIL import Image

from app import uploads
from memorywrap.images import ImageError


@pytest.fixture(autouse=True)
def nothing_decoded():
    uploads._DECODED._kept.clear()
    uploads._DECODED._sweeper = None


@pytest.fixture
def photo(tmp_path):
    tiny.picture().save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_picture_is_decoded_once_while_its_file_stays_the_same(photo):
    first = uploads.read_file(photo)
    assert uploads.read_file(photo) is first
    Image.new("RGB", (50, 40), "red").save(photo)
    assert uploads.read_file(photo).size == (50, 40)


def test_a_decoded_picture_does_not_outlive_its_file(photo):
    picture = weakref.ref(uploads.read_file(photo))
    assert picture() is not None
    photo.unlink()
    with pytest.raises(ImageError, match="no longer on the server"):
        uploads.read_file(photo)
    gc.collect()
    assert picture() is None


def test_a_decoded_picture_that_nobody_reads_is_forgotten(photo, monkeypatch):
    now, timers = [1000.0], []

    class Timer:
        def __init__(self, seconds, function):
            timers.append((seconds, function))

        def start(self):
            pass

    monkeypatch.setattr("app.uploads.threading.Timer", Timer)
    monkeypatch.setattr("app.uploads.time.monotonic", lambda: now[0])
    picture = weakref.ref(uploads.read_file(photo))
    now[0] += 40
    uploads.read_file(photo)
    ((seconds, sweep),) = timers  # one for all
    now[0] += 20
    sweep()
    assert seconds == 60 and picture() is not None  # read 20 seconds ago
    now[0] += 60
    timers[1][1]()
    gc.collect()
    assert picture() is None and len(timers) == 2


def test_only_the_last_few_pictures_stay_decoded(tmp_path):
    for number in range(6):
        tiny.picture(number).save(tmp_path / f"{number}.png")
        uploads.read_file(tmp_path / f"{number}.png")
    assert [path.name for path in uploads._DECODED._kept] == ["2.png", "3.png", "4.png", "5.png"]
