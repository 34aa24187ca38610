"""Colours: one record for the maps, the style sheet and the words."""

from __future__ import annotations

import re

import pytest
import tiny

from app.panels.maps import explained
from app.theme import _luminance, colour_properties, shade
from memorywrap.explanation import figures


@pytest.mark.parametrize("behind", [(255, 255, 255), (241, 245, 249), (30, 41, 59), (0, 0, 0)])
@pytest.mark.parametrize("colour", [(0, 90, 200), (220, 100, 0), (128, 128, 128), (250, 250, 60)])
def test_shades_stand_out_from_what_is_behind_them(colour, behind):
    darker, lighter = sorted((_luminance(shade(colour, behind, 4.5)), _luminance(behind)))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def test_a_colour_that_stands_out_stays_as_it_is():
    assert shade((0, 0, 0), (255, 255, 255), 4.5) == (0, 0, 0)


def test_the_luminance_of_white_is_one():
    assert _luminance((255, 255, 255)) == pytest.approx(1)
    assert _luminance((255, 0, 0)) == pytest.approx(0.2126)


def test_the_style_sheet_has_the_colours_of_the_maps():
    found = dict(re.findall(r"--mw-(\w+)-map: rgb\((.*?)\)", colour_properties()))
    sides = {"supports": figures.SUPPORT, "opposes": figures.OPPOSE}
    assert found == {name: "{} {} {}".format(*side.rgb) for name, side in sides.items()}


def test_the_words_are_those_of_the_record():
    shown = explained(tiny.classifier().explain(tiny.picture(), method="saliency"))
    assert f"{figures.SUPPORT.word} pixels support the answer" in shown
    assert f"{figures.OPPOSE.word} {figures.OPPOSE.verb}" in shown
