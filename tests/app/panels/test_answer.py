"""What the page says about a prediction."""

from __future__ import annotations

import re

import pytest
import tiny

from app.panels.answer import answer, html
from app.session import Subject
from memorywrap.trust import SIGNALS, TrustGauge


def said(offset: float) -> list[str]:
    gauge = TrustGauge(offset, (0.0,) * len(SIGNALS))
    model = tiny.classifier(trust=gauge.to_dict())
    return re.findall(r"right (\d+) times in 100", answer(model.predict(tiny.picture())))


@pytest.mark.parametrize(("offset", "often"), [(0.0, "50"), (-30.0, "1"), (30.0, "99")])
def test_the_page_says_how_often_such_an_answer_is_right_and_is_never_certain(offset, often):
    assert said(offset) == [often]


def test_without_a_gauge_the_page_claims_nothing():
    assert "times in 100" not in answer(tiny.classifier().predict(tiny.picture()))


def test_names_of_classes_are_text_and_never_markup():
    model = tiny.classifier(classes=("<b>a</b>", "'\">", "&amp;"))
    shown = answer(model.predict(tiny.picture()))
    assert "<b>" not in shown and "&lt;b&gt;a&lt;/b&gt;" in shown and "&amp;amp;" in shown


def test_both_numbers_are_explained_in_text_that_can_be_opened_without_a_mouse():
    gauge = TrustGauge(0.0, (0.0,) * len(SIGNALS))
    model = tiny.classifier(trust=gauge.to_dict())
    shown = answer(model.predict(tiny.picture()))
    assert "title=" not in shown
    details = shown[shown.index("<details") : shown.index("</details>")]
    assert "sure</strong> is how" in details and "Right 50 times in 100</strong> judges" in details


def test_the_answer_is_a_heading():
    prediction = tiny.classifier().predict(tiny.picture())
    heading = re.search("<h2>(.*)</h2>", answer(prediction))[1]
    name = prediction.classes[prediction.predicted]
    assert re.sub("<[^>]*>", "", heading) == f"The model says {name}"


def test_each_state_speaks():
    asked = Subject(b"", "digits")
    assert "No image yet" in html(None)
    assert "Looking at your picture" in html(asked)
    refused = html(Subject(b"", "digits", refusal="It is <too> small."))
    assert "No answer" in refused and "It is &lt;too&gt; small." in refused
