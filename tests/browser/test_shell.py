"""What stands around the page: style that applies on every medium, and one language."""

from __future__ import annotations

from urllib.request import urlopen

import pytest
from driving import PHONE, pick

expect = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect


def _style(tab, selector, name):
    script = "([selector, name]) => getComputedStyle(document.querySelector(selector))[name]"
    return tab.evaluate(script, [selector, name])


def test_rules_for_a_medium_apply(visit):
    tab = visit(**PHONE)  # which asks for reduced motion, too
    assert _style(tab, ".main.fillable", "paddingLeft") == "16px"
    tab.evaluate(
        "document.querySelector('#mw-result').insertAdjacentHTML('beforeend', '<i class=mw-busy>')"
    )
    assert _style(tab, ".mw-busy", "animationName") == "none"
    tab.emulate_media(reduced_motion="no-preference")
    assert _style(tab, ".mw-busy", "animationName") == "mw-sheen"
    tab.set_viewport_size({"width": 1440, "height": 900})
    assert _style(tab, ".main.fillable", "paddingLeft") == "24px"


def test_page_is_english_whatever_the_browser_speaks(visit):
    tab = visit(locale="de-DE")
    pick(tab, 0)
    expect(tab.locator(".mw-card").first).to_be_visible()
    assert tab.evaluate("document.documentElement.lang") == "en"
    expect(tab.locator("footer .show-api")).to_contain_text("Use via API")


def test_previews_of_a_link_name_the_page_and_no_other_host(page):
    with urlopen(page.url) as answer:
        html = answer.read().decode("utf-8")
    assert '<meta property="og:title" content="Memory Wrap">' in html
    assert "header-image" not in html
    assert html.count("og:title") == 1
