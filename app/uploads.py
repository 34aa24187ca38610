"""What people send, kept at arm's length: which files may be read, and what is said otherwise.

Gradio hands over a path that an API client may choose, and fetches addresses that it finds in a
payload. Here a file is read only if it really lies in the upload folder, nothing is fetched, and no
message repeats a path.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from app.models import ModelError
from memorywrap.images import MAX_BYTES, Box, ImageError, read_image

_log = logging.getLogger(__name__)
_Function = TypeVar("_Function", bound=Callable[..., Any])

_FAR = 10**9  # no picture is so large

NOT_AN_UPLOAD = "The image is not a file uploaded to this page: please upload it again."
_NO_ADDRESS = "Addresses are not fetched here: please upload the image file itself."
_NOT_UNDERSTOOD = "The request is not understood: please see the API page for what to send."
# What an explanation takes on two cores, for a guess at the wait when the queue is full.
_SECONDS_EACH = 1.5


class ArgumentError(ValueError):
    """An argument that is not understood; the message says which values are known."""


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
        except (ImageError, ModelError, ArgumentError) as error:
            raise sentence(error) from None
        except ValueError:  # may name what is the server's own business
            _log.exception("refused")
            raise sentence(_NOT_UNDERSTOOD) from None
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
    """`read_image` without naming the file, keeping the last few pictures decoded."""
    try:
        state = path.stat()
    except OSError as error:
        raise ImageError("The image is no longer on the server: please upload it again.") from error
    if state.st_size > MAX_BYTES:
        raise ImageError("The file is over 10 MB: please upload a smaller one.")
    return _read(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=4)  # a crop square that moves must not decode a photo each time
def _read(path: Path, changed: int, size: int) -> Image.Image:
    try:
        return read_image(path.read_bytes())
    except OSError as error:
        raise ImageError(NOT_AN_UPLOAD) from error


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
    if left < 0 or top < 0 or right > image.width or bottom > image.height:
        raise ImageError(
            f"The crop lies outside the image, which is {image.width} x {image.height} pixels."
        )
    return (left, top, right, bottom)


class GuardedBlocks(gr.Blocks):
    """gr.Blocks that refuses hostile file payloads before Gradio moves or fetches anything."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any):
        try:
            _refuse_foreign_files(inputs)
            # Arguments left out at the end take their defaults, for plain HTTP as for clients.
            missing = block_fn.inputs[len(inputs) :] if block_fn.api_visibility == "public" else []
            inputs = [*inputs, *(block.value for block in missing)]
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except gr.Error:
            raise
        except ImageError as error:
            raise sentence(error) from None
        except Exception:
            _log.info("request not understood", exc_info=True)
            raise sentence(_NOT_UNDERSTOOD) from None

    def queue(self, *args: Any, **kwargs: Any) -> GuardedBlocks:
        """As of `gr.Blocks`; who finds the queue full is told so in a sentence."""
        super().queue(*args, **kwargs)
        waiting = self._queue
        push = waiting.push

        async def push_with_a_sentence(*push_args: Any, **push_kwargs: Any):
            success, answer, state = await push(*push_args, **push_kwargs)
            if state == "queue_full":
                wait = max(1, math.ceil(len(waiting) * _SECONDS_EACH / 10)) * 10
                answer = f"Many people are asking right now: please try again in {wait} seconds."
            return success, answer, state

        waiting.push = push_with_a_sentence
        return self


def _refuse_foreign_files(data: Any, depth: int = 0) -> None:
    """Every file in a payload must be an upload, wherever it hides and whatever it is meant for."""
    if depth > 20:
        raise ImageError(_NOT_UNDERSTOOD)
    if isinstance(data, dict):
        if "path" in data or "url" in data or "meta" in data:
            uploaded_path(data)
        for value in data.values():
            _refuse_foreign_files(value, depth + 1)
    elif isinstance(data, (list, tuple)):
        for value in data:
            _refuse_foreign_files(value, depth + 1)
