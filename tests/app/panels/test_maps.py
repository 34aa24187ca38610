"""What the page says about maps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny

from app.panels.maps import explained, without_maps
from memorywrap.explanation import baselines, integrated_gradients
from memorywrap.explanation.baselines import BASELINES


@pytest.fixture
def model():
    model = tiny.classifier(classes=("dog, brown", "green", "blue"), memory=20)
    model.bank.predicted.copy_(model.bank.labels)
    return model


def test_a_comma_in_the_name_of_a_class_stays_in_its_line(model):
    prediction = model.predict(tiny.picture())
    of_class = model.bank.labels.tolist().index(0)
    weights = prediction.weights * 0
    weights[of_class] = 1.0
    prediction = replace(prediction, weights=weights)
    shown = explained(model.explain(prediction, steps=2))
    assert "labelled dog, brown, predicted dog, brown<br>weight" in shown


def test_a_baseline_that_nobody_has_described_is_named(model, monkeypatch):
    monkeypatch.setitem(BASELINES, "lime", ("white",))
    shown = " ".join(explained(model.explain(tiny.picture(), baseline="lime", steps=4)).split())
    assert "on the way from its lime baseline to this one" in shown


@pytest.mark.parametrize("baseline", list(BASELINES))
def test_every_baseline_has_words(baseline):
    assert baseline in baselines._WORDS


def test_maps_keep_their_place_until_they_are_there(model):
    prediction = model.predict(tiny.picture())
    before = without_maps(prediction)
    after = explained(
        model.explain(prediction, steps=2),
        model.explain(prediction, against=prediction.rival, steps=2),
    )
    for mark in ("mw-pair", "<h3>", "<br>"):
        assert before.count(mark) == after.count(mark) > 0
    assert "on their way" in before and "on their way" not in after
    assert "Map of the" not in before


def test_a_sum_that_is_off_is_said_and_warned_of(model, monkeypatch):
    monkeypatch.setattr(integrated_gradients, "MAX_STEPS", 12)
    monkeypatch.setattr(integrated_gradients, "TOLERANCE", 0.0)
    explanation = model.explain(tiny.picture())
    shown = " ".join(explained(explanation).split())
    assert "the sum is off by" in shown and "does not prove" in shown
    assert shown.count("Read the maps of “which pixels mattered” with care") == 1


def test_a_method_without_a_sum_says_so(model):
    shown = explained(model.explain(tiny.picture(), method="saliency"))
    assert "saliency gives no sum" in shown and "off by" not in shown


def test_maps_that_fail_say_so_and_leave_the_answer(model):
    shown = " ".join(without_maps(model.predict(tiny.picture()), failed=True).split())
    assert "The maps could not be made." in shown and 'role="alert"' in shown
    assert "on their way" not in shown and "mw-busy" not in shown
