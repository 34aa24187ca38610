"""The report on explanations, on a tiny model: whole, fit for JSON, and right where known by hand."""

from __future__ import annotations

import json

import pytest
import tiny

from memorywrap.data.sets import Split
from memorywrap.explanation.methods import INTEGRATED_GRADIENTS
from memorywrap.explanation.quadrature import PANEL_STEPS, first_panels
from memorywrap.measures import explanation_report
from memorywrap.measures.explanation_report import FILLS, Sizes

pytestmark = pytest.mark.slow

SIZES = Sizes(images=3, curves=2, perturbed=1, redraws=2, planted=3)
METHODS = [INTEGRATED_GRADIENTS, "saliency"]  # the slow ones have their tests elsewhere


@pytest.fixture(scope="module")
def report():
    model = tiny.classifier(memory=12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explanation_report, "methods", lambda: METHODS)
        return explanation_report.measure_explanations(
            model, Split(*tiny.images(6, 1)), Split(*tiny.images(30, 2)), SIZES, progress=False
        )


def test_everything_is_measured_as_often_as_asked(report):
    assert len(report["completeness"]["errors"]) == 3
    assert set(report["methods"]) == {*METHODS, "random order"}
    assert len(report["culprits"]["areas"]["by contribution"]) == 2
    assert len(report["agreement"]["auxiliary memory"]["explanation_accuracy"]) == 2
    assert json.loads(json.dumps(report)) == report


def test_curves_begin_and_end_where_they_must(report):
    found = report["methods"]
    for fill in FILLS:
        deletion, insertion = f"deletion, {fill}", f"insertion, {fill}"
        whole, *_, nothing = found["saliency"]["curves"][deletion]
        for method, curves in ((name, one["curves"]) for name, one in found.items()):
            assert curves[deletion][0] == pytest.approx(whole), method
            assert curves[insertion][-1] == pytest.approx(whole), method
            assert curves[deletion][-1] == pytest.approx(nothing), method
            assert curves[insertion][0] == pytest.approx(nothing), method
    starts = {curve[0] for curve in report["memory_deletion"].values()}
    assert max(starts) == pytest.approx(min(starts))


def test_randomised_weights_reach_down_to_the_first_layer(report):
    for method, found in report["randomisation"].items():
        assert found["layers"][-1] == "encoder.layers.0.0", method
        assert all(-1 <= value <= 1 for value in found["correlation"])


def test_maps_are_made_in_the_steps_of_the_page(report):
    """Automatic ones: never fewer than the first panels take."""
    least = len(first_panels()) * PANEL_STEPS
    taken = report["methods"][INTEGRATED_GRADIENTS]["steps"]
    assert taken == report["completeness"]["steps"][: SIZES.curves]  # of the same images
    for steps in (taken, report["completeness"]["steps"], report["culprits"]["steps"]):
        assert all(count >= least and count % PANEL_STEPS == 0 for count in steps)
    assert len(report["culprits"]["steps"]) == SIZES.redraws * SIZES.culprit_images
    assert report["methods"]["saliency"]["steps"] == []


def test_sizes_are_no_larger_than_the_test_set():
    assert Sizes().within(4) == Sizes(images=4, curves=4, perturbed=4)
    assert Sizes().within(10_000) == Sizes()
