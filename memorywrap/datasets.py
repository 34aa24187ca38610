"""Data sets: each held as one uint8 tensor per split, with labels and class names."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

DIGITS_SAMPLES = 60_000
DIGITS_TEST_SAMPLES = 4_000
# Added to the seed of the training renders, so that no test render repeats one of them.
_TEST_SEED_OFFSET = 1_000_003


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
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set: class names, training and test images, and where they came from.

    Attributes:
        name: "digits", "cifar10", "svhn", "cinic10" or "folder:PATH".
        classes: class names; labels index them.
        train, test: the two splits.
        version: what tells this data from other data of the same name; goes into checkpoints.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    version: dict[str, Any]


def load_data(name: str, *, samples: int | None = None, seed: int = 0) -> ImageData:
    """A data set by name, with a training set of `samples` drawn by `seed` (all if not given).

    Raises:
        DataError: unknown, missing or unusable data.
    """
    if name == "digits":
        return _digits(samples or DIGITS_SAMPLES, seed)
    data = _image_folder(name)
    if samples is None:
        return data
    train = data.train.rows(reduced(data.train.labels, samples, seed))
    return replace(data, train=train, version={**data.version, "train": len(train)})


def load_test(name: str, classes: tuple[str, ...] | None = None) -> tuple[ImageData, Split]:
    """The split that "NAME" or "NAME:train" means (test if not said), and its data set.

    Args:
        name: as for `load_data`, with the split after a colon.
        classes: the class names a model predicts; the data must have the same ones.

    Raises:
        DataError: also where the class names differ.
    """
    base, _, part = name.rpartition(":") if name.endswith((":train", ":test")) else (name, "", "")
    data = load_data(base)
    if classes is not None and tuple(classes) != data.classes:
        raise DataError(
            f"{base}: its classes differ from the model's: expected {', '.join(classes)}; "
            f"found {', '.join(data.classes)}"
        )
    return data, data.train if part == "train" else data.test


def data_folder() -> Path:
    """$MEMORYWRAP_DATA, or the user's cache folder."""
    chosen = os.environ.get("MEMORYWRAP_DATA")
    if chosen:
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "memorywrap"


def reduced(labels: Tensor, samples: int, seed: int) -> Tensor:
    """Indices of `samples` random training samples, the same for the same seed.

    Raises:
        DataError: more samples than there are.
    """
    if not 0 < samples <= len(labels):
        raise DataError(f"samples: expected 1 to {len(labels)}, received {samples}")
    return torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:samples]


def balanced(labels: Tensor, size: int, seed: int) -> Tensor:
    """Indices of `size` samples, spread over the classes as evenly as possible, drawn by seed."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    shuffled = labels[order]
    # The rank of a sample within its class: sorting by it takes one of each class in turn.
    ranks = torch.zeros_like(shuffled)
    for label in labels.unique():
        mine = shuffled == label
        ranks[mine] = torch.arange(int(mine.sum()))
    return order[(ranks * (int(labels.max()) + 1) + shuffled).argsort()[:size]]


def _digits(samples: int, seed: int) -> ImageData:
    from memorywrap import digits

    fonts = digits.find_fonts()
    source = Path(digits.__file__).read_bytes() + "\n".join(map(str, fonts)).encode()
    digest = hashlib.sha256(source).hexdigest()[:12]

    def rendered(count: int, seed: int, what: str) -> Split:
        def render() -> dict[str, Tensor]:
            with _bar(count, f"rendering {what}") as bar:
                images, labels = digits.render_digits(
                    count, seed, fonts=fonts, progress=lambda done, _: bar.update(done - bar.n)
                )
            return {"images": images, "labels": labels}

        return Split(**_cached(f"digits/{count}-{seed}-{digest}", render))

    version = {
        "name": "digits",
        "renderer": digest,
        "train": samples,
        "seed": seed,
        "fonts": [font.name for font in fonts],
    }
    return ImageData(
        "digits",
        tuple("0123456789"),
        rendered(samples, seed, "training digits"),
        rendered(DIGITS_TEST_SAMPLES, seed + _TEST_SEED_OFFSET, "test digits"),
        version,
    )


def _image_folder(name: str) -> ImageData:
    folder = Path(name.removeprefix("folder:")) if name.startswith("folder:") else None
    folder = folder or data_folder() / name
    if not (folder / "test").is_dir():
        raise DataError(f"{name}: there are no images in {folder}")
    classes, train = _decoded(folder / "train")
    _, test = _decoded(folder / "test")
    version = {"name": name, "train": len(train), "test": len(test)}
    return ImageData(name, classes, train, test, version)


def _decoded(folder: Path) -> tuple[tuple[str, ...], Split]:
    from memorywrap.images import read_image, to_input

    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    files = [(path, i) for i, c in enumerate(classes) for path in sorted((folder / c).iterdir())]

    def decode() -> dict[str, Tensor]:
        images = [
            to_input(read_image(path), 32) for path, _ in tqdm(files, desc=f"reading {folder.name}")
        ]
        return {
            "images": torch.stack(images),
            "labels": torch.tensor([label for _, label in files]),
        }

    stamp = hashlib.sha256(
        repr([(str(p), p.stat().st_size) for p, _ in files]).encode()
    ).hexdigest()
    return classes, Split(**_cached(f"decoded/{stamp[:16]}", decode))


def _cached(key: str, make) -> dict[str, Tensor]:
    """Tensors from the cache; made, and kept there where it can be written, when it has none."""
    path = data_folder() / "cache" / f"{re.sub(r'[^A-Za-z0-9/_.-]', '_', key)}.safetensors"
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        tensors = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        save_file(tensors, partial)
        partial.replace(path)
    except (OSError, SafetensorError):  # a cache that cannot be written costs time, not the result
        pass
    return tensors


def _bar(total: int, text: str) -> tqdm:
    return tqdm(total=total, desc=text, unit=" images", dynamic_ncols=True)
