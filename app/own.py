"""What belongs to one visitor: pictures to teach with, and the model that was taught."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import weakref
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from app.lanes import NotNow
from app.models import Models
from app.shelf import LENT
from memorywrap import MemoryWrapClassifier
from memorywrap.encoders import Projected
from memorywrap.training.teaching import pretrained

MOST_CLASSES, LONGEST_NAME = 10, 40

_OF_ALL = 500_000_000  # bytes of the pictures of all visitors
_UNSAFE = re.compile(r'[%/\\:*?"<>|\x00-\x1f]|^\.|\.$')


class Album:
    """Small JPEG files, by the browser's numbers; gone with their owner.

    Args:
        most: files that are kept; the oldest give way.
    """

    _all: ClassVar[weakref.WeakSet[Album]] = weakref.WeakSet()

    def __init__(self, most: int):
        self._most = most
        self._files: dict[int, bytes] = {}
        self._all.add(self)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, number: object) -> bool:
        return type(number) is int and number in self._files

    def __getitem__(self, number: int) -> bytes:
        return self._files[number]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, list(self._files.values())))

    def put(self, number: int, file: bytes) -> None:
        """Keep a file.

        Raises:
            NotNow: those of all visitors are too many.
        """
        if sum(album.size for album in list(self._all)) + len(file) > _OF_ALL:
            raise NotNow("Many people are teaching right now: please try again in some minutes.")
        self._files[number] = file
        while len(self._files) > self._most:
            del self._files[next(iter(self._files))]

    def keep(self, numbers: set[int]) -> None:
        """Forget all others."""
        self._files = {number: file for number, file in self._files.items() if number in numbers}


class Lent:
    """A model among those of the page under a name that nobody can guess, for as long as this is kept.

    Args:
        models: those of the page.
        classifier: the visitor's own.
        pictures: the JPEG files that it was taught with, by class.
        folder: where it is written, to be saved by its owner.

    Attributes:
        name: what it is called there.
        file: a zip with its checkpoint folder, and the pictures in a folder for each class, which the page
            opens again.

    Raises:
        ModelError: too many are lent.
    """

    def __init__(
        self,
        models: Models,
        classifier: MemoryWrapClassifier,
        pictures: Mapping[str, Sequence[bytes]],
        folder: Path,
    ):
        _share_weights(classifier)
        self.name = f"{LENT}{secrets.token_hex(16)}"
        models.lend(self.name, classifier)
        weakref.finalize(self, models.take_back, self.name)
        own = folder / secrets.token_hex(32)  # nobody else finds it
        weakref.finalize(self, shutil.rmtree, own, ignore_errors=True)
        classifier.save_pretrained(own / "model")
        self.file = own / "my-model.zip"
        with zipfile.ZipFile(self.file, "w") as archive:
            for path in sorted((own / "model").rglob("*")):
                archive.write(path, path.relative_to(own))
            for name, files in pictures.items():
                # As a folder may be called anywhere.
                folder_name = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", name)
                for number, file in enumerate(files):
                    archive.writestr(f"pictures/{folder_name}/{number:03}.jpg", file)
        shutil.rmtree(own / "model")

    def touch(self) -> None:
        """It is in use: its file is not old yet."""
        with contextlib.suppress(OSError):
            os.utime(self.file)


def _share_weights(classifier: MemoryWrapClassifier) -> None:
    """Let a taught model read the one copy of its encoder's weights that there is: nobody trains it here."""
    encoder = classifier.encoder
    if isinstance(encoder, Projected):
        shared, _ = pretrained(classifier.config.encoder)
        encoder.encoder.load_state_dict(shared.state_dict(), assign=True)
