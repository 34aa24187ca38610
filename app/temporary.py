"""The folder of this process for what people send, and for what is made of it: nobody else's, and gone with it.

Gradio keeps uploads in one folder for all its pages, and deletes them at the end of a stop that an open
page prevents. So each process has a folder of its own that is deleted whole, by itself at every kind of
stop that it notices, and otherwise by the next one that starts. While it runs, what is old is deleted
whether Gradio knows of it or not, and the oldest where there is too much of it.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import logging
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_log = logging.getLogger(__name__)

# Seconds that an upload stays at least, and a session after its last event; and at most.
KEPT, AT_MOST = 3600, 7200

_PREFIX = "memory-wrap-"
_LOCK = ".in-use"  # held by the process that the folder belongs to
MOST_BYTES = 2_000_000_000  # of all that is kept
_EVERY = 20  # seconds between two looks
_BROKEN_OFF = 600  # seconds after which an upload that is not complete never will be


class OwnFolder:
    """A new folder, 0700, that Gradio and everybody else in this process keeps files in.

    It lies in $GRADIO_TEMP_DIR, or else in the system's folder for temporary files. Made before Gradio is
    imported, which reads its place from the environment.

    Args:
        seconds: how long a file is kept, at most.
        most: bytes of all files together: beyond that the oldest are deleted early.
    """

    def __init__(self, seconds: float = AT_MOST, most: int = MOST_BYTES):
        base = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()).resolve()
        base.mkdir(parents=True, exist_ok=True)
        _delete_abandoned(base)
        new = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=base))
        self._seconds, self._most = seconds, most
        self._lock = open(new / _LOCK, "w")  # noqa: SIM115
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = new.with_name(new.name[1:])  # seen by others once it is locked
        new.rename(self.path)
        os.environ["GRADIO_TEMP_DIR"] = tempfile.tempdir = str(self.path)
        self._closed = threading.Event()
        atexit.register(self.close)
        threading.Thread(target=self._keep_clean, daemon=True, name="keeps clean").start()

    def close(self) -> None:
        """Delete it, and go back to where it lies."""
        if self._closed.is_set():
            return
        self._closed.set()
        atexit.unregister(self.close)
        os.environ["GRADIO_TEMP_DIR"] = str(self.path.parent)
        tempfile.tempdir = None
        _delete(self.path)
        self._lock.close()

    def sweep(self) -> None:
        """Delete what is too old, uploads that broke off, empty folders and, where there is too much, the
        oldest."""
        now, kept = time.time(), []
        for path, state in _files(self.path):
            age = now - state.st_mtime
            broken_off = path.parent == self.path and path.name.startswith("tmp")
            if age > self._seconds or (broken_off and age > _BROKEN_OFF):
                path.unlink(missing_ok=True)
            else:
                kept.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total <= self._most:
                break
            path.unlink(missing_ok=True)
            total -= size
        for folder, _, _ in os.walk(self.path, topdown=False):
            with contextlib.suppress(OSError):  # not empty, or gone
                if folder != str(self.path) and now - os.stat(folder).st_mtime > _EVERY:
                    os.rmdir(folder)

    def _keep_clean(self) -> None:
        while not self._closed.wait(_EVERY):
            try:
                self.sweep()
            except OSError:
                _log.warning("could not sweep", exc_info=True)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            with contextlib.suppress(OSError):
                if name != _LOCK:
                    yield path, path.lstat()


def _delete_abandoned(base: Path) -> None:
    """What processes left that ended without a chance to delete it: nobody holds its lock. A folder that
    has no lock is none of theirs, whatever its name, and goes only where it is empty."""
    for folder in base.glob(f"{_PREFIX}*"):
        try:
            state = folder.lstat()
            is_ours = state.st_uid == os.getuid() and state.st_mode & 0o777 == 0o700
            if not is_ours or not stat.S_ISDIR(state.st_mode):
                continue
            with open(folder / _LOCK) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _delete(folder)
        except FileNotFoundError:
            with contextlib.suppress(OSError):
                folder.rmdir()
        except OSError:  # in use, or another user's
            continue


def _delete(folder: Path) -> None:
    """The lock last: while anything is left, the next start finds it by that."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != _LOCK:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == [_LOCK]:
            (folder / _LOCK).unlink()
            folder.rmdir()
