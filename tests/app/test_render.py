"""What the page says about a prediction."""

from __future__ import annotations

import re

import pytest
import tiny

from app import render
from memorywrap.trust import SIGNALS, TrustGauge


def said(offset: float) -> list[str]:
    gauge = TrustGauge(offset, (0.0,) * len(SIGNALS))
    model = tiny.classifier(trust=gauge.to_dict())
    return re.findall(r"right (\d+) times in 100", render.answer(model.predict(tiny.picture())))


@pytest.mark.parametrize(("offset", "often"), [(0.0, "50"), (-30.0, "1"), (30.0, "99")])
def test_the_page_says_how_often_such_an_answer_is_right_and_is_never_certain(offset, often):
    assert said(offset) == [often]


def test_without_a_gauge_the_page_claims_nothing():
    assert "times in 100" not in render.answer(tiny.classifier().predict(tiny.picture()))
