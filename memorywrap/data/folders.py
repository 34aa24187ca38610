"""Image folders: FOLDER/{train,test}/CLASS/* or FOLDER/CLASS/*, read into one tensor per split."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from memorywrap.images import ImageError, read_image, to_input

SIZE = 32
# Of a folder that does not say which images are for testing: the same ones in every run.
TEST_SHARE, SPLIT_SEED = 0.2, 0
_NAMED = 5  # unreadable files are named up to so many, then counted

Cache = Callable[[str, Callable[[], dict[str, Tensor]]], dict[str, Tensor]]
Arrays = tuple[Tensor, Tensor]  # images uint8 (n, 3, 32, 32) and labels int64 (n,)

_log = logging.getLogger(__name__)


class DataError(ValueError):
    """A data set that cannot be used; the message says what is wrong and what to do."""


def read_folder(
    folder: Path, cached: Cache
) -> tuple[tuple[str, ...], Arrays, Arrays, dict[str, Any]]:
    """Class names, training images, test images and a version of an image folder.

    Args:
        folder: holds train/CLASS/* and test/CLASS/*, or CLASS/* alone, which is then split.
        cached: gives the tensors kept under a key, or makes and keeps them.

    Raises:
        DataError: missing folder, no images, fewer than two classes, an empty class, or test
            classes that differ from the training classes.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    parts = [folder / "train", folder / "test"]
    present = [part for part in parts if part.is_dir()]
    if len(present) == 2:
        classes, test_classes = (_classes(part) for part in present)
        _check_same(classes, test_classes)
        (train, kinds), (test, test_kinds) = (_read(part, classes, cached) for part in present)
        split = "train and test folders"
    else:
        alone = present[0] if present else folder
        classes = _classes(alone)
        arrays, kinds = _read(alone, classes, cached)
        train, test = _divided(arrays, classes)
        test_kinds, split = Counter(), f"{TEST_SHARE:.0%} for testing, seed {SPLIT_SEED}"
    digest = hashlib.sha256()
    for images, labels in (train, test):
        digest.update(images.numpy().tobytes())
        digest.update(labels.numpy().tobytes())
    version = {
        "format": "+".join(sorted((kinds + test_kinds).keys())),
        "split": split,
        "train": len(train[1]),
        "test": len(test[1]),
        "digest": digest.hexdigest()[:12],
    }
    return classes, train, test, version


def _classes(folder: Path) -> tuple[str, ...]:
    folders = (path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    classes = tuple(sorted(path.name for path in folders))
    if len(classes) < 2:
        found = f"only the class {classes[0]!r}" if classes else "none"
        raise DataError(f"{folder}: expected a folder of images per class, two at least; {found}")
    return classes


def _check_same(train: tuple[str, ...], test: tuple[str, ...]) -> None:
    for where, names in (("train", set(train) - set(test)), ("test", set(test) - set(train))):
        if names:
            raise DataError(
                f"train and test must have the same classes: only in {where}: "
                f"{', '.join(sorted(names))}"
            )


def _read(folder: Path, classes: tuple[str, ...], cached: Cache) -> tuple[Arrays, Counter[str]]:
    """Images and labels of one split, and how many files of each format there are."""
    files = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).iterdir())
        if path.is_file() and path.name[0] != "."
    ]
    stamp = hashlib.sha256()
    for path, label in files:
        status = path.stat()
        stamp.update(f"{label}|{path.absolute()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    tensors = cached(f"decoded/{stamp.hexdigest()[:16]}", lambda: _decoded(files, folder.name))
    labels, unread = tensors["labels"], tensors["unread"].tolist()
    if unread:
        names = ", ".join(str(files[index][0].relative_to(folder)) for index in unread[:_NAMED])
        more = f" and {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
        why = _why(files[unread[0]][0])
        _log.warning(
            "%s: skipped %d unreadable files: %s%s. %s", folder, len(unread), names, more, why
        )
    counts = labels.bincount(minlength=len(classes)).tolist()
    empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if empty:
        raise DataError(f"{folder}: no readable image in the class {', '.join(empty)}")
    kinds = Counter(path.suffix.lower().lstrip(".").replace("jpeg", "jpg") for path, _ in files)
    return (tensors["images"], labels), kinds


def _why(path: Path) -> str:
    """What is wrong with a file that was skipped, in a sentence."""
    try:
        read_image(path)
    except ImageError as error:
        return str(error)
    return ""


def _decoded(files: list[tuple[Path, int]], what: str) -> dict[str, Tensor]:
    images = torch.empty(len(files), 3, SIZE, SIZE, dtype=torch.uint8)
    labels = torch.tensor([label for _, label in files], dtype=torch.int64)
    read = torch.ones(len(files), dtype=torch.bool)
    for index, (path, _) in enumerate(
        tqdm(files, desc=f"reading {what}", unit=" images", dynamic_ncols=True, leave=False)
    ):
        try:
            images[index] = to_input(read_image(path), SIZE)
        except ImageError:
            read[index] = False
    unread = (~read).nonzero().flatten()
    return {"images": images[read], "labels": labels[read], "unread": unread}


def _divided(arrays: Arrays, classes: tuple[str, ...]) -> tuple[Arrays, Arrays]:
    """Training and test images: a fifth of each class, drawn by a fixed seed, is for testing."""
    images, labels = arrays
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    for_test = torch.zeros(len(labels), dtype=torch.bool)
    for label, name in enumerate(classes):
        mine = (labels == label).nonzero().flatten()
        if len(mine) < 2:
            raise DataError(f"the class {name} has one image: two are needed, one for testing")
        mine = mine[torch.randperm(len(mine), generator=generator)]
        for_test[mine[: max(1, round(TEST_SHARE * len(mine)))]] = True
    return (images[~for_test], labels[~for_test]), (images[for_test], labels[for_test])
