"""A finger on the picture: it scrolls, taps, drags the square, or pinches it."""

from __future__ import annotations

import pytest
from driving import PHONE, has_new_sight, pick, pinch, seen, touches

expect = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect


@pytest.fixture
def tab(visit):
    """A phone with an answered example whose square leaves room on the left or the right."""
    tab = visit(**PHONE)
    pick(tab, 0)
    tab.locator("details.mw-exact").wait_for(state="attached")
    tab.evaluate("document.querySelector('.mw-frame').scrollIntoView({block: 'center'})")
    return tab


def _place(tab):
    return tab.locator(".mw-square").get_attribute("style")


def _beside(tab) -> tuple[float, float]:
    """A point of the picture that is far from the square and its corners."""
    frame, square = (tab.locator(name).bounding_box() for name in (".mw-frame", ".mw-square"))
    left = square["x"] - frame["x"] > frame["width"] - (square["x"] - frame["x"]) - square["width"]
    x = frame["x"] + (12 if left else frame["width"] - 12)
    return x, frame["y"] + frame["height"] - 12


def test_swipe_over_the_picture_scrolls_the_page_and_leaves_the_square(tab):
    place, before, scrolled = _place(tab), seen(tab), tab.evaluate("scrollY")
    x, y = _beside(tab)
    touches(tab, *((x, y - 15 * step) for step in range(9)))
    tab.wait_for_function("before => scrollY > before + 40", arg=scrolled)
    tab.wait_for_timeout(500)
    assert _place(tab) == place
    assert seen(tab) == before


def test_tap_brings_the_square(tab):
    place, before = _place(tab), seen(tab)
    touches(tab, _beside(tab))
    has_new_sight(tab, before)
    assert _place(tab) != place


def test_two_fingers_resize_the_square_where_it_is(tab):
    before = seen(tab)
    area = (
        "s => [parseFloat(s.style.width), parseFloat(s.style.left) + parseFloat(s.style.width) / 2]"
    )
    square = tab.locator(".mw-square")
    width, middle = square.evaluate(area)
    box = square.bounding_box()
    at = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    pinch(tab, at, before=40, after=60)
    has_new_sight(tab, before)
    wider, still = square.evaluate(area)
    assert wider == pytest.approx(1.5 * width, rel=0.05)
    assert still == pytest.approx(middle, abs=1.5)


def test_square_tells_its_place_and_size(tab):
    square = tab.get_by_role("slider", name="The part to classify")
    before = square.get_attribute("aria-valuetext")
    assert "% from the left" in before and "pixels wide" in before
    square.focus()
    tab.keyboard.press("-")
    assert square.get_attribute("aria-valuetext") != before
