"""The published data sets: image folders, or their own files, which can be fetched and are checked.

None of these files is unpickled. An image folder NAME/{train,test}/CLASS/* in the data folder is taken
in place of published files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from memorywrap.data.cache import data_folder
from memorywrap.data.folders import read_folder
from memorywrap.data.sets import DataError, DataSet, ImageData, Split, Wanted, register_data_set


@dataclass(frozen=True)
class PublishedFile:
    """A file that can be fetched; a .tar.gz is unpacked, and gives one folder."""

    url: str
    md5: str
    folder: str = ""

    @property
    def name(self) -> str:
        """The name of the file, or of the folder that it gives, in the data set's folder."""
        return self.folder or Path(self.url).name


@dataclass(frozen=True, kw_only=True)
class PublishedSet(DataSet):
    """A public data set.

    Attributes:
        classes: class names; an image folder brings its own.
        files: what can be fetched.
        read: gives training and test images, called with the path of each of these.
        source: where to get it; needed where nothing can be fetched.
    """

    classes: tuple[str, ...] = ()
    files: tuple[PublishedFile, ...] = ()
    read: Callable[..., tuple[Split, Split]] | None = None
    source: str = ""
    public: bool = True

    @property
    def folder(self) -> Path:
        """Where it lies on this machine, or would."""
        return data_folder() / self.name

    def load(self, wanted: Wanted) -> ImageData:
        if (self.folder / "train").is_dir():
            return read_folder(self.name, self.folder)
        if not self._fetched() and wanted.fetch and self.files:
            self.download()
        if self.read is None or not self._fetched():
            way_out = self.source or (
                "add --download to fetch it, or unpack it there as train/CLASS/* and test/CLASS/*"
            )
            raise DataError(f"{self.name}: no images in {self.folder}; {way_out}")
        for file in self.files:
            _check(file, self.folder, self.title)
        train, test = self.read(*(self.folder / file.name for file in self.files))
        version = {
            "name": self.name,
            "format": "published files",
            "train": len(train),
            "test": len(test),
        }
        return ImageData(self.name, self.classes, train, test, version)

    def at_hand(self) -> bool:
        return (self.folder / "train").is_dir() or self._fetched()

    def in_published_order(self, data: ImageData) -> bool:
        if self.read is None:  # published as folders, whose files have their order
            return self.sizes is not None and len(data.train) == self.sizes[0]
        return data.version.get("format") == "published files"

    def download(self) -> None:
        """Fetch the published files, with a progress bar.

        Raises:
            DataError: no network, or a file with another checksum.
        """
        for file in self.files:
            try:
                _fetch(file, self.folder)
            except (OSError, RuntimeError) as error:
                raise DataError(f"{self.name} could not be downloaded: {error}") from error

    def _fetched(self) -> bool:
        return bool(self.files) and all((self.folder / file.name).exists() for file in self.files)


def _fetch(file: PublishedFile, folder: Path) -> None:
    from torchvision.datasets.utils import download_and_extract_archive, download_url

    if not file.folder:
        download_url(file.url, str(folder), md5=file.md5)
        return
    # Moved to its place when it is whole, so that a stop in between leaves no half of it.
    partial = folder / "partial"
    download_and_extract_archive(
        file.url, str(folder), str(partial), md5=file.md5, remove_finished=True
    )
    (partial / file.folder).replace(folder / file.folder)
    partial.rmdir()


def _check(file: PublishedFile, folder: Path, title: str) -> None:
    if file.folder:  # the archive is gone, and with it what could be checked
        return
    path = folder / file.name
    if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != file.md5:
        raise DataError(f"{path} is damaged: remove it and download {title} again")


def _read_cifar10(folder: Path) -> tuple[Split, Split]:
    train = torch.cat([_cifar10_records(folder / f"data_batch_{n}.bin") for n in range(1, 6)])
    return _cifar10_split(train), _cifar10_split(_cifar10_records(folder / "test_batch.bin"))


def _cifar10_records(path: Path) -> Tensor:
    """uint8 (images, 3073): a label and the pixels, channel by channel."""
    way_out = f"remove {path.parent} and download CIFAR-10 again"
    size = 1 + 3 * 32 * 32
    try:
        values = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {way_out}") from error
    if len(values) == 0 or len(values) % size or values[::size].max() > 9:
        raise DataError(f"{path} is damaged: {way_out}")
    return torch.from_numpy(values.reshape(-1, size))


def _cifar10_split(records: Tensor) -> Split:
    images = records[:, 1:].reshape(-1, 3, 32, 32).contiguous()
    return Split(images, records[:, 0].to(torch.int64))


def _read_svhn(train: Path, test: Path) -> tuple[Split, Split]:
    return _svhn_split(train), _svhn_split(test)


def _svhn_split(path: Path) -> Split:
    from scipy.io import loadmat

    content = loadmat(path)
    images = torch.from_numpy(content["X"].transpose(3, 2, 0, 1).copy())
    labels = torch.from_numpy(content["y"].astype(np.int64).flatten() % 10)  # 10 stands for 0
    return Split(images, labels)


_TEN_THINGS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

register_data_set(
    PublishedSet(
        name="cifar10",
        title="CIFAR-10",
        strangers=("letter", "shape", "surface", "digit"),
        mosaics=True,
        sizes=(50_000, 10_000),
        classes=_TEN_THINGS,
        files=(
            # The binary version: the one that torchvision's class reads is a pickle.
            PublishedFile(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                "c32a1d4ab5d03f1284b67883e8d87530",
                folder="cifar-10-batches-bin",
            ),
        ),
        megabytes=170,
        read=_read_cifar10,
    )
)
register_data_set(
    PublishedSet(
        name="svhn",
        title="SVHN",
        strangers=("letter", "shape", "surface"),
        in_scenes=True,
        sizes=(73_257, 26_032),
        mirrors=False,
        classes=tuple("0123456789"),
        files=(
            PublishedFile(
                "http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
                "e26dedcc434d2e4c54c9b2d4a06d8373",
            ),
            PublishedFile(
                "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
                "eb5a983be6a315427106f1b164d9cef3",
            ),
        ),
        megabytes=247,
        read=_read_svhn,
        paper_epochs=40,
    )
)
register_data_set(
    PublishedSet(
        name="cinic10",
        title="CINIC-10",
        strangers=("letter", "shape", "surface", "digit"),
        mosaics=True,
        sizes=(90_000, 90_000),
        classes=_TEN_THINGS,
        source="get CINIC-10.tar.gz by https://github.com/BayesWatch/cinic-10 (doi 10.7488/ds/2448) "
        "and unpack it there; its valid folder is not used",
        paper_schedule="cosine",
    )
)
