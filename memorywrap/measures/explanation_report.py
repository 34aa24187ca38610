"""`memorywrap evaluate --explanations`: every measure of `metrics` on one model, as table and figures."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.sets import Split
from memorywrap.explanation.baselines import STARTS
from memorywrap.explanation.captum_methods import Maps, attribute
from memorywrap.explanation.explanation import (
    INTEGRATED_GRADIENTS,
    Explanation,
    has_baseline,
    methods,
)
from memorywrap.explanation.integrated_gradients import Attribution, Case, integrated_gradients
from memorywrap.images import to_unit
from memorywrap.loading import random_bank
from memorywrap.measures import explanations as metrics
from memorywrap.measures.reports import blank_figure
from memorywrap.prediction import Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BASELINE = "white"
_STEPS = 16  # of integrated gradients where very many maps are needed
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
    curves: int = 30
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
        "randomisation" and "culprits": numbers and lists of them, fit for JSON.
    """
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
    }
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
    for method in [*methods(), "random order"]:
        deletion, insertion, infidelity, sensitivity = [], [], [], []
        for number, prediction in enumerate(predictions[: sizes.curves]):
            score, logit = _scores(classifier, prediction)
            picture = to_unit(prediction.pixels, classifier.device)
            start = STARTS[_BASELINE](picture[None])[0]
            if method == "random order":
                pixels = picture.shape[1] * picture.shape[2]
                order = metrics.random_order(pixels, seed + number).to(picture.device)
            else:
                maps = _input_maps(classifier, prediction, method)
                order = metrics.pixel_order(maps(picture[None])[0])
            deletion.append(metrics.pixel_curve(score, picture, order, start))
            insertion.append(metrics.pixel_curve(score, picture, order, start, insert=True))
            if method != "random order" and number < sizes.perturbed:
                if method == "input_x_gradient":
                    from_start = torch.zeros_like(picture)
                else:
                    from_start = start if has_baseline(method) else None
                pair = metrics.infidelity_and_sensitivity(
                    logit, picture, maps, start=from_start, seed=seed + number
                )
                infidelity.append(pair[0])
                sensitivity.append(pair[1])
        found[method] = {
            "deletion": torch.stack(deletion).mean(dim=0).tolist(),
            "insertion": torch.stack(insertion).mean(dim=0).tolist(),
            "infidelity": float(np.median(infidelity)) if infidelity else None,
            "sensitivity": float(np.median(sensitivity)) if sensitivity else None,
        }
    return found


def _randomisation(
    classifier: MemoryWrapClassifier, predictions: Sequence[Prediction], seed: int
) -> dict[str, dict[str, list[Any]]]:
    """Mean rank correlation with the trained model's map, the head randomised first."""
    found = {}
    for method in methods():
        rows: list[list[float]] = []
        names: list[str] = []
        for prediction in predictions:

            def explain(
                model: MemoryWrapClassifier, seen: Prediction = prediction, how: str = method
            ) -> Tensor:
                again = model.predict_inputs([seen.pixels])[0] if model is not classifier else seen
                fixed = replace(again, logits=seen.logits)  # the class that was explained
                return _input_maps(model, fixed, how)(to_unit(seen.pixels, model.device)[None])[0]

            checks = metrics.randomisation_check(classifier, explain, seed=seed)
            names = [name for name, _ in checks]
            rows.append([value for _, value in checks])
        found[method] = {"layers": names, "correlation": np.mean(rows, axis=0).tolist()}
    return found


def _culprits(
    classifier: MemoryWrapClassifier,
    predictions: Sequence[Prediction],
    train: Split,
    sizes: Sizes,
    seed: int,
) -> dict[str, list[float]]:
    """Samples with a wrong label are planted: area under ROC of finding them by contribution and, to
    compare, by memory weight, and by whether the model itself reads them as their label."""
    found: dict[str, list[float]] = {"by contribution": [], "by weight": [], "by prediction": []}
    assert classifier.bank is not None
    size, classes = len(classifier.bank), len(classifier.config.classes)
    for redraw in range(sizes.redraws):
        bank = random_bank(classifier, train, seed + 101 + redraw)
        planted = metrics.random_order(size, seed + 201 + redraw)[: min(sizes.planted, size // 2)]
        labels = bank.labels.clone()
        labels[planted] = (
            labels[planted] + 1 + torch.arange(len(planted)) % (classes - 1)
        ) % classes
        infected = copy.copy(classifier)
        infected.set_bank(replace(bank, labels=labels))
        inputs = [prediction.pixels for prediction in predictions[: sizes.culprit_images]]
        explanations = infected.explain(infected.predict_inputs(inputs), steps=_STEPS)
        is_planted = torch.zeros(size, dtype=torch.bool)
        is_planted[planted] = True
        by_contribution = metrics.culprit_scores(explanations, labels)
        by_weight = metrics.culprit_scores(explanations, labels, by_weight=True)
        by_prediction = (labels != bank.predicted).double()
        for how, scores in (
            ("by contribution", by_contribution),
            ("by weight", by_weight),
            ("by prediction", by_prediction),
        ):
            found[how].append(metrics.auroc(scores, is_planted))
    return found


def _scores(
    classifier: MemoryWrapClassifier, prediction: Prediction
) -> tuple[metrics.Score, metrics.Score]:
    """Probability and logit of the predicted class for pictures (batch, 3, height, width)."""
    bank, predicted = prediction.bank, prediction.predicted
    assert bank is not None

    def logits(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            return classifier.read(classifier.embed(pictures), bank)[0]

    return (
        lambda pictures: logits(pictures).softmax(dim=1)[:, predicted],
        lambda pictures: logits(pictures)[:, predicted],
    )


def _input_maps(
    classifier: MemoryWrapClassifier, prediction: Prediction, method: str
) -> Callable[[Tensor], Tensor]:
    """Attribution of pictures (batch, 3, height, width) near the prediction's own, with its used
    samples."""
    bank = prediction.bank
    assert bank is not None
    paths, layer = classifier.paths(), classifier.head
    memory = to_unit(bank.images[prediction.used], classifier.device)
    keys = [bank.keys[index] for index in prediction.used]

    def maps(pictures: Tensor) -> Tensor:
        cases = [
            Case(picture, memory, prediction.predicted, keys=keys) for picture in pictures.detach()
        ]
        found: Iterable[Attribution | Maps]
        if method == INTEGRATED_GRADIENTS:
            found = integrated_gradients(
                paths.embed, layer, cases, baseline=_BASELINE, steps=_STEPS, cache=paths
            )
        else:
            found = (
                attribute(method, paths.embed, layer, case, baseline=_BASELINE) for case in cases
            )
        return torch.stack([one.input_map for one in found])

    return maps


def markdown(report: dict[str, Any]) -> str:
    """The report as tables for a document."""
    sizes = Sizes(**report["sizes"])
    lines = [
        f"All {report['test']:,} test images, ± the spread over {sizes.redraws} redrawn banks:",
        "",
    ]
    lines += ["| explanation by the heaviest sample | leave one out | auxiliary memory |"]
    lines += ["| --- | ---: | ---: |"]
    ways = report["agreement"]
    for name in ways["leave one out"]:
        cells = [_spread(ways[how][name]) for how in ("leave one out", "auxiliary memory")]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    errors = 100 * np.array(report["completeness"]["errors"])
    lines += [
        "",
        f"Completeness error over {sizes.images} test images: median {np.median(errors):.3f} %, 95th percentile "
        f"{np.percentile(errors, 95):.3f} %, maximum {errors.max():.3f} %; "
        f"{np.median(report['completeness']['steps']):g} steps (median).",
        "",
        f"Deletion and insertion over {sizes.curves} of them, the other columns over "
        f"{sizes.perturbed}:",
        "",
        "| map of the input | deletion area | insertion area | infidelity | sensitivity "
        "| correlation with randomised weights |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for method, found in report["methods"].items():
        last = report["randomisation"].get(method, {}).get("correlation", [None])[-1]
        numbers = [found["infidelity"], found["sensitivity"], last]
        areas = [np.mean(found[name]) for name in ("deletion", "insertion")]
        cells = [f"{value:.3f}" for value in areas]
        cells += ["" if value is None else f"{value:.3f}" for value in numbers]
        lines.append(f"| {method.replace('_', ' ')} | {' | '.join(cells)} |")
    lines += ["", f"Memory deletion over {sizes.images} images:"]
    lines += ["", "| order of removal | probability after 1 | after 3 | after 5 | after 10 |"]
    lines += ["| --- | ---: | ---: | ---: | ---: |"]
    for order, curve in report["memory_deletion"].items():
        cells = [f"{100 * curve[count]:.1f} %" for count in (1, 3, 5, 10)]
        lines.append(f"| {order} | {' | '.join(cells)} |")
    lines += [
        "",
        f"{sizes.planted} planted in each of {sizes.redraws} redrawn banks, looked for through "
        f"{sizes.culprit_images} images:",
    ]
    lines += ["", "| planted culprits found | area under ROC |", "| --- | ---: |"]
    for how, areas in report["culprits"].items():
        lines.append(f"| {how} | {np.mean(areas):.3f} ± {np.std(areas):.3f} |")
    return "\n".join(lines) + "\n"


def draw(report: dict[str, Any]) -> Figure:
    """The report's curves."""
    figure = blank_figure(11, 7)
    axes = figure.subplots(2, 2)
    for axis, name in ((axes[0, 0], "deletion"), (axes[0, 1], "insertion")):
        for method, found in report["methods"].items():
            style = "k--" if method == "random order" else "-"
            curve = found[name]
            shares = np.linspace(0, 100, len(curve))
            axis.plot(shares, curve, style, label=method.replace("_", " "))
        axis.set(title=f"pixel {name}", xlabel="% of pixels", ylabel="probability")
    axes[0, 0].legend(fontsize="small")
    for order, curve in report["memory_deletion"].items():
        axes[1, 0].plot(curve, label=order)
    axes[1, 0].set(title="memory deletion", xlabel="samples removed", ylabel="probability")
    axes[1, 0].legend(fontsize="small")
    for method, found in report["randomisation"].items():
        axes[1, 1].plot(range(1, 1 + len(found["layers"])), found["correlation"], label=method)
    axes[1, 1].set(
        title="randomised weights, top layer first", xlabel="layers", ylabel="rank correlation"
    )
    return figure


def _spread(values: Sequence[float | None]) -> str:
    known = [100 * value for value in values if value is not None]
    return f"{np.mean(known):.1f} ± {np.std(known):.1f} %" if known else ""
