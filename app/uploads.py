"""What people send, kept at arm's length: which files may be read, and what is said otherwise.

Gradio hands over a path that an API client may choose, and fetches addresses that it finds in a
payload. Here a file is read only if it really lies in the upload folder, nothing is fetched, and no
message repeats a path.
"""

from __future__ import annotations

import functools
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from app.cage import decoded
from app.lanes import NotNow
from app.shelf import ModelError
from memorywrap.images import MAX_BYTES, Box, ImageError, check_inside

_log = logging.getLogger(__name__)
_Function = TypeVar("_Function", bound=Callable[..., Any])

_FAR = 10**9  # no picture is so large

NOT_AN_UPLOAD = "The image is not a file uploaded to this page: please upload it again."
_NO_ADDRESS = "Addresses are not fetched here: please upload the image file itself."
NOT_UNDERSTOOD = "The request is not understood: please see the API page for what to send."


class ArgumentError(ValueError):
    """An argument that is not understood; the message says which values are known."""


REFUSALS = (ImageError, ModelError, ArgumentError, NotNow)  # each one sentence for who asked


def sentence(message: object) -> gr.Error:
    """An error that shows one sentence to the person and no traceback anywhere."""
    return gr.Error(str(message), print_exception=False)


def speaks(function: _Function) -> _Function:
    """Turns refusals into one sentence, and anything unforeseen into a sentence and a log entry."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except gr.Error:
            raise
        except REFUSALS as error:
            raise sentence(error) from None
        except ValueError:  # may name what is the server's own business
            _log.exception("refused")
            raise sentence(NOT_UNDERSTOOD) from None
        except Exception:
            _log.exception("failed")
            raise sentence("Something went wrong on the server: please try again.") from None

    return wrapper  # type: ignore[return-value]


def uploaded_path(payload: Any) -> Path:
    """The uploaded file behind a file payload of Gradio.

    Raises:
        ImageError: no file, an address, or a file that was not uploaded.
    """
    if payload is None or payload == "" or payload == {}:
        raise ImageError("There is no image yet: please upload one.")
    if isinstance(payload, str) and "://" in payload:
        raise ImageError(_NO_ADDRESS)
    given = payload.get("path") if isinstance(payload, dict) else None
    if given is None and isinstance(payload, dict) and payload.get("url"):
        raise ImageError(_NO_ADDRESS)
    if not isinstance(given, str) or not given or "\0" in given:
        raise ImageError(NOT_AN_UPLOAD)
    if "://" in given or given.startswith("data:"):
        raise ImageError(_NO_ADDRESS)
    try:
        path = Path(given)
        # Resolved, so that neither ".." nor a link leads out; the file itself must not be a link.
        resolved = path.resolve(strict=True)
        is_file = stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, RuntimeError, ValueError) as error:
        raise ImageError(NOT_AN_UPLOAD) from error
    folder = Path(get_upload_folder()).resolve()
    if not is_file or not resolved.is_relative_to(folder):
        raise ImageError(NOT_AN_UPLOAD)
    return resolved


def read_upload(payload: Any) -> Image.Image:
    """The upright RGB image of a file payload, checked before it is decoded.

    Raises:
        ImageError: not uploaded, not an image, damaged or too large.
    """
    return read_file(uploaded_path(payload))


def read_file(path: Path) -> Image.Image:
    """The upright RGB image in a file, without naming it. A square that moves must not decode a photo
    each time, so the last few pictures stay decoded for a minute or two, which is less than their files
    live."""
    try:
        state = path.stat()
    except OSError as error:
        _DECODED.forget(path)
        raise ImageError("The image is no longer on the server: please upload it again.") from error
    if state.st_size > MAX_BYTES:
        raise ImageError("The file is over 10 MB: please upload a smaller one.")
    return _DECODED.get(path, (state.st_mtime_ns, state.st_size))


class _Decoded:
    """The last few pictures, until nobody has read them for a minute."""

    MOST = 4
    SECONDS = 60

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # path -> (version of the file, when it was read last, picture); the last read is the last
        self._kept: dict[Path, tuple[tuple[int, int], float, Image.Image]] = {}
        self._sweeper: threading.Timer | None = None

    def get(self, path: Path, version: tuple[int, int]) -> Image.Image:
        """The picture in a file of that version."""
        with self._lock:
            kept = self._kept.pop(path, None)
        if kept and kept[0] == version:
            image = kept[2]
        else:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise ImageError(NOT_AN_UPLOAD) from error
            image = decoded(data)
        with self._lock:
            self._kept[path] = (version, time.monotonic(), image)
            for oldest in list(self._kept)[: -self.MOST]:
                del self._kept[oldest]
            self._sweep_later()
        return image

    def forget(self, path: Path) -> None:
        """Its file is gone."""
        with self._lock:
            self._kept.pop(path, None)

    def _sweep_later(self) -> None:
        if self._sweeper is None:
            self._sweeper = threading.Timer(self.SECONDS, self._sweep)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep(self) -> None:
        """Drop what has not been read since the last time, as files are deleted behind our back."""
        with self._lock:
            self._sweeper = None
            since = time.monotonic() - self.SECONDS
            self._kept = {path: kept for path, kept in self._kept.items() if kept[1] > since}
            if self._kept:
                self._sweep_later()


_DECODED = _Decoded()


def checked_box(crop: Any, image: Image.Image) -> Box | None:
    """The crop of a request as a box inside the image; None stays None.

    Raises:
        ImageError: not four numbers, empty, or outside the image.
    """
    if crop is None or crop == "" or crop == []:
        return None
    expected = "The crop is expected as [left, top, right, bottom], or null for a suggestion."
    if not isinstance(crop, (list, tuple)) or len(crop) != 4:
        raise ImageError(expected)
    for value in crop:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not -_FAR < value < _FAR:  # also false where it is no number at all
            raise ImageError(expected)
    left, top, right, bottom = (round(value) for value in crop)
    if right <= left or bottom <= top:
        raise ImageError("The crop is empty: right has to be over left, and bottom over top.")
    check_inside((left, top, right, bottom), image)
    return (left, top, right, bottom)


def refuse_foreign_files(data: Any, depth: int = 0) -> None:
    """Every file in a payload must be an upload, wherever it hides and whatever it is meant for.

    Raises:
        ImageError: one is not.
    """
    if depth > 20:
        raise ImageError(NOT_UNDERSTOOD)
    if isinstance(data, dict):
        if "path" in data or "url" in data or "meta" in data:
            uploaded_path(data)
        for value in data.values():
            refuse_foreign_files(value, depth + 1)
    elif isinstance(data, (list, tuple)):
        for value in data:
            refuse_foreign_files(value, depth + 1)
