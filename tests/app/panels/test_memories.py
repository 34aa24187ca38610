"""What the page says about the memories behind an answer."""

from __future__ import annotations

import tiny

from app.panels.memories import html
from memorywrap.explanation.figures import percent
from memorywrap.what_if import FlipSet


def words(text: str) -> str:
    """With one space between any two words."""
    return " ".join(text.split())


def test_the_page_names_the_memories_that_hold_the_answer():
    prediction = tiny.classifier().predict(tiny.picture())
    first, second = prediction.used[:2]
    other = (prediction.predicted + 1) % 3
    said = words(html(prediction, FlipSet((first, second), other, exact=True, limit=20)))
    assert "Without these 2 memories it would say" in said
    assert said.count("to be taken away") == 2
    assert f"<strong>{prediction.classes[other]}</strong>." in said
    alone = words(html(prediction, FlipSet((first,), other, exact=True, limit=20)))
    assert "Without this memory it would say" in alone
    none = words(html(prediction, FlipSet(None, prediction.predicted, exact=False, limit=20)))
    assert "no set of up to" in none and "to be taken away" not in none


def test_a_plain_network_says_that_it_has_no_memory():
    assert "No memory" in html(tiny.classifier("std").predict(tiny.picture()))


def test_memories_that_come_in_when_others_go_are_said_to():
    prediction = tiny.classifier(memory=40).predict(tiny.picture())
    used = prediction.used
    late = next(index for index in range(40) if index not in used)
    both = FlipSet((used[0], late), prediction.predicted, exact=True, limit=20)
    assert "1 of them was not used at first: it came in when others went" in words(
        html(prediction, both)
    )
    first = FlipSet((used[0],), prediction.predicted, exact=True, limit=20)
    assert "not used at first" not in words(html(prediction, first))


def test_shares_of_certainty_and_of_weight_are_named():
    prediction = tiny.classifier().predict(tiny.picture())
    said = words(html(prediction))
    class_, index = next(pair for pair in prediction.runners_up() if pair[1] is not None)
    sure = percent(prediction.probabilities[class_])
    weight = percent(float(prediction.weights[index]))
    name = prediction.classes[class_]
    assert f"<strong>{name}</strong>, {sure} sure: its strongest memory has {weight} of the" in said
