"""`memorywrap gauge`: teaches a model doubt, and measures it on all that the page meets.

Squares that people chose, squares that the model chose in a photograph, and pictures of none of its
classes: the gauge is fitted on all three, and measured on others of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.others import letters_of, mosaics_of, render_others
from memorywrap.data.scenes import compose_scenes
from memorywrap.data.sets import Split
from memorywrap.familiarity import fit_familiarity
from memorywrap.measures.explanations import random_order
from memorywrap.measures.first_guesses import chosen_squares, first_guesses
from memorywrap.measures.reports import blank_figure
from memorywrap.trust import (
    TrustGauge,
    calibration_error,
    fit,
    judged,
    risk_coverage,
    signals,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEARNED = 10_000  # pictures of its classes that familiarity is learned from
_LEARNED_STRANGERS = 20_000  # and of none of them
_SCENES, _SCENES_TEST, _TEST_STRANGERS, _TWINS, _MOSAICS = 600, 400, 3_000, 600, 1_000
_SCENES_KNOWN = 2_400  # whose squares familiarity is learned from as well
# Pictures of none for each held-out image that the gauge is fitted on, before those go that are unlike everything
# known.
_STRANGERS = 0.35
_SURE = 0.95  # a trust that a person will rely on
_REDRAWS = 400  # bootstrap samples behind the interval of a difference
_POINTS = 101  # of a curve in the report


@torch.no_grad()
def fit_gauge(
    classifier: MemoryWrapClassifier,
    held_out: Split,
    exams: Mapping[str, Split],
    *,
    known: Tensor | None = None,
    strangers: Sequence[str] = (),
    mosaics: bool = False,
    in_scenes: bool = False,
    unlike: Mapping[str, Tensor] | None = None,
    name: str = "held out",
    seed: int = 0,
) -> tuple[TrustGauge, dict[str, Any]]:
    """Fit a gauge on half of some images, and measure it on the other half and on other images. With
    strangers, the classifier's `familiarity` is learned first, and set.

    Args:
        classifier: with a bank.
        held_out: images that it did not learn from.
        exams: other such images, by name.
        known: images of its classes to learn familiarity from, uint8 (n, 3, size, size).
        strangers: kinds of pictures that show none of its classes, of `memorywrap.data.others`.
        mosaics: whether mosaics of `known` show none either; most of the strangers are such then.
        in_scenes: whether to look for its classes, which are digits, in composed photographs too.
        unlike: further images of none of its classes, by name, to measure on only.
        name: what the held-out images are called in the report.
        seed: of the halves, of what is rendered and of the bootstrap.

    Returns:
        The gauge, and a report fit for JSON: how many images of which kind it was "fitted" on, which are
        those that it judges; "sets",
        by name what `compare` says; "strangers", by name how many images of no class there were, the
        "share" of them that is trusted by at least 0.95, and that is "unlike" everything known.

    Raises:
        ValueError: a classifier without memory, or nothing to learn from, see `trust.fit`.
    """
    if not classifier.has_memory:
        raise ValueError("this model has no memory, so there is no evidence to judge it by")
    order = random_order(len(held_out), seed)
    learned, kept = held_out.rows(order[: len(order) // 2]), held_out.rows(order[len(order) // 2 :])
    if strangers and known is not None:
        known = known[random_order(len(known), seed)[:LEARNED]]
        pieces = known if mosaics else None
        rendered = _none_of_them(_LEARNED_STRANGERS, seed, strangers, pieces)
        if in_scenes:
            more = compose_scenes(range(_SCENES, _SCENES + _SCENES_KNOWN), "learn")
            known = torch.cat([known, chosen_squares(classifier, more).images])
        ours, theirs = classifier.encode(known), classifier.encode(rendered)
        classifier.set_familiarity(
            fit_familiarity(ours, theirs, classifier.encode(learned.images), seed)
        )
    fitted = {f"{name}, one half": learned}
    tested = {f"{name}, other half": kept, **exams}
    if in_scenes:
        composed = compose_scenes(range(_SCENES), "learn")
        others_composed = compose_scenes(range(_SCENES_TEST), "test")
        for where, how in (("squares set on", chosen_squares), ("first guesses on", first_guesses)):
            fitted[f"{where} composed photographs"] = how(classifier, composed)
            tested[f"{where} other composed photographs"] = how(classifier, others_composed)
    if strangers:
        count = max(1, round(_STRANGERS * len(learned)))
        # Of other photographs than familiarity is learned from.
        pieces = learned.images if mosaics else None
        images = _none_of_them(count, seed + 1, strangers, pieces)
        fitted["pictures of nothing known"] = _of_none(images)
    evidence = [_evidence(classifier, split) for split in fitted.values()]
    gauge = fit(*(torch.cat([found[part] for found in evidence]) for part in (0, 2)))
    report: dict[str, Any] = {
        "fitted": {
            what: int(judged(found).sum())
            for what, (found, _, _) in zip(fitted, evidence, strict=True)
        },
        "sets": {
            what: compare(gauge, *_evidence(classifier, split), seed=seed)
            for what, split in tested.items()
        },
    }
    others = dict(unlike or {})
    if strangers:
        images, kinds = render_others(_TEST_STRANGERS, seed, strangers, "test")
        for kind in strangers:
            rows = [row for row, found in enumerate(kinds) if found == kind]
            others[f"{kind}s, rendered"] = images[rows]
    if mosaics:
        others["mosaics of its photographs"] = mosaics_of(kept.images, _MOSAICS, seed)
    if in_scenes and "letter" in strangers:
        images, _ = render_others(_TWINS, seed, ["letter"], "twins")
        others[f"letters like digits ({' '.join(letters_of('twins'))}), rendered"] = images
    report["strangers"] = {
        what: {"images": len(images), **_doubt(gauge, _evidence(classifier, _of_none(images))[0])}
        for what, images in others.items()
    }
    return gauge, report


def _none_of_them(count: int, seed: int, kinds: Sequence[str], pictures: Tensor | None) -> Tensor:
    """So many pictures of no class: rendered ones, and where pictures are given, twice as many mosaics of them."""
    of_pictures = 0 if pictures is None else count * 2 // 3
    images, _ = render_others(count - of_pictures, seed, kinds)
    if pictures is None:
        return images
    return torch.cat([images, mosaics_of(pictures, of_pictures, seed)])


def _of_none(images: Tensor) -> Split:
    return Split(images, torch.full((len(images),), -1))


def _doubt(gauge: TrustGauge, found: Tensor) -> dict[str, float]:
    """Shares of predictions by their signals: "trusted" by at least 0.95, "unlike" everything known."""
    given = judged(found)
    trusted = given & (gauge.probability(found) >= _SURE)
    return {"trusted": float(trusted.double().mean()), "unlike": float((~given).double().mean())}


def _doubt_in_words(found: dict[str, Any]) -> list[str]:
    return [f"{100 * found[share]:.1f} %" for share in ("trusted", "unlike")]


def compare(
    gauge: TrustGauge, found: Tensor, confidence: Tensor, right: Tensor, *, seed: int = 0
) -> dict[str, Any]:
    """The gauge beside plain confidence: area under the risk-coverage curve, to which those that the gauge does
    not judge come last, and calibration where it does.

    Args:
        gauge: a fitted one.
        found: signals (n, len(SIGNALS)) of predictions.
        confidence: (n,), the highest softmax probability.
        right: bool (n,).
        seed: of the bootstrap.

    Returns:
        "images", "accuracy", the shares "trusted" by at least 0.95 and "unlike" everything known; for
        "softmax" and "gauge" each "area", "calibration_error" and "curve"
        (share of wrong answers at evenly spaced coverages); "difference" of the areas, with its
        95 % "interval" over images drawn again.
    """
    report: dict[str, Any] = {
        "images": len(right),
        "accuracy": float(right.double().mean()),
        **_doubt(gauge, found),
    }
    given = judged(found)
    judges = {"softmax": confidence, "gauge": gauge.probability(found) * given}
    places = torch.linspace(0, len(right) - 1, _POINTS).round().long()
    for judge, probability in judges.items():
        curve = risk_coverage(probability, right)
        report[judge] = {
            "area": float(curve.mean()),
            "calibration_error": calibration_error(probability[given], right[given]),
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
    """Whether the gauge's calibration error is the smaller one everywhere, that somewhere, and its area
    under the risk-coverage curve nowhere larger by more than chance."""
    return bool(report["sets"]) and all(
        found["interval"][0] <= 0
        and found["gauge"]["calibration_error"] < found["softmax"]["calibration_error"]
        for found in report["sets"].values()
    )


def markdown(report: dict[str, Any]) -> str:
    """The report as a table for a document."""
    fitted = ", ".join(f"{what} ({count:,})" for what, count in report["fitted"].items())
    lines = [
        f"Fitted on {fitted}.",
        "",
        "| data | images | right | area under risk-coverage, softmax | gauge | difference, 95 % "
        "| calibration error, softmax | gauge | trust of 0.95 or more | unlike everything known |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, found in report["sets"].items():
        low, high = (1000 * value for value in found["interval"])
        areas = [f"{1000 * found[judge]['area']:.2f} ‰" for judge in ("softmax", "gauge")]
        errors = [
            f"{100 * found[judge]['calibration_error']:.1f} %" for judge in ("softmax", "gauge")
        ]
        difference = f"{1000 * found['difference']:+.2f} ({low:+.2f} to {high:+.2f})"
        cells = [f"{found['images']:,}", f"{100 * found['accuracy']:.1f} %", *areas, difference]
        lines.append(f"| {name} | {' | '.join([*cells, *errors, *_doubt_in_words(found)])} |")
    if report["strangers"]:
        lines += [
            "",
            "| pictures of none of its classes | images | trust of 0.95 or more "
            "| unlike everything known |",
            "| --- | ---: | ---: | ---: |",
        ]
    for name, found in report["strangers"].items():
        lines.append(f"| {name} | {found['images']:,} | {' | '.join(_doubt_in_words(found))} |")
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
    queries = classifier.encode(split.images)
    logits, weights, alike = (part.cpu() for part in classifier.read(queries, bank))
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    familiarity = classifier.familiarity
    known = None if familiarity is None else familiarity(queries)
    found = signals(logits, weights, alike, bank.predicted, known)
    return found, confidence, predicted == split.labels
