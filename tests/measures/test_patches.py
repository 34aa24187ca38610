"""What is reported of patch counterfactuals is what the search finds, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

from memorywrap.data.sets import Split
from memorywrap.measures.patches import measure_patches
from memorywrap.patches import patch_counterfactual

pytestmark = pytest.mark.slow

COUNT = 6
IMAGES, LABELS = tiny.images(COUNT, seed=11)


@pytest.fixture
def model():
    return tiny.classifier(memory=24)


def test_it_reports_how_many_are_found_and_how_small_they_are(model) -> None:
    report = measure_patches(model, Split(IMAGES, LABELS), images=COUNT)
    each = [patch_counterfactual(model, one) for one in model.predict_inputs(list(IMAGES))]
    sizes = [len(patch.cells) for patch in each if patch is not None]
    assert report["found"]["images"] == COUNT
    assert report["found"]["percent"] == pytest.approx(100 * len(sizes) / COUNT, abs=0.01)
    assert report["cells"]["median"] == np.median(sizes)
    low, high = report["milliseconds"]["quartiles"]
    assert 0 < low <= report["milliseconds"]["median"] <= high
    assert "changed" not in report


def test_asked_itself_a_model_follows_every_one_and_seldom_the_same_number_of_cells_elsewhere(
    model,
):
    report = measure_patches(model, Split(IMAGES, LABELS), images=COUNT, second=model)
    found = round(report["found"]["percent"] / 100 * COUNT)
    assert report["changed"] == report["followed"]
    assert report["followed"]["percent"] == 100 and report["followed"]["images"] == found
    assert report["followed by chance"]["percent"] < 100


def test_a_second_model_sees_the_pictures_in_its_own_size(model) -> None:
    second = tiny.classifier(memory=24, image_size=64)
    alone = measure_patches(model, Split(IMAGES, LABELS), images=COUNT, second=second)
    assert alone["changed"]["images"] > 0


def test_only_those_are_counted_that_the_second_model_answers_alike(model) -> None:
    second = tiny.classifier(memory=24, seed=7)
    report = measure_patches(model, Split(IMAGES, LABELS), images=COUNT, second=second)
    first = [one.predicted for one in model.predict_inputs(list(IMAGES))]
    alike = [
        one.predicted == answer
        for one, answer in zip(second.predict_inputs(list(IMAGES)), first, strict=True)
    ]
    assert report["changed"]["images"] == sum(alike) < COUNT


def test_a_second_model_of_other_classes_is_refused(model) -> None:
    second = tiny.classifier(classes=("a", "b", "c"))
    with pytest.raises(ValueError, match="other classes"):
        measure_patches(model, Split(IMAGES, LABELS), images=1, second=second)
