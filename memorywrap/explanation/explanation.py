"""What a prediction rests on: used samples, example, counterfactual, attribution maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from memorywrap.bank import MemoryBank
from memorywrap.explanation.captum_methods import METHODS, WITH_BASELINE, Maps, attribute
from memorywrap.explanation.integrated_gradients import Attribution, Case, integrated_gradients
from memorywrap.explanation.path_cache import PathCache
from memorywrap.images import to_unit
from memorywrap.trust import TrustGauge, signals

INTEGRATED_GRADIENTS = "integrated_gradients"


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
        encoder: stands for the encoder, with its weights, that made the query.
    """

    pixels: Tensor
    classes: Sequence[str]
    logits: Tensor
    weights: Tensor
    similarity: Tensor
    bank: MemoryBank | None
    gauge: TrustGauge | None = None
    query: Tensor | None = None
    encoder: object | None = None

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
        """Probability that the prediction is right, judged by its evidence; None without a gauge."""
        if self.gauge is None or self.bank is None or self.bank.predicted is None:
            return None
        evidence = (self.logits[None], self.weights[None], self.similarity[None])
        return float(self.gauge.probability(signals(*evidence, self.bank.predicted)))

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

    @cached_property
    def rival(self) -> int | None:
        """The class that the counterfactual, or else the contrast, is predicted in."""
        other = self.contrast if self.counterfactual is None else self.counterfactual
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
            "trust": self.trust,
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
        against: index of the class whose logit is subtracted; None for the plain view.
        input_map: (3, height, width), in units of the logit for integrated gradients.
        memory_maps: the same for example, counterfactual and contrast, by bank index. The contrast
            is attributed as if it stood beside the used samples: it has no weight at the end of the
            path, but may have some on the way.
        integral: steps, contributions and completeness error of integrated gradients; None for
            methods that promise no completeness.
    """

    prediction: Prediction
    method: str
    baseline: str
    against: int | None
    input_map: Tensor
    memory_maps: dict[int, Tensor]
    integral: Attribution | None

    @property
    def steps(self) -> int | None:
        """Path steps taken."""
        return self.integral and self.integral.steps

    @property
    def completeness_error(self) -> float | None:
        """|sum of attributions - change of the logit| / |change of the logit|."""
        return self.integral and self.integral.completeness_error

    @property
    def converged(self) -> bool | None:
        """False when the error was above the tolerance at the most steps allowed."""
        return self.integral and self.integral.converged

    @property
    def input_contribution(self) -> float | None:
        """What the input adds to the attributed logit."""
        return self.integral and self.integral.input_total

    @property
    def memory_contributions(self) -> dict[int, float]:
        """What every used sample adds to the attributed logit, by bank index."""
        if self.integral is None:
            return {}
        return dict(zip(self.prediction.used, self.integral.memory_totals.tolist(), strict=True))

    def to_dict(self, model: str) -> dict[str, Any]:
        """The object of `/explain`, without the images."""
        return {
            **self.prediction.to_dict(model),
            "method": self.method,
            "baseline": self.baseline,
            "against": None if self.against is None else self.prediction.classes[self.against],
            "steps": self.steps,
            "completeness_error": self.completeness_error,
            "converged": self.converged,
            "contributions": {
                "input": self.input_contribution,
                "memory": {str(index): value for index, value in self.memory_contributions.items()},
            },
        }


def explain(
    predictions: Sequence[Prediction],
    layer: nn.Module,
    cache: PathCache,
    *,
    method: str = INTEGRATED_GRADIENTS,
    baseline: str = "white",
    steps: int | None = None,
    against: int | None = None,
) -> list[Explanation]:
    """Attribute predictions to the pixels of their input, example, counterfactual or contrast.

    Args:
        predictions: of a model with memory.
        layer, baseline, steps: see `attribution.integrated_gradients`.
        cache: the embedding function with its path embeddings, kept between calls.
        method: one of `methods()`.
        against: attribute how far the predicted class is above this class instead.

    Raises:
        ValueError: a prediction used no memory, unknown method or baseline, fewer than one step.
    """
    if method not in methods():
        raise ValueError(f"unknown method {method!r}: expected one of {', '.join(methods())}")
    cases = [_case(prediction, against) for prediction in predictions]
    found: Iterable[Attribution | Maps]
    if method == INTEGRATED_GRADIENTS:
        found = integrated_gradients(
            cache.embed, layer, cases, baseline=baseline, steps=steps, cache=cache
        )
    else:
        found = (attribute(method, cache.embed, layer, case, baseline=baseline) for case in cases)
    return [
        _explanation(prediction, method, baseline, against, maps)
        for prediction, maps in zip(predictions, found, strict=True)
    ]


def _case(prediction: Prediction, against: int | None) -> Case:
    """What is attributed of a prediction, on the device of its bank's embeddings."""
    bank = prediction.bank
    if bank is None:
        raise ValueError("this model has no memory bank: expected variant memory-wrap or baseline")
    used, contrast, device = prediction.used, prediction.contrast, bank.embeddings.device
    shown = [i for i in (prediction.example, prediction.counterfactual) if i is not None]
    beside = None
    if contrast is not None:
        beside = (to_unit(bank.images[contrast], device), bank.keys[contrast])
    return Case(
        image=to_unit(prediction.pixels, device),
        memory=to_unit(bank.images[used], device),
        target=prediction.predicted,
        against=against,
        shown=[used.index(index) for index in shown],
        contrast=beside,
        keys=[bank.keys[index] for index in used],
    )


def _explanation(
    prediction: Prediction,
    method: str,
    baseline: str,
    against: int | None,
    maps: Attribution | Maps,
) -> Explanation:
    memory_maps = {prediction.used[at]: map_.cpu() for at, map_ in maps.memory_maps.items()}
    if maps.contrast_map is not None and prediction.contrast is not None:
        memory_maps[prediction.contrast] = maps.contrast_map.cpu()
    integral = maps if isinstance(maps, Attribution) else None
    return Explanation(
        prediction, method, baseline, against, maps.input_map.cpu(), memory_maps, integral
    )


def methods() -> list[str]:
    """Names of the attribution methods, the default first."""
    return [INTEGRATED_GRADIENTS, *METHODS]


def has_baseline(method: str) -> bool:
    """Whether the baseline makes a difference to a method."""
    return method == INTEGRATED_GRADIENTS or method in WITH_BASELINE
