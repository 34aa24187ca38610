"""Recipes: how a network is trained, as values; and `Training`, which adds on what."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from memorywrap.checkpoints.config import Config, as_start, library_versions
from memorywrap.checkpoints.folder import Saved
from memorywrap.data.banks import bank_recipe
from memorywrap.data.sets import DataSet, ImageData, data_set
from memorywrap.devices import bfloat16_pays
from memorywrap.encoders import PHOTO
from memorywrap.training.augment import Augment
from memorywrap.training.settings import check_one_of, check_range, check_types

BANK_SIZE = 100


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Raises:
        ValueError: names the setting that is of the wrong type or out of its range.

    Attributes:
        name: what it is called.
        epochs: passes over the training set.
        optimizer: "sgd" (Nesterov momentum) or "adamw".
        learning_rate: the highest one.
        momentum: of SGD.
        weight_decay: pull of the weights to zero.
        decay_all: whether biases and normalisation are pulled too.
        batch: inputs per step.
        memory: memory samples, drawn anew from the training set at every step.
        apart: whether inputs and memory samples pass the encoder apart, each normalised by the
            statistics of its own batch; otherwise in one pass, which takes less time.
        schedule: "linear" (up, then down to zero), "cosine" (the same, down along a cosine) or
            "steps" (times 0.1 at each milestone).
        warmup: share of the training during which the learning rate rises.
        milestones: epochs at which the learning rate falls, for "steps".
        counterfactual_memories: share of the inputs that the head reads once more, without the
            memory samples of their own class and with the memory's verdict as the target (see
            `memorywrap.training.objective`), so that the memory decides; 0 is the paper.
        train_encoder: whether the encoder learns; otherwise the head alone does, on the encoder as it
            is, which takes a third of the time.
        label_smoothing: share of the target spread over all classes.
        average: decay per step of the exponential moving average of the weights that is
            evaluated and saved; 0 saves the last weights.
        test_memories: how many evaluations with different memories the reported accuracy averages.
        mirror: whether the trained model embeds images and mirror images together; training itself
            sees one of the two, at random, where the augmentation flips.
        augment: what happens to inputs and memory samples alike.
    """

    name: str
    epochs: int
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay_all: bool = False
    batch: int = 256
    memory: int = 100
    apart: bool = False
    schedule: str = "linear"
    warmup: float = 0.2
    milestones: tuple[int, ...] = ()
    counterfactual_memories: float = 0.0
    train_encoder: bool = True
    label_smoothing: float = 0.0
    average: float = 0.0
    test_memories: int = 5
    mirror: bool = False
    augment: Augment = field(default_factory=Augment)

    def lasting(self, epochs: int) -> Recipe:
        """The same over so many epochs, its milestones in proportion."""
        milestones = {max(round(at * epochs / self.epochs), 1) for at in self.milestones}
        return replace(self, epochs=epochs, milestones=tuple(sorted(milestones)))

    def __post_init__(self) -> None:
        check_types(self)
        check_one_of("optimizer", self.optimizer, ("sgd", "adamw"))
        check_one_of("schedule", self.schedule, ("linear", "cosine", "steps"))
        check_range(self, 1, math.inf, "epochs", "memory", "test_memories")
        check_range(self, 2, math.inf, "batch")
        check_range(self, 0, math.inf, "weight_decay")
        check_range(self, 0, 0.9999, "momentum", "average", "label_smoothing")
        check_range(self, 0, 1, "warmup", "counterfactual_memories")
        check_range(self, 1e-9, math.inf, "learning_rate")
        rising = list(self.milestones) == sorted(set(self.milestones))
        if not rising or not all(type(at) is int and at >= 0 for at in self.milestones):
            raise ValueError(
                f"milestones: expected rising numbers of epochs, received {self.milestones}"
            )


@dataclass(frozen=True)
class Training:
    """What is trained: all that a run folder must agree on to be resumed.

    Attributes:
        data: the data set.
        recipe: how.
        encoder, variant: which network.
        seed: where initial weights, order, memories and augmentation come from.
        title: what the model is called on the page.
        precision: "bfloat16", "float32" or "auto".
        bank: size of the bank that the model is evaluated and saved with.
        start: the checkpoint whose weights training begins with; fresh weights when not given.

    Raises:
        ValueError: names a setting that is of the wrong type or out of its range, such as a shift
            as large as the images; a start that is another network, or one for other classes.
    """

    data: ImageData
    recipe: Recipe
    encoder: str = "compact"
    variant: str = "memory-wrap"
    seed: int = 0
    title: str = ""
    precision: str = "auto"
    bank: int = BANK_SIZE
    start: Saved | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_one_of("precision", self.precision, ("auto", "bfloat16", "float32"))
        check_range(self, 1, math.inf, "bank")
        check_range(self, 0, 10**18, "seed")
        if self.encoder in PHOTO:
            raise ValueError(
                f"encoder: {self.encoder} comes trained and stays as it is: see `training.teaching`"
            )
        side = self.data.train.images.shape[-1]
        check_range(self.recipe.augment, 0, side - 1, "translate", "cutout")
        if self.start is None:
            return
        theirs = self.start.config
        for name, wanted, found in (
            ("encoder", self.encoder, theirs.encoder),
            ("variant", self.variant, theirs.variant),
            ("classes", list(self.data.classes), list(theirs.classes)),
        ):
            if wanted != found:
                raise ValueError(
                    f"start: expected a checkpoint with {name} {wanted!r}, found {found!r}"
                )

    def config(self) -> dict[str, Any]:
        """For RUN/config.json."""
        start = {} if self.start is None else {"start": as_start(self.start.config)}
        return {
            **start,
            "data": self.data.version,
            "classes": self.data.classes,
            "encoder": self.encoder,
            "variant": self.variant,
            "seed": self.seed,
            "bank": self.bank,
            "recipe": dataclasses.asdict(self.recipe),
        }

    def is_half(self, device: torch.device) -> bool:
        """Whether its network multiplies in bfloat16 there."""
        return self.precision == "bfloat16" or (self.precision == "auto" and bfloat16_pays(device))

    def model_config(self) -> Config:
        """For the checkpoint."""
        return Config(
            # Of a folder its name alone: where it lies is nobody's business on a page.
            title=self.title or Path(self.data.name.removeprefix("folder:")).name,
            encoder=self.encoder,
            classes=self.data.classes,
            variant=self.variant,
            mirror=self.recipe.mirror,
            bank=bank_recipe(self.data, self.bank, self.seed),
            start=None if self.start is None else as_start(self.start.config),
            recipe=dataclasses.asdict(self.recipe),
            seed=self.seed,
            data=self.data.version,
            versions=library_versions(),
        )


def recipe_for(name: str, data: str, samples: int) -> Recipe:
    """The recipe of that name for a data set.

    Args:
        name: "fast" or "paper".
        data: as for `load_data`.
        samples: size of the training set.

    Raises:
        ValueError: no such recipe, or no such data set.
    """
    check_one_of("recipe", name, ("fast", "paper"))
    record = data_set(data)
    return _paper(record) if name == "paper" else _fast(record, samples)


def overridden(recipe: Recipe, changes: Mapping[str, str]) -> Recipe:
    """The recipe with settings changed by name; those of `augment` are written augment.NAME. With other epochs,
    milestones that are not given are in proportion.

    Raises:
        ValueError: names the key that is unknown or whose value has the wrong type.
    """
    for key, text in changes.items():
        if key.startswith("augment."):
            part = _changed(recipe.augment, key.removeprefix("augment."), text)
            recipe = replace(recipe, augment=part)
        elif key == "epochs" and "milestones" not in changes:
            recipe = recipe.lasting(_changed(recipe, key, text).epochs)
        else:
            recipe = _changed(recipe, key, text)
    return recipe


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step (from 0)."""
    if recipe.schedule == "steps":
        passed = sum(step >= epoch * steps_per_epoch for epoch in recipe.milestones)
        return recipe.learning_rate * 0.1**passed
    done = (step + 0.5) / (recipe.epochs * steps_per_epoch)
    if done < recipe.warmup:
        return recipe.learning_rate * done / recipe.warmup
    left = (1 - done) / (1 - recipe.warmup)
    if recipe.schedule == "cosine":
        left = (1 - math.cos(math.pi * left)) / 2
    return recipe.learning_rate * left


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer, with weight decay where the recipe wants it."""
    parameters = list(model.parameters())
    weights = [value for value in parameters if value.ndim > 1 or recipe.decay_all]
    others = [value for value in parameters if value.ndim <= 1 and not recipe.decay_all]
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate)
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0
    )


def _paper(record: DataSet) -> Recipe:
    """arXiv 2106.01440 and its code: SGD with milestones; mirror images are all the augmentation,
    and there is none of digits."""
    epochs = record.paper_epochs
    return Recipe(
        name="paper",
        epochs=epochs,
        learning_rate=0.1,
        decay_all=True,
        batch=128,
        apart=True,
        schedule=record.paper_schedule,
        warmup=0.0,
        milestones=(epochs // 2, epochs * 3 // 4),
        augment=Augment(flip=record.mirrors),
    )


def _fast(record: DataSet, samples: int) -> Recipe:
    recipe = Recipe(
        name="fast",
        epochs=16,
        learning_rate=0.2,
        # With 512, the 100 memory samples would cost a sixth of a step and not over a quarter, but
        # in a short training half as many steps learn clearly less.
        batch=256,
        label_smoothing=0.1,
        average=0.998,
        mirror=True,
        augment=Augment(translate=4, flip=True, cutout=8),
    )
    if samples < 10_000:
        # Fewer images need more passes over them, and smaller batches to make any number of steps.
        epochs = round(16 * (50_000 / samples) ** 0.36)
        recipe = replace(recipe, epochs=epochs, batch=64, memory=50, learning_rate=0.1)
    if record.mirrors:
        return recipe
    writing = Augment(
        translate=3,
        cutout=8,
        rotate=8.0,
        scale=0.15,
        shear=0.1,
        brightness=0.15,
        contrast=0.4,
        colour=0.08,
        invert=0.5,  # house numbers are as often light on dark as dark on light
    )
    return replace(recipe, augment=writing, mirror=False)


def _changed(settings: Any, key: str, text: str) -> Any:
    known = {entry.name for entry in dataclasses.fields(settings)} - {"name", "augment"}
    if key not in known:
        raise ValueError(f"unknown setting {key!r}: expected one of {', '.join(sorted(known))}")
    present = getattr(settings, key)
    try:
        value = text if isinstance(present, str) else json.loads(text.lower())
    except ValueError:
        value = None
    if isinstance(present, tuple) and isinstance(value, list):
        value = tuple(value)
    if isinstance(present, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(present):
        raise ValueError(
            f"setting {key}: expected a value like {present!r} ({type(present).__name__}), "
            f"received {text!r}"
        )
    return replace(settings, **{key: value})
