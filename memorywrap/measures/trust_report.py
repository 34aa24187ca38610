"""`memorywrap gauge`: fits the trust gauge and compares it with plain softmax confidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.sets import Split
from memorywrap.measures.explanations import random_order
from memorywrap.measures.reports import blank_figure
from memorywrap.trust import TrustGauge, calibration_error, fit, risk_coverage, signals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_REDRAWS = 400  # bootstrap samples behind the interval of a difference
_POINTS = 101  # of a curve in the report


def fit_gauge(
    classifier: MemoryWrapClassifier,
    held_out: Split,
    exams: Mapping[str, Split],
    *,
    name: str = "held out",
    seed: int = 0,
) -> tuple[TrustGauge, dict[str, Any]]:
    """Fit a gauge on half of some images, and measure it on the other half and on other images.

    Args:
        classifier: with a bank.
        held_out: images that it did not learn from.
        exams: other such images, by name.
        name: what the held-out images are called in the report.
        seed: of the halves and of the bootstrap.

    Returns:
        The gauge, and a report fit for JSON: how many images it was fitted on, and per set of
        images what `compare` says.

    Raises:
        ValueError: a classifier without memory, or nothing to learn from, see `trust.fit`.
    """
    if not classifier.has_memory:
        raise ValueError("this model has no memory, so there is no evidence to judge it by")
    found, confidence, right = _evidence(classifier, held_out)
    order = random_order(len(right), seed)
    learned, kept = order[: len(order) // 2], order[len(order) // 2 :]
    gauge = fit(found[learned], right[learned])
    halves = compare(gauge, found[kept], confidence[kept], right[kept], seed=seed)
    sets = {f"{name}, other half": halves}
    for exam, split in exams.items():
        sets[exam] = compare(gauge, *_evidence(classifier, split), seed=seed)
    return gauge, {"fitted": f"{name}, one half", "images": len(learned), "sets": sets}


def compare(
    gauge: TrustGauge, found: Tensor, confidence: Tensor, right: Tensor, *, seed: int = 0
) -> dict[str, Any]:
    """The gauge beside plain confidence: area under the risk-coverage curve and calibration.

    Args:
        gauge: a fitted one.
        found: signals (n, len(SIGNALS)) of predictions.
        confidence: (n,), the highest softmax probability.
        right: bool (n,).
        seed: of the bootstrap.

    Returns:
        "images", "accuracy"; for "softmax" and "gauge" each "area", "calibration_error" and "curve"
        (share of wrong answers at evenly spaced coverages); "difference" of the areas, with its
        95 % "interval" over images drawn again.
    """
    report: dict[str, Any] = {"images": len(right), "accuracy": float(right.double().mean())}
    judges = {"softmax": confidence, "gauge": gauge.probability(found)}
    places = torch.linspace(0, len(right) - 1, _POINTS).round().long()
    for judge, probability in judges.items():
        curve = risk_coverage(probability, right)
        report[judge] = {
            "area": float(curve.mean()),
            "calibration_error": calibration_error(probability, right),
            "curve": curve[places].tolist(),
        }
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(right), (_REDRAWS, len(right)), generator=generator)
    differences = [
        float(_area(judges["gauge"], right, rows) - _area(judges["softmax"], right, rows))
        for rows in drawn
    ]
    report["difference"] = report["gauge"]["area"] - report["softmax"]["area"]
    report["interval"] = np.percentile(differences, (2.5, 97.5)).tolist()
    return report


def is_better(report: dict[str, Any]) -> bool:
    """Whether the gauge's area under the risk-coverage curve and its calibration error are the
    smaller ones everywhere, and that somewhere."""
    return bool(report["sets"]) and all(
        found["difference"] < 0
        and found["gauge"]["calibration_error"] < found["softmax"]["calibration_error"]
        for found in report["sets"].values()
    )


def markdown(report: dict[str, Any]) -> str:
    """The report as a table for a document."""
    lines = [
        f"Fitted on {report['images']:,} images: {report['fitted']}.",
        "",
        "| data | images | right | area under risk-coverage, softmax | gauge | difference, 95 % "
        "| calibration error, softmax | gauge |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, found in report["sets"].items():
        low, high = (1000 * value for value in found["interval"])
        areas = [f"{1000 * found[judge]['area']:.2f} ‰" for judge in ("softmax", "gauge")]
        errors = [
            f"{100 * found[judge]['calibration_error']:.1f} %" for judge in ("softmax", "gauge")
        ]
        difference = f"{1000 * found['difference']:+.2f} ({low:+.2f} to {high:+.2f})"
        cells = [f"{found['images']:,}", f"{100 * found['accuracy']:.1f} %", *areas, difference]
        lines.append(f"| {name} | {' | '.join([*cells, *errors])} |")
    return "\n".join(lines) + "\n"


def draw(report: dict[str, Any]) -> Figure:
    """The risk-coverage curves."""
    sets = report["sets"]
    figure = blank_figure(5 * len(sets), 4)
    for axis, (name, found) in zip(
        figure.subplots(1, len(sets), squeeze=False)[0], sets.items(), strict=True
    ):
        for judge, style in (("softmax", "k--"), ("gauge", "-")):
            curve = 100 * np.array(found[judge]["curve"])
            axis.plot(np.linspace(0, 100, len(curve)), curve, style, label=judge)
        axis.set(title=name, xlabel="% of images answered", ylabel="% of these wrong")
        axis.legend(fontsize="small")
    return figure


def _area(confidence: Tensor, right: Tensor, rows: Tensor) -> Tensor:
    return risk_coverage(confidence[rows], right[rows]).mean()


def _evidence(classifier: MemoryWrapClassifier, split: Split) -> tuple[Tensor, Tensor, Tensor]:
    """Signals, highest softmax probability and rightness of the predictions for labelled images."""
    bank = classifier.require_bank()
    assert bank.predicted is not None  # the classifier completes its bank
    logits, weights, alike = (part.cpu() for part in classifier.classify(split.images))
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    found = signals(logits, weights, alike, bank.predicted)
    return found, confidence, predicted == split.labels
