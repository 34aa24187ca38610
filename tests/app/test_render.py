"""What the page says about a prediction."""

from __future__ import annotations

import re

import pytest
import tiny

from app import render
from memorywrap.trust import SIGNALS, TrustGauge
from memorywrap.what_if import FlipSet


def said(offset: float) -> list[str]:
    gauge = TrustGauge(offset, (0.0,) * len(SIGNALS))
    model = tiny.classifier(trust=gauge.to_dict())
    return re.findall(r"right (\d+) times in 100", render.answer(model.predict(tiny.picture())))


@pytest.mark.parametrize(("offset", "often"), [(0.0, "50"), (-30.0, "1"), (30.0, "99")])
def test_the_page_says_how_often_such_an_answer_is_right_and_is_never_certain(offset, often):
    assert said(offset) == [often]


def test_without_a_gauge_the_page_claims_nothing():
    assert "times in 100" not in render.answer(tiny.classifier().predict(tiny.picture()))


def test_the_page_names_the_memories_that_hold_the_answer():
    prediction = tiny.classifier().predict(tiny.picture())
    first, second = prediction.used[:2]
    other = (prediction.predicted + 1) % 3
    said = render.memories(prediction, FlipSet((first, second), other, exact=True, limit=20))
    assert "Without these 2 memories it would say" in said
    assert said.count("to be taken away") == 2
    assert f"<strong>{prediction.classes[other]}</strong>." in said
    alone = render.memories(prediction, FlipSet((first,), other, exact=True, limit=20))
    assert "Without this memory it would say" in alone
    none = render.memories(prediction, FlipSet(None, prediction.predicted, exact=False, limit=20))
    assert "no set of up to" in none and "to be taken away" not in none
