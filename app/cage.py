"""Foreign files are decoded in processes of their own, with little memory and time, that can be spared.

A picture may be made to take minutes, all of the memory, or to show what lay in it before. In these
processes lies nothing but pictures, what they allocate is filled with zeros first, and one that takes too
much is ended and replaced; the page's own process never parses what a stranger made.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import struct
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

from app.lanes import Busy
from memorywrap.decoding import MAX_PIXELS, ImageError

_ROOT = Path(__file__).parent.parent
_PROCESSES = 4  # more than there may be cores: what takes long must not hold up what does not
# Seconds by the clock for one file, where the processor's time does not run out, and for a free process.
_PATIENCE, _WAIT = 15.0, 30.0
_SENTENCE = 1000  # bytes of a refusal, at most
_TOO_MUCH = (
    "The picture takes too much time or memory to open: please save it anew as a PNG or JPEG."
)

# Nothing of the page's own environment; what malloc() gives is zero, on Linux, or marked, on macOS.
_ENVIRONMENT = {
    "MALLOC_PERTURB_": "255",
    "MallocPreScribble": "1",
    # What a picture took is kept for the next one: to ask the system for it anew takes longer than to decode.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),  # the most that glibc allows
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    **{name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ},
}


class Cage:
    """Some decoding processes, begun when they are needed; thread-safe. They end with this one."""

    def __init__(self, processes: int = _PROCESSES):
        self._free: queue.LifoQueue[_Decoder | None] = queue.LifoQueue()
        for _ in range(processes):
            self._free.put(None)  # one that is still to be begun

    def decoded(self, data: bytes) -> Image.Image:
        """The upright RGB image in the bytes of a file, as `memorywrap.decoding.decoded` gives it.

        Raises:
            ImageError: as there, or a file that takes too much.
            Busy: no process was free for half a minute.
            OSError: no process can be started, whatever the file.
        """
        try:
            decoder = self._free.get(timeout=_WAIT)
        except queue.Empty:
            raise Busy(5) from None
        if decoder is None or decoder.has_ended():
            try:
                decoder = _Decoder()
            except BaseException:
                self._free.put(None)
                raise
        try:
            return decoder.decoded(data)
        except ImageError:
            raise
        except BaseException as error:
            # Its answer may still be in the pipe, and be read as that to the next picture.
            decoder.end()
            decoder = None
            if not isinstance(error, Exception):
                raise
            raise ImageError(_TOO_MUCH) from None
        finally:
            self._free.put(decoder)


class _Decoder:
    """One process.

    Raises:
        OSError: it does not start.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app.decoder"],
            cwd=_ROOT,
            env=_ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._read(1, time.monotonic() + _WAIT)  # it is ready
        except (EOFError, TimeoutError):
            self.end()
            code = self._process.returncode
            raise OSError(
                f"a process that decodes pictures did not start (exit code {code})"
            ) from None

    def decoded(self, data: bytes) -> Image.Image:
        """Raises EOFError where the process ended, and OSError where it takes too long or is gone."""
        assert self._process.stdin is not None
        limit = time.monotonic() + _PATIENCE
        # The process reads all of it before it answers.
        self._process.stdin.write(struct.pack(">Q", len(data)) + data)
        self._process.stdin.flush()
        if self._read(1, limit) == b"-":
            (length,) = struct.unpack(">I", self._read(4, limit))
            if length > _SENTENCE:
                raise EOFError
            raise ImageError(self._read(length, limit).decode())
        width, height = struct.unpack(">II", self._read(8, limit))
        if not 0 < width * height <= MAX_PIXELS:
            raise EOFError
        return Image.frombytes("RGB", (width, height), self._read(3 * width * height, limit))

    def _read(self, count: int, limit: float) -> bytearray:
        assert self._process.stdout is not None
        pipe, parts = self._process.stdout.fileno(), bytearray(count)
        ready = select.poll()  # select() knows no descriptor over 1023
        ready.register(pipe, select.POLLIN)
        at = 0
        while at < count:
            left = limit - time.monotonic()
            if left <= 0 or not ready.poll(1000 * left):
                raise TimeoutError
            read = os.readv(pipe, [memoryview(parts)[at:]])
            if not read:
                raise EOFError
            at += read
        return parts

    def has_ended(self) -> bool:
        """Whether it is gone, whoever ended it."""
        return self._process.poll() is not None

    def end(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


decoded = Cage().decoded  # in the processes of this page
