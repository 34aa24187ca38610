"""What the page says about the memories behind an answer."""

from __future__ import annotations

import tiny

from app.panels.memories import html
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
