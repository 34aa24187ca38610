"""Data sets: what is said about each in one record, and how one is loaded by its name.

A data set is one tensor of images per split, with labels and class names. Each kind has a record, a
`DataSet`, which everything that depends on the kind reads: the recipes of training, the tables, model
cards, the command line, the page. A new one is a subclass with its `load`, registered by
`register_data_set`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from memorywrap.data.sampling import reduced
from memorywrap.images import of_side

__all__ = [
    "DATA_SETS",
    "DataError",
    "DataSet",
    "ImageData",
    "Split",
    "Wanted",
    "data_names",
    "data_set",
    "data_title",
    "describe",
    "known_data_set",
    "load_data",
    "load_test",
    "register_data_set",
]


class DataError(ValueError):
    """A data set that cannot be used; the message says what is wrong and what to do."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 (n, 3, height, width) with labels int64 (n,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, indices: Tensor) -> Split:
        """The images and labels at these indices (n,)."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set: class names, training and test images, and where they came from.

    Attributes:
        name: as for `load_data`.
        classes: class names; labels index them.
        train, test: the two splits.
        version: what tells this data from other data of the same name; goes into checkpoints.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    version: dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a data set.

    Attributes:
        argument: what follows the colon of its name, such as the path in "folder:PATH".
        samples: training samples: None for all, 0 where only the test images are wanted. What is
            rendered makes as many; anything else may give more, from which they are then drawn.
        seed: of rendered images.
        fetch: whether it may be downloaded.
        test: whether the test images are wanted; what is rendered makes none otherwise.
        size: side of the images in pixels, where they can be read in any; the data set's own where not
            given. Others are brought to it once they are loaded.
    """

    argument: str = ""
    samples: int | None = None
    seed: int = 0
    fetch: bool = False
    test: bool = True
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class DataSet(ABC):
    """What is known of a data set before any of it is read.

    Attributes:
        name: what it is asked for by, and the folder it lies in.
        title: what it is called in sentences; its name if not given.
        argument: what has to follow its name and a colon, such as "PATH"; nothing if not given.
        sizes: training and test images, where that is known; a copy with fewer says so in tables.
        mirrors: whether a mirror image shows the same class. Of writing it does not.
        public: whether the images are other people's, and so never put into a checkpoint.
        strangers: kinds of rendered pictures that show none of its classes, of `memorywrap.data.others`;
            nothing where that cannot be said.
        mosaics: whether pieces of its photographs put together show none of its classes, see
            `memorywrap.data.others.mosaics_of`; of parts of digits, say, other digits can be made.
        in_scenes: whether it shows digits, which are looked for in composed photographs as well.
        rendered: whether its training images are made by seed, as many as are asked for.
        megabytes: what a download takes; None where it cannot be downloaded.
        paper_epochs: how long arXiv 2106.01440 trains on it, or on the likest of its data sets.
        paper_schedule: how its learning rate falls there, as `Recipe.schedule`.
        account: what a model card says of it, with {NAME} for entries of its version.
        limits: what a model card says a model of it cannot do.
    """

    name: str
    title: str = ""
    argument: str = ""
    sizes: tuple[int, int] | None = None
    mirrors: bool = True
    public: bool = False
    strangers: tuple[str, ...] = ()
    mosaics: bool = False
    in_scenes: bool = False
    rendered: bool = False
    megabytes: int | None = None
    paper_epochs: int = 300
    paper_schedule: str = "steps"
    account: str = ""
    limits: str = ""

    @abstractmethod
    def load(self, wanted: Wanted) -> ImageData:
        """The data set as it is on this machine.

        Raises:
            DataError: it is not there, or cannot be used.
        """

    def at_hand(self) -> bool:
        """Whether it can be loaded without a download."""
        return True

    def in_published_order(self, data: ImageData) -> bool:
        """Whether its training images stand in the order in which others know them by their places."""
        return False


MOST_BYTES = 4 * 10**9  # of the images of a split

DATA_SETS: dict[str, DataSet] = {}


def register_data_set(record: DataSet) -> None:
    """Let a data set be loaded by its name, in the library, the commands and the recipes."""
    DATA_SETS[record.name] = record


def known_data_set(name: str) -> DataSet | None:
    """The record of a data set by its full name, such as "folder:PATH"; None for other names."""
    return DATA_SETS.get(name.split(":")[0])


def data_set(name: str) -> DataSet:
    """The record of a data set by its full name, such as "folder:PATH".

    Raises:
        DataError: no such data set.
    """
    record = known_data_set(name)
    if record is None or bool(record.argument) != (":" in name):
        raise DataError(f"unknown data set {name!r}: expected {data_names()}")
    return record


def data_names() -> str:
    """The names that `load_data` takes, for messages and help."""
    records = sorted(DATA_SETS.values(), key=lambda one: (bool(one.argument), one.public))
    names = [record.name + (f":{record.argument}" * bool(record.argument)) for record in records]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def load_data(
    name: str,
    *,
    samples: int | None = None,
    seed: int = 0,
    held_out: int = 0,
    fetch: bool = False,
    test: bool = True,
    size: int | None = None,
) -> ImageData:
    """A data set by name, with a training set of `samples` drawn by `seed`.

    Args:
        name: that of a record in `DATA_SETS`, such as "digits", or "folder:PATH".
        samples: size of the training set; all of it when not given.
        seed: of the reduced training set; of the renders, where it is rendered.
        held_out: training images that are not drawn from, see `sampling.reduced`.
        fetch: download it where it is missing, if it can be.
        test: whether the test images are wanted; without, there may be none.
        size: side of the images in pixels; the data set's own when not given.

    Raises:
        DataError: unknown, missing or unusable data, or more than fits.
    """
    record = data_set(name)
    if samples is not None and samples < 1:
        raise DataError(f"{name}: expected at least 1 training sample, received {samples}")
    data = record.load(Wanted(name.partition(":")[2], samples, seed, fetch, test, size))

    def in_size(data: ImageData) -> ImageData:
        train = _in_size(data.train, size, "give fewer, by --samples")
        return replace(data, train=train, test=_in_size(data.test, size) if test else data.test)

    if samples is None or record.rendered:
        return in_size(data)
    if held_out and not record.in_published_order(data):
        raise DataError(
            f"{name}: which images a published run was trained on is told by their places in the published files, "
            f"and here is another copy, of {len(data.train):,} training images: move it away and download them, or "
            "draw the memory from other images (--data)"
        )
    try:
        rows = reduced(data.train.labels, samples, seed, held_out)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error
    version = {**data.version, "samples": samples, "seed": seed}
    if held_out:
        version["held_out"] = held_out
    return in_size(replace(data, train=data.train.rows(rows), version=version))


def load_test(
    name: str,
    classes: Sequence[str] | None = None,
    *,
    fetch: bool = False,
    size: int | None = None,
) -> tuple[ImageData, Split]:
    """The split that "NAME:test" or "NAME:train" means (test if not said), and its data set, which
    may come without training images where those are not meant.

    Args:
        name: as for `load_data`, with the split after a colon.
        classes: the class names a model predicts; the data must have the same ones.
        fetch: download it where it is missing, if it can be.
        size: side of the split's images in pixels; the data set's own when not given.

    Raises:
        DataError: also where the class names differ.
    """
    base, part = name, "test"
    if name.endswith((":train", ":test")):
        base, _, part = name.rpartition(":")
    samples = None if part == "train" else 0
    data = data_set(base).load(Wanted(base.partition(":")[2], samples, fetch=fetch, size=size))
    if classes is not None and tuple(classes) != data.classes:
        raise DataError(
            f"{base}: its classes differ from the model's: expected {', '.join(classes)}; "
            f"found {', '.join(data.classes)}"
        )
    return data, _in_size(data.train if part == "train" else data.test, size)


def check_fits(images: int, size: int, advice: str) -> None:
    """Raises DataError, which ends with the advice, for more images of a side in pixels than are kept in
    memory."""
    most = MOST_BYTES // (3 * size * size)
    if images > most:
        raise DataError(
            f"{images:,} images of {size} x {size} pixels do not fit: expected at most {most:,}: {advice}"
        )


def _in_size(split: Split, size: int | None, advice: str = "these cannot be had so large") -> Split:
    """With images of that side in pixels."""
    if size is None or split.images.shape[-1] == size:
        return split
    check_fits(len(split), size, advice)
    return replace(split, images=of_side(split.images, size))


def data_title(name: str) -> str:
    """What a data set is called in sentences."""
    record = known_data_set(name)
    return name if record is None else record.title or name


def describe(version: dict[str, Any]) -> str:
    """A data version in words, for tables: lossy copies and partial copies are called that."""
    name = version["name"]
    if "format" not in version:
        return name
    record = known_data_set(name)
    public, sizes = (False, None) if record is None else (record.public, record.sizes)
    notes = ["JPEG copy"] if "jpg" in version["format"] and public else []
    if (version["train"], version["test"]) != sizes:
        notes.append(f"{version['train']:,} training and {version['test']:,} test images")
    return data_title(name) + (f" ({', '.join(notes)})" if notes else "")
