"""The page without a mouse, without sight, from the last row, on any screen."""

from __future__ import annotations

import pytest
from driving import no_sideways_scrolling, pick

expect = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect

_WIDTHS = [320, 390, 768, 1024, 1060, 1440, 1920]
_SHIFTS = """window.shifts = 0;
// The square that goes to the first guess is no jump of the page.
const inPicture = ({ node }) => !node || (node.nodeType === 1 ? node : node.parentElement)?.closest('.mw-frame');
new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
  if (!entry.hadRecentInput && !entry.sources.every(inPicture)) window.shifts += entry.value;
})).observe({ type: 'layout-shift', buffered: true });"""


def test_first_stop_of_the_tab_key_leads_to_the_answer(visit):
    tab = visit()
    tab.keyboard.press("Tab")
    link = tab.get_by_role("link", name="Skip to the answer")
    expect(link).to_be_focused()
    expect(link).to_be_in_viewport()
    tab.keyboard.press("Enter")
    expect(tab.locator("#mw-result")).to_be_focused()


@pytest.mark.parametrize("width", [390, 1440])
def test_the_buttons_of_the_page_stand_in_one_row_with_its_title(visit, width):
    tab = visit(viewport={"width": width, "height": 800})
    boxes = [tab.locator(part).bounding_box() for part in ("#mw-large", "#mw-dark", ".mw-title")]
    middles = [box["y"] + box["height"] / 2 for box in boxes]
    assert max(middles) - min(middles) < 30
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]


def test_focus_is_never_lost(visit):
    tab = visit()
    pick(tab, 0)
    expect(tab.locator(".mw-card").first).to_be_visible()
    tab.get_by_role("button", name="Another picture").focus()
    tab.keyboard.press("Enter")
    drop = tab.get_by_role("button", name="Drop a photo here")  # called by what is seen
    expect(drop).to_be_focused()
    tab.locator("#mw-model input").focus()
    for key in ("ArrowDown", "Enter"):
        tab.keyboard.press(key)
    tab.wait_for_timeout(300)
    assert tab.evaluate("Boolean(document.activeElement.closest('#mw-model'))")


def test_arrow_keys_go_from_tab_to_tab(visit):
    tab = visit()
    tab.get_by_role("tab", name="Photo").focus()
    tab.keyboard.press("ArrowRight")
    expect(tab.get_by_role("tab", name="Draw")).to_be_focused()
    expect(tab.locator(".mw-paper canvas")).to_be_visible()


def test_a_list_closes_behind_who_tabs_on(visit):
    tab = visit()
    tab.get_by_text("Settings").click()
    field = tab.get_by_label("How the maps are made")
    field.focus()
    expect(tab.get_by_role("listbox")).to_be_visible()
    field.press("Tab")
    expect(tab.get_by_role("listbox")).to_be_hidden()


def test_answers_are_told_in_one_place_that_is_there_from_the_start(visit):
    tab = visit()
    place = tab.locator("#mw-status")
    expect(place).to_have_attribute("role", "status")
    expect(place).to_have_text("")
    pick(tab, 0)
    expect(place).to_contain_text("The model says")
    assert tab.locator(".mw-class").inner_text() in place.inner_text()
    # As the answer has it for what is unlike everything known, which this model cannot tell.
    tab.evaluate(
        "document.querySelector('.mw-answer').insertAdjacentHTML('afterbegin',"
        " '<div class=mw-unlike><p><strong>This is unlike it.</strong></p></div>')"
    )
    expect(place).to_contain_text("This is unlike it. The model says")
    tab.locator(".mw-unlike").evaluate("found => found.remove()")


@pytest.mark.parametrize("width", _WIDTHS)
def test_every_width_has_its_bars_and_does_not_jump(visit, width):
    tab = visit(viewport={"width": width, "height": 844})
    tab.evaluate(_SHIFTS)
    seen = [-1.0]
    while len(set(seen[-3:])) > 1 or len(seen) < 4:  # the page itself is still being built
        tab.wait_for_timeout(500)
        seen.append(tab.evaluate("window.shifts"))
    tab.evaluate("window.shifts = 0")
    pick(tab, 0)
    tab.locator("details.mw-exact").wait_for(state="attached")
    assert tab.evaluate("window.shifts") < 0.02
    assert tab.locator(".mw-rows .mw-bar").first.bounding_box()["width"] > 60
    assert tab.locator(".mw-thumbs button").first.bounding_box()["width"] >= 44
    no_sideways_scrolling(tab)


def _boxes(tab, selector):
    script = (
        "nodes => nodes.map(n => n.getBoundingClientRect()).map(b => [b.x, b.y, b.right, b.bottom])"
    )
    return tab.locator(selector).evaluate_all(script)


def test_large_type_keeps_picture_and_answer_side_by_side_and_is_remembered(visit):
    tab = visit(viewport={"width": 960, "height": 540})
    tab.get_by_role("button", name="Large type").click()
    pick(tab, 0)
    expect(tab.locator(".mw-card").first).to_be_visible()
    tab.reload()
    pick(tab, 0)
    expect(tab.locator(".mw-card").first).to_be_visible()
    (left,), (right,) = _boxes(tab, "#mw-input"), _boxes(tab, "#mw-result")
    assert left[1] == pytest.approx(right[1], abs=1)
    assert left[2] < right[0]
    kicker = tab.locator(".mw-kicker").first
    assert float(kicker.evaluate("node => parseFloat(getComputedStyle(node).fontSize)")) > 18
    no_sideways_scrolling(tab)


def test_nothing_overlaps_where_the_browser_doubles_the_type(visit):
    tab = visit(viewport={"width": 1280, "height": 720})
    tab.evaluate("document.documentElement.style.fontSize = '200%'")
    pick(tab, 0)
    expect(tab.locator(".mw-card").first).to_be_visible()
    for selector in (".mw-card", ".mw-tools button:visible", ".mw-answer > :visible"):
        boxes = _boxes(tab, selector)
        for one in boxes:
            for other in boxes:
                apart = one[2] <= other[0] + 1 or one[3] <= other[1] + 1
                assert one is other or apart or other[2] <= one[0] + 1 or other[3] <= one[1] + 1
    spilt = "nodes => nodes.filter(n => n.scrollWidth > n.clientWidth + 1).length"
    assert tab.locator(".mw-card, .mw-tools button:visible").evaluate_all(spilt) == 0


def test_bars_and_the_chosen_tab_are_seen_in_forced_colours(visit):
    tab = visit(forced_colors="active")
    pick(tab, 0)
    expect(tab.locator(".mw-card").first).to_be_visible()
    fill = "n => getComputedStyle(n).backgroundColor"
    bar = tab.locator(".mw-rows .mw-bar").first
    assert bar.locator("i").evaluate(fill) != bar.evaluate(fill)
    chosen = tab.locator("#mw-input [role=tab][aria-selected=true]")
    assert chosen.evaluate("n => getComputedStyle(n).outlineStyle") == "solid"
