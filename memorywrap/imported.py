"""Checkpoints of the paper's published training script, as checkpoint folders of ours.

Its `.pt` files are dictionaries of a state dict, numbers and words; nothing else is unpickled. The names of the
tensors are rewritten, the values stay as they are.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from memorywrap.checkpoints.config import Config, library_versions
from memorywrap.checkpoints.folder import CheckpointError
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.banks import bank_recipe, digest_of
from memorywrap.data.published import PublishedSet
from memorywrap.data.sampling import balanced
from memorywrap.data.sets import ImageData, data_set, load_data
from memorywrap.images import of_side

_VARIANTS = {"std": "std", "memory": "baseline", "encoder_memory": "memory-wrap"}


class _Data(NamedTuple):
    """How the script reads a data set."""

    name: str  # what it is called here
    held_out: int  # images that it keeps from training, and then does not use
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_DATA = {
    "SVHN": _Data("svhn", 6000, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR10": _Data("cifar10", 6000, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "CINIC10": _Data(
        "cinic10", 10, (0.47889522, 0.47227842, 0.43047404), (0.24205776, 0.23828046, 0.25874835)
    ),
}
_ENTRIES: dict[str, type | tuple[type, ...]] = {
    "model_state_dict": Mapping, "train_examples": int, "mem_examples": int, "model_name": str,
    "num_classes": int, "modality": str, "dataset_name": str,
}  # fmt: skip

_MOST = 100_000  # training and memory samples; the script's word for all is 100,000

# Where the encoder's parts stand in `mobilenet_v2_cifar`; its 17 blocks are numbers 3 to 19.
_OUTER = {"conv1": "0", "bn1": "1", "conv2": "20", "bn2": "21"}
_INNER = {"conv1": "0", "bn1": "1", "conv2": "3", "bn2": "4", "conv3": "6", "bn3": "7"}
_BLOCK = re.compile(r"layers\.(\d+)\.(?:(shortcut\.[01])|(\w+))\.(\w+)")
# The perceptron by the version of their package: up to 1.0.6, 1.1.3, from 1.1.4 on.
_HEADS = {"mw.fc.fc1": "fc1", "mw.fc.fc2": "fc2", "mw.classifier.0": "fc1", "mw.classifier.2": "fc2",
          "mw.classifier.fc1": "fc1", "mw.classifier.fc2": "fc2"}  # fmt: skip
_READ_HEAD = "mw.r_head"  # of 1.1.0 and 1.1.1, which is another function


def import_published(
    path: str | Path,
    *,
    run: int | None = None,
    bank: ImageData | None = None,
    title: str = "",
    fetch: bool = False,
) -> MemoryWrapClassifier:
    """Read a checkpoint that the published `paper/train.py` wrote with MobileNet.

    Args:
        path: the file.
        run: seed of the run (its file is called run + 1): the bank is then drawn from the images that it was
            trained on, by the script's own rule of splitting.
        bank: a data set of the same classes whose training images the bank is drawn from instead.
        title: what the model is called.
        fetch: download what it was trained on, with `run`, where it is missing.

    Returns:
        The classifier, in evaluation mode. A bank of public data is a recipe in `config.bank`, which draws it
        when the checkpoint is loaded.

    Raises:
        CheckpointError: no such file, another model, a version of their package with another function, a
            model with memory without `run` and `bank`, or a bank of other classes.
        DataError: with `run`, a copy of its data set that does not tell what it was trained on.
    """
    path = Path(path)
    saved = _read(path)
    read = _DATA[saved["dataset_name"]]
    name, record = read.name, cast(PublishedSet, data_set(read.name))
    variant = _VARIANTS[saved["modality"]]
    samples, size = saved["train_examples"], saved["mem_examples"]
    data: dict[str, Any] = {"name": name, "samples": samples}
    if run is not None:
        data |= {"seed": run, "held_out": read.held_out}
    recipe = None
    if variant != "std" and bank is None:
        if run is None:
            raise CheckpointError(
                f"{path}: it has a memory, which the file does not hold: say the seed of its run (--run), or what to "
                "draw the memory from (--data)"
            )
        split = {"samples": samples, "seed": run, "held_out": read.held_out}
        recipe = {"dataset": name, "size": size, **split}
        if fetch or record.at_hand():  # better known now than when somebody asks the model
            own = load_data(name, **split, fetch=fetch, test=False).train
            recipe["digest"] = digest_of(own.rows(balanced(own.labels, size, run)))
    config = Config(
        title=title or f"{path.stem} ({record.title or name}, published script)",
        encoder="mobilenet_v2_cifar",
        classes=record.classes,
        variant=variant,
        mean=read.mean,
        std=read.std,
        bank=recipe,
        data=data,
        seed=run or 0,
        recipe={"name": "published", "memory": size},
        versions=library_versions(),
    )
    classifier = MemoryWrapClassifier(config).eval().requires_grad_(False)
    weights = _renamed(saved["model_state_dict"], path)
    try:
        classifier.load_state_dict(weights)
    except RuntimeError as error:
        wanted = classifier.state_dict()
        odd = [
            name
            for name in (*wanted, *weights)
            if name not in weights
            or name not in wanted
            or weights[name].shape != wanted[name].shape
        ]
        raise CheckpointError(
            f"{path}: its tensors are not those of the published MobileNet: {len(set(odd))} are missing, more or of "
            f"another shape, such as {odd[0]}"
        ) from error
    if not all(value.isfinite().all() for value in weights.values()):
        raise CheckpointError(f"{path}: some of its weights are no finite numbers")
    if bank is not None and classifier.has_memory:
        if set(bank.classes) != set(record.classes):
            raise CheckpointError(
                f"{bank.name}: expected the classes of the model, {', '.join(record.classes)}; found "
                f"{', '.join(bank.classes)}"
            )
        # The images of public data stay where they are: a recipe draws the same ones.
        drawn = bank_recipe(bank, size, config.seed)
        kept = bank.train.rows(balanced(bank.train.labels, size, config.seed))
        classifier.config = replace(config, bank=drawn)
        images = of_side(kept.images, config.image_size)
        theirs = torch.tensor([record.classes.index(one) for one in bank.classes])
        classifier.set_bank(classifier.make_bank(images, theirs[kept.labels]))
    return classifier


def _read(path: Path) -> dict[str, Any]:
    """The entries of the file, checked."""
    if not path.is_file():
        raise CheckpointError(f"{path}: {'a folder, no file' if path.is_dir() else 'no such file'}")
    try:
        with warnings.catch_warnings():  # of pickles that are refused below
            warnings.simplefilter("ignore")
            saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of another file, it raises many kinds
        raise CheckpointError(
            f"{path}: not a file of tensors, numbers and words, as the published script writes them"
        ) from error
    fits = isinstance(saved, dict) and set(saved) == set(_ENTRIES)
    if not fits or not all(isinstance(saved[name], kind) for name, kind in _ENTRIES.items()):
        raise CheckpointError(
            f"{path}: not a checkpoint of the published script: expected {', '.join(_ENTRIES)}"
        )
    known: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("model_name", ("mobilenet",)),
        ("modality", tuple(_VARIANTS)),
        ("dataset_name", tuple(_DATA)),
        ("num_classes", (10,)),
    )
    for name, names in known:
        if saved[name] not in names:
            raise CheckpointError(
                f"{path}: {name} {saved[name]!r} cannot be imported: expected {' or '.join(map(str, names))}"
            )
    for name in ("train_examples", "mem_examples"):
        if not 1 <= saved[name] <= _MOST:
            raise CheckpointError(f"{path}: {name}: expected 1 to {_MOST:,}, found {saved[name]:,}")
    return saved


def _renamed(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The state dict under our names."""
    if not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        raise CheckpointError(
            f"{path}: its model_state_dict holds other things than tensors by name"
        )
    if any(_READ_HEAD in name for name in weights):
        raise CheckpointError(
            f"{path}: written with versions 1.1.0 or 1.1.1 of the package memorywrap, whose layer has a read "
            "head: another function, which cannot be imported"
        )
    # A network that was trained on several GPUs stands under one name more.
    return {_name(name.removeprefix("module.")): value for name, value in weights.items()}


def _name(name: str) -> str:
    if found := _BLOCK.fullmatch(name):
        number, shortcut, part, what = found.groups()
        inner = shortcut or f"layers.{_INNER.get(part, part)}"
        return f"encoder.{int(number) + 3}.{inner}.{what}"
    first, _, rest = name.partition(".")
    if first in _OUTER:
        return f"encoder.{_OUTER[first]}.{rest}"
    if first == "linear":
        return f"head.{rest}"
    layer, _, what = name.rpartition(".")
    return f"head.classifier.{_HEADS[layer]}.{what}" if layer in _HEADS else name
