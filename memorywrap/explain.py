"""What a prediction rests on: used samples, example, counterfactual, attribution maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from memorywrap.attribution import PathCache, integrated_gradients
from memorywrap.bank import MemoryBank


@dataclass(frozen=True, eq=False)
class Prediction:
    """A prediction with its evidence; the object of `/classify`.

    Attributes:
        pixels: uint8 (3, height, width), what the model saw.
        classes: names of the classes.
        logits: (classes,).
        weights: memory weights (memory,), summing to one; empty for a plain network.
        similarity: (memory,), how alike each memory sample is to the input.
        bank: the memory bank; None for a plain network.
    """

    pixels: Tensor
    classes: Sequence[str]
    logits: Tensor
    weights: Tensor
    similarity: Tensor
    bank: MemoryBank | None

    @cached_property
    def probabilities(self) -> list[float]:
        """Softmax of the logits."""
        return self.logits.double().softmax(dim=0).tolist()

    @cached_property
    def predicted(self) -> int:
        """Index of the predicted class."""
        return int(self.logits.argmax())

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
        return None if self._supports[best] else best

    def role(self, index: int) -> str:
        """The side a memory sample is on: "example" (same predicted class) or "counterfactual"."""
        return "example" if self._supports[index] else "counterfactual"

    def memory(self, index: int) -> dict[str, Any]:
        """One memory sample as the web API describes it."""
        assert self.bank is not None
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
            "memory": [self.memory(index) for index in self.used],
            "example": self.example,
            "counterfactual": self.counterfactual,
            "contrast": self.contrast,
        }

    @cached_property
    def _supports(self) -> list[bool]:
        if self.bank is None:
            return []
        assert self.bank.predicted is not None
        return (self.bank.predicted == self.predicted).tolist()


@dataclass(frozen=True, eq=False)
class Explanation:
    """A prediction with attribution maps and how exact they are; the object of `/explain`.

    Attributes:
        prediction: what is explained.
        method, baseline: how it was attributed.
        steps: path steps taken.
        completeness_error: |sum of attributions - change of the logit| / |change of the logit|.
        converged: false when the error was still above the tolerance at the most steps allowed.
        input_contribution: what the input adds to the predicted class's logit.
        memory_contributions: the same for every used sample, by bank index.
        input_map: (3, height, width); sums to `input_contribution`.
        memory_maps: the same for the samples shown, by bank index.
    """

    prediction: Prediction
    method: str
    baseline: str
    steps: int
    completeness_error: float
    converged: bool
    input_contribution: float
    memory_contributions: dict[int, float]
    input_map: Tensor
    memory_maps: dict[int, Tensor]

    def to_dict(self, model: str) -> dict[str, Any]:
        """The object of `/explain`, without the images."""
        return {
            **self.prediction.to_dict(model),
            "method": self.method,
            "baseline": self.baseline,
            "steps": self.steps,
            "completeness_error": self.completeness_error,
            "converged": self.converged,
            "contributions": {
                "input": self.input_contribution,
                "memory": {str(index): value for index, value in self.memory_contributions.items()},
            },
        }


def explain(
    prediction: Prediction,
    layer: nn.Module,
    cache: PathCache,
    *,
    baseline: str = "white",
    steps: int | None = None,
) -> Explanation:
    """Attribute a prediction to the pixels of its input, its example and its counterfactual.

    A contrast has weight 0: along the path it takes no part, so it has no attribution map.

    Args:
        prediction: a prediction of a model with memory.
        layer, baseline, steps: see `attribution.integrated_gradients`.
        cache: the embedding function with its path embeddings, kept between calls.

    Raises:
        ValueError: the prediction used no memory, unknown baseline, fewer than one step.
    """
    if prediction.bank is None:
        raise ValueError("this model has no memory bank: expected variant memory-wrap or baseline")
    used = prediction.used
    shown = [i for i in (prediction.example, prediction.counterfactual) if i is not None]
    device = prediction.bank.embeddings.device
    keys = prediction.bank.keys
    result = integrated_gradients(
        cache.embed,
        layer,
        prediction.pixels.to(device) / 255.0,
        prediction.bank.images[used].to(device) / 255.0,
        prediction.predicted,
        baseline=baseline,
        steps=steps,
        shown=[used.index(index) for index in shown],
        cache=cache,
        keys=[keys[index] for index in used],
    )
    return Explanation(
        prediction=prediction,
        method="integrated_gradients",
        baseline=baseline,
        steps=result.steps,
        completeness_error=result.completeness_error,
        converged=result.converged,
        input_contribution=result.input_total,
        memory_contributions=dict(zip(used, result.memory_totals.tolist(), strict=True)),
        input_map=result.input_map.cpu(),
        memory_maps={used[position]: m.cpu() for position, m in result.memory_maps.items()},
    )
