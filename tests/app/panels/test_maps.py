"""What the page says about maps."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny

from app.panels import maps
from app.panels.maps import Maps, explained, without_maps
from app.session import Session, Subject
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


def test_the_place_in_the_line_is_told_and_left_by_whoever_turns_away(model, monkeypatch, tmp_path):
    monkeypatch.setattr(maps, "_PATIENCE", 0.01)
    monkeypatch.setattr(maps, "get_upload_folder", lambda: str(tmp_path))
    prediction = model.predict(tiny.picture())
    first, second = Future(), Future()
    places = iter([3, 3, 1])
    models = SimpleNamespace(
        get=lambda name: model,
        explain_meanwhile=lambda *asked, against=None, **settings: second if against else first,
        maps=SimpleNamespace(ahead=lambda future: next(places)),
    )
    panel = Maps.__new__(Maps)
    panel._story, panel.html = SimpleNamespace(models=models), "html"
    session = Session(subject=Subject(tmp_path, "tiny", prediction=replace(prediction)))
    coming = panel.explained(session, "integrated_gradients", "border", 0)
    assert "3 of other visitors come first" in next(coming)["html"]
    assert "1 of other visitors comes first" in next(coming)["html"]  # said where it changes
    assert not first.cancelled()
    coming.close()
    assert first.cancelled()
