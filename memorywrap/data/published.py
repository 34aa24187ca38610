"""CIFAR-10 and SVHN in their published files: fetched on request, checked, read without pickles."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from memorywrap.data.folders import Arrays, DataError

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
CINIC10_HELP = (
    "get CINIC-10.tar.gz by https://github.com/BayesWatch/cinic-10 (doi 10.7488/ds/2448) and "
    "unpack it there; its valid folder is not used"
)
# The binary version of CIFAR-10: the one that torchvision's class reads is a pickle.
_CIFAR10 = (
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
)
_SVHN = {
    "train": (
        "http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
        "e26dedcc434d2e4c54c9b2d4a06d8373",
    ),
    "test": (
        "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
        "eb5a983be6a315427106f1b164d9cef3",
    ),
}
DOWNLOAD_MEGABYTES = {"cifar10": 170, "svhn": 247}  # what `download` can fetch, and how much it is
_RECORD = 1 + 3 * 32 * 32  # a label and the pixels, channel by channel
_CIFAR10_FOLDER = "cifar-10-batches-bin"


def download(name: str, folder: Path) -> None:
    """Fetch the published files of "cifar10" or "svhn" into a folder, with a progress bar.

    Raises:
        DataError: no such download, no network, or a file with another checksum.
    """
    from torchvision.datasets.utils import download_and_extract_archive, download_url

    try:
        if name == "cifar10":
            url, md5 = _CIFAR10
            # Moved to its place when it is whole, so that a stop in between leaves no half of it.
            partial = folder / "partial"
            download_and_extract_archive(
                url, str(folder), str(partial), md5=md5, remove_finished=True
            )
            (partial / _CIFAR10_FOLDER).replace(folder / _CIFAR10_FOLDER)
            partial.rmdir()
        elif name == "svhn":
            for url, md5 in _SVHN.values():
                download_url(url, str(folder), md5=md5)
        else:
            raise DataError(f"{name} cannot be downloaded by this command")
    except (OSError, RuntimeError) as error:
        raise DataError(f"{name} could not be downloaded: {error}") from error


def published(name: str, folder: Path) -> tuple[tuple[str, ...], Arrays, Arrays] | None:
    """Class names, training and test images of the published files; None where there are none.

    Raises:
        DataError: a damaged file, or SVHN's files and no scipy to read them.
    """
    if not is_downloaded(name, folder):
        return None
    if name == "cifar10":
        files = [f"data_batch_{part}.bin" for part in range(1, 6)]
        root = folder / _CIFAR10_FOLDER
        return CIFAR10_CLASSES, _cifar10(root, files), _cifar10(root, ["test_batch.bin"])
    parts = {part: _svhn(folder / Path(url).name, md5) for part, (url, md5) in _SVHN.items()}
    return tuple("0123456789"), parts["train"], parts["test"]


def is_downloaded(name: str, folder: Path) -> bool:
    """Whether the folder holds the published files of a data set."""
    if name == "cifar10":
        return (folder / _CIFAR10_FOLDER).is_dir()
    files = [folder / Path(url).name for url, _ in _SVHN.values()]
    return name == "svhn" and all(file.is_file() for file in files)


def _cifar10(folder: Path, names: list[str]) -> Arrays:
    parts = []
    for name in names:
        try:
            values = np.fromfile(folder / name, dtype=np.uint8)
        except OSError as error:
            raise DataError(
                f"{folder / name} cannot be read: remove {folder} and download CIFAR-10 again"
            ) from error
        if len(values) == 0 or len(values) % _RECORD or values[::_RECORD].max() > 9:
            raise DataError(
                f"{folder / name} is damaged: remove {folder} and download CIFAR-10 again"
            )
        parts.append(values.reshape(-1, _RECORD))
    records = torch.from_numpy(np.concatenate(parts))
    images: Tensor = records[:, 1:].reshape(-1, 3, 32, 32).contiguous()
    return images, records[:, 0].to(torch.int64)


def _svhn(path: Path, md5: str) -> Arrays:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError(
            "SVHN's .mat files need scipy to be read (pip install scipy), "
            "or unpack SVHN as an image folder svhn/{train,test}/CLASS/*"
        ) from error
    if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != md5:
        raise DataError(f"{path} is damaged: remove it and download SVHN again")
    content = loadmat(path)
    images = torch.from_numpy(content["X"].transpose(3, 2, 0, 1).copy())
    labels = torch.from_numpy(content["y"].astype(np.int64).flatten() % 10)  # 10 stands for 0
    return images, labels
