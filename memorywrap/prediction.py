"""What the model says about an image, and the evidence for it: used samples, example, counterfactuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from memorywrap.bank import MemoryBank
from memorywrap.caching import cached_property
from memorywrap.trust import TrustGauge, signals


@dataclass(frozen=True, eq=False)
class Prediction:
    """A prediction with its evidence; the object of `/classify`.

    Attributes:
        pixels: uint8 (3, height, width), what the model saw.
        classes: names of the classes.
        logits: (classes,).
        weights: memory weights (memory,), summing to one; empty for a plain network.
        similarity: (memory,), how alike each memory sample is to the input; -inf for samples
            removed from the bank.
        bank: the memory bank; None for a plain network.
        gauge: how to judge the prediction by its evidence, where the model has learned that.
        query: (dim,), embedding of the input; None if it is not known.
        model: fingerprint of the model that predicted, see `MemoryBank.model`; None if not known.
        logits_without_its_class: (classes,), what the model says without the memory samples that are
            predicted in the predicted class; None where it has no others left, or no memory.
        familiarity: log odds that the input shows anything known, see `memorywrap.familiarity`; None
            where the model has not learned it.
    """

    pixels: Tensor
    classes: Sequence[str]
    logits: Tensor
    weights: Tensor
    similarity: Tensor
    bank: MemoryBank | None
    gauge: TrustGauge | None = None
    query: Tensor | None = None
    model: str | None = None
    logits_without_its_class: Tensor | None = None
    familiarity: float | None = None

    def __repr__(self) -> str:
        """The answer in a line: all that it rests on would be pages of numbers."""
        answer = f"{self.classes[self.predicted]}, probability {max(self.probabilities):.3f}"
        trust = "" if self.trust is None else f", trust {self.trust:.3f}"
        unlike = ", unlike everything known" if self.unlike else ""
        memory = len(self.weights)
        used = f", {len(self.used)} of {memory} memory samples used" if memory else ""
        return f"<Prediction: {answer}{trust}{unlike}{used}>"

    @cached_property
    def probabilities(self) -> list[float]:
        """Softmax of the logits."""
        return self.logits.double().softmax(dim=0).tolist()

    @cached_property
    def predicted(self) -> int:
        """Index of the predicted class."""
        return int(self.logits.argmax())

    @cached_property
    def trust(self) -> float | None:
        """Probability that the prediction is right, judged by its evidence; None without a gauge, and where the
        input is `unlike` everything known, of which no evidence says anything."""
        if self.gauge is None or self.unlike or self.bank is None or self.bank.predicted is None:
            return None
        known = None if self.familiarity is None else self.logits.new_tensor([self.familiarity])
        evidence = (self.logits[None], self.weights[None], self.similarity[None])
        return float(self.gauge.probability(signals(*evidence, self.bank.predicted, known)))

    @property
    def right_in_100(self) -> int | None:
        """Trust as so many times in 100, for people: never 0 or 100, as nothing is certain that was learned from
        some thousand answers."""
        return None if self.trust is None else min(max(round(100 * self.trust), 1), 99)

    @cached_property
    def nearest(self) -> int | None:
        """The memory sample that is most similar to the input, whatever it is predicted as."""
        return int(self.similarity.argmax()) if len(self.similarity) else None

    @property
    def unlike(self) -> bool:
        """Whether the input is unlike everything known: the prediction means little then, however
        sure it is. False where the model has not learned to tell."""
        return self.familiarity is not None and self.familiarity < 0

    @cached_property
    def without_its_class(self) -> tuple[int, float] | None:
        """The class, and its probability, that the model would say without the memory samples
        predicted in the predicted class: another one where the memory decides. None where it has no
        others."""
        if self.logits_without_its_class is None:
            return None
        probability, class_ = self.logits_without_its_class.double().softmax(dim=0).max(dim=0)
        return int(class_), float(probability)

    @cached_property
    def used(self) -> list[int]:
        """Bank indices of the samples with weight > 0, by falling weight."""
        order = self.weights.argsort(descending=True, stable=True)
        return order[self.weights[order] > 0].tolist()

    @cached_property
    def example(self) -> int | None:
        """The used sample with the highest weight that is predicted in the predicted class."""
        return next((index for index in self.used if self._supports[index]), None)

    @cached_property
    def counterfactual(self) -> int | None:
        """The used sample with the highest weight that is predicted in another class."""
        return next((index for index in self.used if not self._supports[index]), None)

    @cached_property
    def contrast(self) -> int | None:
        """With no counterfactual in memory: the most similar sample of another predicted class."""
        if self.bank is None or self.counterfactual is not None:
            return None
        others = self.similarity.masked_fill(torch.tensor(self._supports), float("-inf"))
        best = int(others.argmax())
        return best if others[best] > float("-inf") else None

    @property
    def other(self) -> int | None:
        """The counterfactual, or else the contrast."""
        return self.contrast if self.counterfactual is None else self.counterfactual

    @cached_property
    def rival(self) -> int | None:
        """The class that the counterfactual, or else the contrast, is predicted in."""
        other = self.other
        if other is None or self.bank is None or self.bank.predicted is None:
            return None
        return int(self.bank.predicted[other])

    def runners_up(self, count: int = 2) -> list[tuple[int, int | None]]:
        """The most probable classes after the first, each with the used sample of the highest weight
        that is predicted in it; None where no used sample is.

        Evidence for one class alone makes people trust it too much (arXiv 2308.13651).
        """
        if self.bank is None or self.bank.predicted is None:
            return []
        classes = self.logits.argsort(descending=True, stable=True)[1 : count + 1].tolist()
        of_class = self.bank.predicted.tolist()
        return [
            (class_, next((index for index in self.used if of_class[index] == class_), None))
            for class_ in classes
        ]

    def require_bank(self) -> MemoryBank:
        """`bank`, where there must be one.

        Raises:
            ValueError: it is the prediction of a plain network.
        """
        if self.bank is None:
            raise ValueError(
                "this model has no memory bank: expected variant memory-wrap or baseline"
            )
        return self.bank

    def role(self, index: int) -> str:
        """The side a memory sample is on: "example" (same predicted class) or "counterfactual"."""
        return "example" if self._supports[index] else "counterfactual"

    def memory(self, index: int) -> dict[str, Any]:
        """One memory sample as the web API describes it."""
        assert self.bank is not None and self.bank.predicted is not None
        return {
            "index": index,
            "label": self.classes[int(self.bank.labels[index])],
            "predicted": self.classes[int(self.bank.predicted[index])],
            "weight": float(self.weights[index]),
            "role": self.role(index),
        }

    def to_dict(self, model: str) -> dict[str, Any]:
        """The object of `/classify` and of `memorywrap classify`."""
        return {
            "model": model,
            "predicted": self.classes[self.predicted],
            "probabilities": dict(zip(self.classes, self.probabilities, strict=True)),
            "trust": self.trust,
            "memory": [self.memory(index) for index in self.used],
            "example": self.example,
            "counterfactual": self.counterfactual,
            "contrast": self.contrast,
            "without_its_class": None
            if self.without_its_class is None
            else {
                "predicted": self.classes[self.without_its_class[0]],
                "probability": self.without_its_class[1],
            },
            "unlike": self.unlike,
        }

    @cached_property
    def _supports(self) -> list[bool]:
        if self.bank is None:
            return []
        assert self.bank.predicted is not None
        return (self.bank.predicted == self.predicted).tolist()


GRID = 8  # cells per side that a patch counterfactual is made of

Cell = tuple[int, int]  # row and column, from the upper left


@dataclass(frozen=True, eq=False)
class PatchCounterfactual:
    """A picture with some cells replaced by those of a memory sample, which changes its answer.

    Attributes:
        source: bank index of the sample that the cells come from.
        cells: the replaced cells (row, column); with any one of them put back, the model no longer
            answers the sample's class.
        shift: (down, right) in pixels, by which the sample is moved before cells are taken from it.
        mirrored: whether the sample is also turned left to right, where the model does not mind.
        laid_over: uint8 (3, height, width), the sample so moved, which the cells are taken from.
        prediction: the model's answer to the changed picture: the sample's predicted class.
    """

    source: int
    cells: tuple[Cell, ...]
    shift: tuple[int, int]
    mirrored: bool
    laid_over: Tensor = field(repr=False)
    prediction: Prediction

    grid: ClassVar[int] = GRID

    @property
    def sample(self) -> dict[str, Any]:
        """The source, as `Prediction.memory` describes it."""
        return self.prediction.memory(self.source)

    @property
    def pixels(self) -> Tensor:
        """The changed picture, uint8 (3, height, width)."""
        return self.prediction.pixels

    def to_dict(self) -> dict[str, Any]:
        """For JSON: {source, predicted, probability, cells, grid, shift, mirrored}."""
        answer = self.prediction
        return {
            "source": self.source,
            "predicted": answer.classes[answer.predicted],
            "probability": answer.probabilities[answer.predicted],
            "cells": [list(cell) for cell in self.cells],
            "grid": self.grid,
            "shift": list(self.shift),
            "mirrored": self.mirrored,
        }
