"""Image folders: FOLDER/{train,test}/CLASS/* or FOLDER/CLASS/*, read into one tensor per split."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import torch
from tqdm import tqdm

from memorywrap.data.cache import Tensors, cached
from memorywrap.data.sets import (
    DataError,
    DataSet,
    ImageData,
    Split,
    Wanted,
    check_fits,
    register_data_set,
)
from memorywrap.images import ImageError, read_image, to_input

SIZE = 32
# Of a folder that does not say which images are for testing: the same ones in every run.
TEST_SHARE, SPLIT_SEED = 0.2, 0
_NAMED = 5  # unreadable files are named up to so many, then counted

_log = logging.getLogger(__name__)


def read_folder(name: str, folder: Path, *, only_test: bool = False, size: int = SIZE) -> ImageData:
    """The data set that an image folder holds; its version has a digest of all pixels and labels.

    Args:
        name: what the data set is called.
        folder: holds train/CLASS/* and test/CLASS/*; or CLASS/* or train/CLASS/* alone, of which a
            part is then kept for testing.
        size: side of the images in pixels.
        only_test: whether no training images are wanted; test/CLASS/* alone is enough then.

    Raises:
        DataError: missing folder, no images, fewer than two classes, an empty class, test classes
            that differ from the training classes, or test images alone where training images are
            wanted.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    classes, train, test, formats, split = _splits(folder, only_test, size)
    digest = hashlib.sha256()
    for tensor in (train.images, train.labels, test.images, test.labels):
        digest.update(tensor.numpy().tobytes())
    version = {
        "name": name,
        "format": "+".join(sorted(formats)),
        "split": split,
        "train": len(train),
        "test": len(test),
        "digest": digest.hexdigest()[:12],
    }
    return ImageData(name, classes, train, test, version)


def _splits(
    folder: Path, only_test: bool, size: int
) -> tuple[tuple[str, ...], Split, Split, set[str], str]:
    """Class names, training images, test images, file formats, and how the two were told apart."""
    for_training, for_testing = folder / "train", folder / "test"
    if not _has_classes(for_testing):  # a class may be called so
        alone = for_training if _has_classes(for_training) else folder
        classes = _classes(alone)
        images, formats = _read(alone, classes, size)
        how = f"{TEST_SHARE:.0%} for testing, seed {SPLIT_SEED}"
        return classes, *_divided(images, classes), formats, how
    if for_training.is_dir():
        classes = _classes(for_training)
        _check_same(classes, _classes(for_testing))
        train, formats = _read(for_training, classes, size)
        test, more = _read(for_testing, classes, size)
        return classes, train, test, formats | more, "train and test folders"
    if only_test:
        classes = _classes(for_testing)
        test, formats = _read(for_testing, classes, size)
        return classes, test.rows(torch.arange(0)), test, formats, "test folder"
    raise DataError(
        f"{folder} has a test folder alone, whose images are never trained on: put images to train "
        f"on into {for_training}, one folder per class"
    )


class _ImageFolder(DataSet):
    """Anybody's own images, by the path of their folder."""

    def load(self, wanted: Wanted) -> ImageData:
        return read_folder(
            f"{self.name}:{wanted.argument}",
            Path(wanted.argument).expanduser(),
            only_test=wanted.samples == 0,
            size=wanted.size or SIZE,
        )


register_data_set(_ImageFolder(name="folder", argument="PATH"))


def _has_classes(folder: Path) -> bool:
    """Whether it is a split, and no class: there are folders in it."""
    return folder.is_dir() and any(
        path.is_dir() and path.name[0] != "." for path in folder.iterdir()
    )


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


def _read(folder: Path, classes: tuple[str, ...], size: int) -> tuple[Split, set[str]]:
    """One split, and the formats of its files."""
    files = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).iterdir())
        if path.is_file() and path.name[0] != "."
    ]
    stamp = hashlib.sha256(b"" if size == SIZE else str(size).encode())
    for path, label in files:
        status = path.stat()
        stamp.update(f"{label}|{path.absolute()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    tensors = cached(
        f"decoded/{stamp.hexdigest()[:16]}", lambda: _decoded(files, folder.name, size)
    )
    labels, unread = tensors["labels"], tensors["unread"].tolist()
    if unread:
        paths = [files[index][0] for index in unread[:_NAMED]]
        named = "; ".join(f"{path.relative_to(folder)} ({_why(path)})" for path in paths)
        more = f"; and {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
        _log.warning("%s: skipped %d unreadable files: %s%s", folder, len(unread), named, more)
    counts = labels.bincount(minlength=len(classes)).tolist()
    empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if empty:
        raise DataError(f"{folder}: no readable image in the class {', '.join(empty)}")
    formats = {path.suffix.lower().lstrip(".").replace("jpeg", "jpg") for path, _ in files}
    return Split(tensors["images"], labels), formats


def _why(path: Path) -> str:
    """What is wrong with a file that was skipped, in a sentence."""
    try:
        read_image(path)
    except ImageError as error:
        return str(error)
    return ""


def _decoded(files: list[tuple[Path, int]], what: str, size: int) -> Tensors:
    # The whole folder is read, whatever is drawn from it then.
    check_fits(len(files), size, "put fewer into the folder")
    images = torch.empty(len(files), 3, size, size, dtype=torch.uint8)
    labels = torch.tensor([label for _, label in files], dtype=torch.int64)
    read = torch.ones(len(files), dtype=torch.bool)
    for index, (path, _) in enumerate(
        tqdm(files, desc=f"reading {what}", unit=" images", dynamic_ncols=True, leave=False)
    ):
        try:
            images[index] = to_input(read_image(path), size)
        except ImageError:
            read[index] = False
    unread = (~read).nonzero().flatten()
    return {"images": images[read], "labels": labels[read], "unread": unread}


def _divided(images: Split, classes: tuple[str, ...]) -> tuple[Split, Split]:
    """Training and test images: a fifth of each class, drawn by a fixed seed, is for testing."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    for_test = torch.zeros(len(images), dtype=torch.bool)
    for label, name in enumerate(classes):
        mine = (images.labels == label).nonzero().flatten()
        if len(mine) < 2:
            raise DataError(f"the class {name} has one image: two are needed, one for testing")
        mine = mine[torch.randperm(len(mine), generator=generator)]
        for_test[mine[: max(1, round(TEST_SHARE * len(mine)))]] = True
    return images.rows(~for_test), images.rows(for_test)
