"""`memorywrap evaluate --explanations`: every measure of `explanations` on one model.

Maps are made as the page makes them, with automatic steps.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.sets import Split
from memorywrap.explanation.baselines import DEFAULT, STARTS
from memorywrap.explanation.explanation import Explanation
from memorywrap.explanation.integrated_gradients import Attribution
from memorywrap.explanation.methods import METHODS, Case, Maps, has_baseline, methods
from memorywrap.images import to_unit
from memorywrap.loading import random_bank
from memorywrap.measures import explanations as metrics
from memorywrap.measures.example_report import measure_examples
from memorywrap.prediction import Prediction

# What deleted pixels become. The picture's own mean colour says the least; plain white is what many
# reports take, and is evidence itself: for a digit model, of ink or of paper.
FILLS = ("mean", "white")
RANDOM = "random order"  # in the place of a method
_REMOVED = 10  # memory samples taken away, one after the other


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        images: test images whose completeness error and memory deletion are measured.
        curves: of those, the ones whose pixels are deleted and inserted, for every method.
        perturbed: of those, the ones for infidelity, sensitivity and randomised weights.
        redraws: banks drawn anew for the paper's measures and for planted culprits.
        planted: culprits in each such bank.
    """

    images: int = 200
    curves: int = 60
    perturbed: int = 6
    redraws: int = 5
    planted: int = 10

    def within(self, images: int) -> Sizes:
        """The same, as far as there are so many test images."""
        most = min(self.images, images)
        curves = min(self.curves, most)
        return replace(self, images=most, curves=curves, perturbed=min(self.perturbed, curves))

    @property
    def culprit_images(self) -> int:
        """Images whose contributions are added up to find the planted culprits."""
        return min(2 * self.curves, self.images)


def measure_explanations(
    classifier: MemoryWrapClassifier,
    test: Split,
    train: Split,
    sizes: Sizes | None = None,
    *,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure the explanations of a model.

    Args:
        classifier: with a bank.
        test: images to explain.
        train: where banks are drawn from anew.
        sizes: how much is measured.
        seed: of everything that is drawn.

    Returns:
        "test" (images in it), "sizes", "agreement", "completeness", "methods", "memory_deletion",
        "randomisation", "culprits" and "examples": numbers and lists of them, fit for JSON.

    Raises:
        ValueError: a model without a bank.
    """
    classifier.require_bank()
    sizes = (sizes or Sizes()).within(len(test))
    chosen = metrics.random_order(len(test), seed)[: sizes.images]
    predictions = classifier.predict_inputs(list(test.images[chosen]))
    explained = cache(lambda: classifier.explain(predictions))  # within the bar, once
    parts: dict[str, Callable[[], Any]] = {
        "agreement": lambda: _agreement(classifier, test, train, sizes, seed),
        "completeness": lambda: _completeness(explained()),
        "memory_deletion": lambda: _memory_deletion(classifier, explained(), seed),
        "methods": lambda: _methods(classifier, predictions, sizes, seed),
        "randomisation": lambda: _randomisation(classifier, predictions[: sizes.perturbed], seed),
        "culprits": lambda: _culprits(classifier, predictions, train, sizes, seed),
        "examples": lambda: measure_examples(
            classifier, test, train, redraws=sizes.redraws, images=sizes.curves,
            seed=seed,
        ),
    }  # fmt: skip
    found: dict[str, Any] = {"test": len(test), "sizes": asdict(sizes)}
    bar = tqdm(parts.items(), disable=not progress)
    for name, run in bar:
        bar.set_description(name.replace("_", " "))
        found[name] = run()
    return found


def _agreement(
    classifier: MemoryWrapClassifier, test: Split, train: Split, sizes: Sizes, seed: int
) -> dict[str, dict[str, list[float | None]]]:
    """The paper's measures, with memory samples predicted by leave one out and as in the paper."""
    queries = classifier.encode(test.images)
    found: dict[str, dict[str, list[float | None]]] = {}
    for redraw in range(sizes.redraws):
        bank, auxiliary = (
            random_bank(classifier, train, seed + 1 + 2 * redraw + i) for i in (0, 1)
        )
        logits, weights, _ = classifier.read(queries, bank)
        drawn = copy.copy(classifier)
        drawn.set_bank(bank)
        for how, second in (("leave one out", None), ("auxiliary memory", auxiliary)):
            of_samples = metrics.bank_predictions(drawn, second)
            agreement = metrics.agreement(
                logits.argmax(dim=1).cpu(), of_samples[weights.argmax(dim=1).cpu()], test.labels
            )
            for name, value in vars(agreement).items():
                found.setdefault(how, {}).setdefault(name, []).append(value)
    return found


def _completeness(explanations: Sequence[Explanation]) -> dict[str, Any]:
    return {
        "errors": [explanation.completeness_error for explanation in explanations],
        "steps": [explanation.steps for explanation in explanations],
    }


def _memory_deletion(
    classifier: MemoryWrapClassifier, explanations: Sequence[Explanation], seed: int
) -> dict[str, list[float]]:
    """Mean probability of the predicted class while used samples are taken away, by order."""
    curves: dict[str, list[Tensor]] = {}
    for number, explanation in enumerate(explanations):
        prediction, contributions = explanation.prediction, explanation.memory_contributions
        used = prediction.used
        shuffled = metrics.random_order(len(used), seed + number).tolist()
        for name, order in (
            ("by contribution", sorted(used, key=lambda index: -contributions[index])),
            ("by weight", used),
            ("in random order", [used[place] for place in shuffled]),
        ):
            curve = metrics.memory_deletion(classifier, prediction, order[:_REMOVED])
            # A prediction that used fewer stays where its last sample left it.
            padded = torch.cat([curve, curve[-1:].expand(_REMOVED + 1 - len(curve))])
            curves.setdefault(name, []).append(padded)
    return {name: torch.stack(found).mean(dim=0).tolist() for name, found in curves.items()}


def _methods(
    classifier: MemoryWrapClassifier, predictions: Sequence[Prediction], sizes: Sizes, seed: int
) -> dict[str, dict[str, Any]]:
    """Pixel deletion and insertion, infidelity and sensitivity of each method's input map."""
    found: dict[str, dict[str, Any]] = {}
    for method in [*methods(), RANDOM]:
        perturbed, steps = [], []
        curves: dict[str, list[Tensor]] = {}
        for number, prediction in enumerate(predictions[: sizes.curves]):
            score, _ = _scores(classifier, prediction)
            picture = to_unit(prediction.pixels, classifier.device)
            if method == RANDOM:
                pixels = picture.shape[1] * picture.shape[2]
                order = metrics.random_order(pixels, seed + number).to(picture.device)
            else:
                (maps,) = _attributed(classifier, method, [_case(classifier, prediction, picture)])
                order = metrics.pixel_order(maps.input_map)
                if isinstance(maps, Attribution):
                    steps.append(maps.steps)
                if number < sizes.perturbed:
                    perturbed.append(_perturbed(classifier, prediction, method, seed + number))
            for fill in FILLS:
                start = STARTS[fill](picture[None])[0]
                for name, insert in (("deletion", False), ("insertion", True)):
                    curve = metrics.pixel_curve(score, picture, order, start, insert=insert)
                    curves.setdefault(f"{name}, {fill}", []).append(curve)
        infidelity, sensitivity = (
            np.median(perturbed, axis=0).tolist() if perturbed else (None,) * 2
        )
        found[method] = {
            "steps": steps,
            "infidelity": infidelity,
            "sensitivity": sensitivity,
        }
        found[method]["curves"] = {
            name: torch.stack(of_images).mean(dim=0).tolist() for name, of_images in curves.items()
        }
        found[method]["areas"] = {
            name: [metrics.area(curve) for curve in of_images] for name, of_images in curves.items()
        }
    return found


def _perturbed(
    classifier: MemoryWrapClassifier, prediction: Prediction, method: str, seed: int
) -> tuple[float, float]:
    """Infidelity and sensitivity of a method's input map."""
    picture = to_unit(prediction.pixels, classifier.device)
    start = None  # of maps that are gradients
    if method == "input_x_gradient":
        start = torch.zeros_like(picture)
    elif has_baseline(method):
        start = STARTS[DEFAULT](picture[None])[0]

    def attribute(pictures: Tensor) -> Tensor:
        cases = [_case(classifier, prediction, near) for near in pictures.detach()]
        return torch.stack([maps.input_map for maps in _attributed(classifier, method, cases)])

    score = _scores(classifier, prediction)[1]
    return metrics.infidelity_and_sensitivity(score, picture, attribute, start=start, seed=seed)


def _randomisation(
    classifier: MemoryWrapClassifier, predictions: Sequence[Prediction], seed: int
) -> dict[str, dict[str, list[Any]]]:
    """Mean rank correlation with the trained model's map, the head randomised first."""
    found: dict[str, dict[str, list[Any]]] = {}
    for method in methods():

        def explain(model: MemoryWrapClassifier, how: str = method) -> Tensor:
            again = list(predictions)
            if model is not classifier:  # with the class that was explained
                read = model.predict_inputs([seen.pixels for seen in predictions])
                pairs = zip(read, predictions, strict=True)
                again = [replace(one, logits=seen.logits) for one, seen in pairs]
            cases = [_case(model, one, to_unit(one.pixels, model.device)) for one in again]
            return torch.stack([maps.input_map for maps in _attributed(model, how, cases)])

        checks = metrics.randomisation_check(classifier, explain, seed=seed)
        found[method] = {
            "layers": [name for name, _ in checks],
            "correlation": [value for _, value in checks],
        }
    return found


def _culprits(
    classifier: MemoryWrapClassifier,
    predictions: Sequence[Prediction],
    train: Split,
    sizes: Sizes,
    seed: int,
) -> dict[str, Any]:
    """Samples with a wrong label are planted: area under ROC of finding them by contribution and, to
    compare, by memory weight, and by whether the model itself reads them as their label."""
    found: dict[str, list[float]] = {"by contribution": [], "by weight": [], "by prediction": []}
    steps: list[int | None] = []
    size, classes = len(classifier.require_bank()), len(classifier.config.classes)
    for redraw in range(sizes.redraws):
        bank = random_bank(classifier, train, seed + 101 + redraw)
        planted = metrics.random_order(size, seed + 201 + redraw)[: min(sizes.planted, size // 2)]
        predicted, labels = torch.as_tensor(bank.predicted), bank.labels.clone()
        labels[planted] = (
            labels[planted] + 1 + torch.arange(len(planted)) % (classes - 1)
        ) % classes
        infected = copy.copy(classifier)
        infected.set_bank(replace(bank, labels=labels))
        inputs = [prediction.pixels for prediction in predictions[: sizes.culprit_images]]
        explanations = infected.explain(infected.predict_inputs(inputs))
        steps += [explanation.steps for explanation in explanations]
        is_planted = torch.zeros(size, dtype=torch.bool)
        is_planted[planted] = True
        by_contribution = metrics.culprit_scores(explanations, labels)
        by_weight = metrics.culprit_scores(explanations, labels, by_weight=True)
        by_prediction = (labels != predicted).double()
        for how, scores in (
            ("by contribution", by_contribution),
            ("by weight", by_weight),
            ("by prediction", by_prediction),
        ):
            found[how].append(metrics.auroc(scores, is_planted))
    return {"areas": found, "steps": steps}


def _scores(
    classifier: MemoryWrapClassifier, prediction: Prediction
) -> tuple[metrics.Score, metrics.Score]:
    """Probability and logit of the predicted class for pictures (batch, 3, height, width)."""
    bank, predicted = prediction.require_bank(), prediction.predicted

    def logits(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            return classifier.read(classifier.frozen.embed(pictures), bank).logits

    return (
        lambda pictures: logits(pictures).softmax(dim=1)[:, predicted],
        lambda pictures: logits(pictures)[:, predicted],
    )


def _case(classifier: MemoryWrapClassifier, prediction: Prediction, picture: Tensor) -> Case:
    """The predicted class's logit to a picture (3, height, width) near the prediction's own and to
    its used samples."""
    bank = prediction.require_bank()
    return Case(
        picture,
        to_unit(bank.images[prediction.used], classifier.device),
        prediction.predicted,
        keys=[bank.keys[index] for index in prediction.used],
    )


def _attributed(
    classifier: MemoryWrapClassifier, method: str, cases: Sequence[Case]
) -> Sequence[Maps]:
    """Attribution as on the page."""
    attribute, paths = METHODS[method].attribute, classifier.paths()
    return attribute(paths.embed, classifier.head, cases, baseline=DEFAULT, cache=paths)
