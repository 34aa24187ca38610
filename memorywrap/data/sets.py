"""Data sets: each held as one uint8 tensor per split, with labels and class names."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from memorywrap.data.folders import DataError, read_folder
from memorywrap.data.published import CINIC10_HELP, download, is_downloaded, published

__all__ = [
    "DataError",
    "ImageData",
    "Split",
    "balanced",
    "bank_at_hand",
    "bank_recipe",
    "data_folder",
    "data_title",
    "describe",
    "draw_bank",
    "interleaved",
    "load_data",
    "load_test",
    "reduced",
]

DIGITS_SAMPLES = 60_000
DIGITS_TEST_SAMPLES = 4_000
PUBLIC = ("cifar10", "svhn", "cinic10")  # other people's pictures, never put into a checkpoint
_TITLES = {"cifar10": "CIFAR-10", "svhn": "SVHN", "cinic10": "CINIC-10"}
_FULL_SIZES = {"cifar10": (50_000, 10_000), "svhn": (73_257, 26_032), "cinic10": (90_000, 90_000)}
# Added to the seed of the training renders, so that no test render repeats one of them.
_TEST_SEED_OFFSET = 1_000_003


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


def load_data(
    name: str, *, samples: int | None = None, seed: int = 0, fetch: bool = False
) -> ImageData:
    """A data set by name, with a training set of `samples` drawn by `seed`.

    Args:
        name: "digits", "cifar10", "svhn", "cinic10" or "folder:PATH".
        samples: size of the training set; all of it when not given.
        seed: of the reduced training set; of the renders, for "digits".
        fetch: download cifar10 or svhn where it is missing.

    Raises:
        DataError: unknown, missing or unusable data.
    """
    if name == "digits":
        if samples is not None and samples < 1:
            raise DataError(f"digits: expected at least 1 training sample, received {samples}")
        return _digits(DIGITS_SAMPLES if samples is None else samples, seed)
    data = _from_folder(name, fetch)
    if samples is None:
        return data
    try:
        rows = reduced(data.train.labels, samples, seed)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    version = {**data.version, "samples": samples, "seed": seed}
    return replace(data, train=data.train.rows(rows), version=version)


def load_test(
    name: str, classes: Sequence[str] | None = None, *, fetch: bool = False
) -> tuple[ImageData, Split]:
    """The split that "NAME:test" or "NAME:train" means (test if not said), and its data set.

    Args:
        name: as for `load_data`, with the split after a colon.
        classes: the class names a model predicts; the data must have the same ones.
        fetch: download cifar10 or svhn where it is missing.

    Raises:
        DataError: also where the class names differ.
    """
    base, part = name, "test"
    if name.endswith((":train", ":test")):
        base, _, part = name.rpartition(":")
    data = load_data(base, fetch=fetch)
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
        raise DataError(f"expected 1 to {len(labels)} training samples, received {samples}")
    return torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:samples]


def balanced(labels: Tensor, size: int, seed: int) -> Tensor:
    """Indices of `size` samples, spread over the classes as evenly as possible, drawn by seed."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return order[interleaved(labels[order])[:size]]


def interleaved(labels: Tensor) -> Tensor:
    """Indices that take one sample of each class in turn, in the given order within a class."""
    ranks = torch.zeros_like(labels)
    for label in labels.unique():
        mine = labels == label
        ranks[mine] = torch.arange(int(mine.sum()))
    return (ranks * (int(labels.max()) + 1) + labels).argsort()


def bank_recipe(data: ImageData, size: int, seed: int) -> dict[str, Any] | None:
    """How `draw_bank` repeats a bank of this data, for `Config.bank`; None where the bank's images
    may travel inside the checkpoint."""
    if data.name not in PUBLIC:
        return None
    bank = data.train.rows(balanced(data.train.labels, size, seed))
    recipe = {"dataset": data.name, "seed": seed, "size": size, "digest": digest_of(bank)}
    if "samples" in data.version:
        recipe["samples"] = data.version["samples"]
    return recipe


def digest_of(bank: Split) -> str:
    """Tells a bank from another one by its pixels and labels."""
    digest = hashlib.sha256(bank.images.contiguous().numpy().tobytes())
    digest.update(bank.labels.numpy().tobytes())
    return digest.hexdigest()[:12]


def draw_bank(recipe: dict[str, Any], *, fetch: bool = False) -> Split:
    """The images and labels of a bank by its recipe (`Config.bank`); kept after the first time.

    Args:
        recipe: {"dataset", "seed", "size"}; for a model of a reduced training set also "samples".
            "digest", where it is there, is what `digest_of` gives for the bank that the model was
            measured with: other copies of the data set give another bank.
        fetch: download the data set where it is missing.

    Raises:
        DataError: the data set is not there.
    """

    if recipe["dataset"] not in PUBLIC:  # a checkpoint may come from anywhere
        raise DataError(
            f"a bank's data set: expected one of {', '.join(PUBLIC)}, received {recipe['dataset']!r}"
        )

    def draw() -> dict[str, Tensor]:
        seed = recipe["seed"]
        data = load_data(recipe["dataset"], samples=recipe.get("samples"), seed=seed, fetch=fetch)
        bank = data.train.rows(balanced(data.train.labels, recipe["size"], seed))
        return {"images": bank.images, "labels": bank.labels}

    return Split(**_cached(_bank_key(recipe), draw))


def bank_at_hand(recipe: dict[str, Any]) -> bool:
    """Whether `draw_bank` needs no download: the bank or its data set is on this machine."""
    name = recipe["dataset"]
    folder = data_folder() / name
    drawn = _cache_file(_bank_key(recipe)).is_file()
    return drawn or (folder / "train").is_dir() or is_downloaded(name, folder)


def _bank_key(recipe: dict[str, Any]) -> str:
    parts = (recipe["dataset"], recipe["seed"], recipe["size"], recipe.get("samples", "all"))
    return "bank/" + "-".join(str(part).replace("/", "_") for part in parts)


def data_title(name: str) -> str:
    """What a data set is called in sentences."""
    return _TITLES.get(name, name)


def describe(version: dict[str, Any]) -> str:
    """A data version in words, for tables: lossy copies and partial copies are called that."""
    name = version["name"]
    if "format" not in version:
        return name
    notes = ["JPEG copy"] if "jpg" in version["format"] and name in PUBLIC else []
    if (version["train"], version["test"]) != _FULL_SIZES.get(name):
        notes.append(f"{version['train']:,} training and {version['test']:,} test images")
    return data_title(name) + (f" ({', '.join(notes)})" if notes else "")


def _digits(samples: int, seed: int) -> ImageData:
    from memorywrap.data import digits

    fonts = digits.find_fonts()
    faces = digits.digest_of_fonts(fonts)

    def rendered(count: int, seed: int, what: str) -> Split:
        def render() -> dict[str, Tensor]:
            with tqdm(total=count, desc=f"rendering {what}", unit=" images") as bar:
                images, labels = digits.render_digits(
                    count, seed, fonts=fonts, progress=lambda done, _: bar.update(done - bar.n)
                )
            return {"images": images, "labels": labels}

        return Split(**_cached(f"digits/{count}-{seed}-{digits.RENDERER}-{faces}", render))

    version = {
        "name": "digits",
        "renderer": digits.RENDERER,
        "faces": faces,
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


def _from_folder(name: str, fetch: bool) -> ImageData:
    if name.startswith("folder:"):
        folder = Path(name.removeprefix("folder:")).expanduser()
    elif name in PUBLIC:
        folder = data_folder() / name
    else:
        raise DataError(
            f"unknown data set {name!r}: expected digits, {', '.join(PUBLIC)} or folder:PATH"
        )
    if name in PUBLIC and not (folder / "train").is_dir():
        found = published(name, folder)
        if found is None and fetch:
            download(name, folder)
            found = published(name, folder)
        if found is None:
            raise DataError(f"{name}: no images in {folder}; {_way_out(name)}")
        classes, train, test = found
        version = {"format": "published files", "train": len(train[1]), "test": len(test[1])}
    else:
        classes, train, test, version = read_folder(folder, _cached)
    return ImageData(name, classes, Split(*train), Split(*test), {"name": name, **version})


def _way_out(name: str) -> str:
    if name == "cinic10":
        return CINIC10_HELP
    return "add --download to fetch it, or unpack it there as train/CLASS/* and test/CLASS/*"


def _cache_file(key: str) -> Path:
    return data_folder() / "cache" / f"{re.sub(r'[^A-Za-z0-9/_.-]', '_', key)}.safetensors"


def _cached(key: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors from the cache; made, and kept there where it can be written, when it has none."""
    path = _cache_file(key)
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
