"""The page in a real, headless Chromium: what a person does, and what then is on the screen."""

from __future__ import annotations

import re

import pytest
import tiny
from driving import PHONE, has_new_sight, no_sideways_scrolling, pick, seen, stroke, touches, upload

expect = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect


def test_from_an_upload_to_memories_and_maps(visit, number_plate, encoded):
    tab = visit()
    expect(tab.get_by_text("No image yet.", exact=True)).to_be_visible()
    upload(tab, encoded(number_plate, "JPEG"), "plate.jpg", "image/jpeg")
    expect(tab.locator(".mw-class")).to_have_text(re.compile("|".join(tiny.CLASSES)))
    cards = tab.locator(".mw-card")
    expect(cards.first).to_be_visible()
    weights = cards.locator(".mw-number").all_inner_texts()
    values = [
        float(weight.removesuffix(" %").removeprefix("under ")) for weight in weights if weight
    ]
    assert values == sorted(values, reverse=True)
    expect(tab.locator(".mw-card.mw-supports .mw-word").first).to_have_text("▲ supports")
    expect(tab.locator("details.mw-exact")).to_contain_text("the sum is off by")
    maps = tab.locator(".mw-panel img[alt^='Map of the']")
    assert maps.count() >= 2
    for image in tab.locator(".mw-panel img").all():
        assert image.get_attribute("alt")
        assert image.evaluate("image => image.naturalWidth") == 32
    no_sideways_scrolling(tab)


def test_the_last_of_quick_clicks_gets_its_maps(visit):
    tab = visit()
    examples = tab.locator(".mw-thumbs button")
    for number in (0, 1, 2, 1, 3, 2):
        examples.nth(number).click()
        tab.wait_for_timeout(40 * number)
    expect(tab.locator("details.mw-exact")).to_contain_text("the sum is off by")
    last = seen(tab)
    shown = tab.locator(".mw-panel img").first
    expect(shown).to_have_attribute("src", last)
    examples.nth(1).click()
    has_new_sight(tab, last)
    expect(tab.locator(".mw-panel img[alt^='Map of the']").first).to_be_visible()
    expect(shown).to_have_attribute("src", seen(tab))


def test_figure_and_numbers_can_be_saved(visit):
    tab = visit()
    tab.locator(".mw-thumbs button").first.click()
    for words, start in (
        ("Save the figure", b"\x89PNG"),
        ("Save the numbers", b'{\n  "model": "digits"'),
    ):
        button = tab.get_by_role("button", name=words).or_(tab.get_by_role("link", name=words))
        expect(button.first).to_be_enabled()
        tab.locator("details.mw-exact").wait_for()
        with tab.expect_download() as download:
            button.first.click()
        with open(download.value.path(), "rb") as file:
            assert file.read().startswith(start)


def test_what_is_no_image_is_refused_and_the_next_upload_works(visit, number_plate, encoded):
    tab = visit()
    upload(tab, b"this is no image", "fake.png")
    refusal = tab.get_by_role("alert").filter(has_text="not an image that can be read")
    expect(refusal).to_be_visible()
    assert "/tmp" not in tab.locator("body").inner_text()
    upload(tab, encoded(number_plate))
    expect(tab.locator(".mw-class")).to_be_visible()
    expect(refusal).to_have_count(0)


def test_square_moves_by_mouse_keyboard_and_buttons(visit, number_plate, encoded):
    tab = visit()
    upload(tab, encoded(number_plate))
    expect(tab.locator(".mw-class")).to_be_visible()
    tab.get_by_role("button", name="Whole picture").click()
    square = tab.locator(".mw-square")
    tab.wait_for_function("document.querySelector('.mw-square').style.width === '50%'")
    before = seen(tab)
    corner = square.locator("[data-corner=se]").bounding_box()
    x, y = corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2
    assert corner["width"] >= 44 and corner["height"] >= 44
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x - 60, y - 60, steps=4)
    tab.mouse.up()
    box = square.bounding_box()
    assert box["width"] == pytest.approx(box["height"], abs=1)
    assert float(square.evaluate("s => parseFloat(s.style.width)")) < 45
    has_new_sight(tab, before)

    left = square.bounding_box()["x"]
    square.focus()
    tab.keyboard.press("Shift+ArrowRight")
    assert square.bounding_box()["x"] > left
    tab.locator("details.mw-exact").wait_for()
    tab.get_by_role("button", name="Another picture").click()
    expect(tab.get_by_text("No image yet.", exact=True)).to_be_visible()
    expect(tab.locator("#mw-photo")).to_be_visible()


def test_square_moves_under_a_finger_on_a_phone(visit):
    tab = visit(**PHONE)
    no_sideways_scrolling(tab)
    tab.locator(".mw-thumbs button").first.tap()
    expect(tab.locator(".mw-class")).to_be_attached()
    square = tab.locator(".mw-square")
    square.scroll_into_view_if_needed()
    box, before = square.bounding_box(), seen(tab)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    way = 1 if x < PHONE["viewport"]["width"] / 2 else -1  # to the side that has room
    touches(tab, *((x + way * 12 * step, y) for step in range(6)))
    assert way * (square.bounding_box()["x"] - box["x"]) > 30
    has_new_sight(tab, before)
    tab.locator("details.mw-exact").wait_for()
    no_sideways_scrolling(tab)


def test_drawing_is_answered_after_each_stroke_and_can_be_undone(visit):
    tab = visit()
    tab.get_by_role("tab", name="Draw").click()
    stroke(tab, (0.3, 0.25), (0.7, 0.25), (0.45, 0.8))
    expect(tab.locator(".mw-class")).to_be_visible()
    first = seen(tab)
    stroke(tab, (0.35, 0.5), (0.65, 0.5))
    has_new_sight(tab, first)
    tab.get_by_role("button", name="Undo").click()
    tab.wait_for_function(
        "first => document.querySelector('.mw-sees img')?.getAttribute('src') === first", arg=first
    )
    tab.get_by_role("button", name="Clear").click()
    expect(tab.get_by_text("No image yet.", exact=True)).to_be_visible()


def test_drawing_with_a_finger_does_not_scroll_the_page(visit):
    tab = visit(**PHONE)
    tab.get_by_role("tab", name="Draw").tap()
    canvas = tab.locator(".mw-paper canvas")
    canvas.scroll_into_view_if_needed()
    area, scrolled = canvas.bounding_box(), tab.evaluate("scrollY")
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] * 0.2
    touches(tab, *((x, y + 20 * step) for step in range(8)))
    expect(tab.locator(".mw-class")).to_be_attached()
    assert tab.evaluate("scrollY") == scrolled


def test_model_without_memory_says_so(visit):
    tab = visit()
    tab.locator(".mw-thumbs button").first.click()
    expect(tab.locator(".mw-card").first).to_be_visible()
    tab.locator("#mw-model input").click()
    tab.get_by_role("option", name="Plain").click()
    expect(tab.get_by_text("No memory", exact=True)).to_be_visible()
    expect(tab.locator(".mw-explanation")).to_have_count(0)
    expect(tab.get_by_role("button", name="Save the figure")).to_have_count(0)


def test_dark_colours_are_remembered(visit):
    tab = visit(color_scheme="light")
    button = tab.get_by_role("button", name="Dark colours")
    button.click()
    expect(tab.locator("body.dark")).to_be_attached()
    tab.reload()
    expect(tab.locator("body.dark")).to_be_attached()
    expect(button).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("early", [False, True])
def test_picture_is_pasted_anywhere_even_before_the_drop_zone_is_there(visit, early):
    tab = visit()
    zone = tab.locator("#mw-photo input[type=file]")
    zone.wait_for(state="attached")
    tab.evaluate(
        """async (early) => {
          const zone = document.querySelector('#mw-photo input[type=file]');
          const { parentNode: place, nextSibling: next } = zone;
          if (early) zone.remove();
          const canvas = document.createElement('canvas');
          canvas.width = canvas.height = 64;
          canvas.getContext('2d').fillRect(20, 8, 20, 48);
          const blob = await new Promise((done) => canvas.toBlob(done));
          const data = new DataTransfer();
          data.items.add(new File([blob], 'pasted.png', { type: 'image/png' }));
          document.body.dispatchEvent(
            new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
          await new Promise((done) => { setTimeout(done, 300); });
          if (early) place.insertBefore(zone, next);
        }""",
        early,
    )
    expect(tab.locator(".mw-class")).to_be_visible()


def test_other_digits_of_a_number_are_squares_to_click(visit, page, monkeypatch):
    found = [(50, 60, 170, 180), (200, 60, 320, 180), (350, 60, 470, 180)]
    monkeypatch.setattr(page.models.get("digits"), "suggest_boxes", lambda image: list(found))
    tab = visit()
    pick(tab, 0)
    expect(tab.locator(".mw-class")).to_be_visible()
    offers = tab.locator(".mw-offer")
    expect(offers).to_have_count(2)  # the first guess is where the square is
    first = seen(tab)
    tab.get_by_role("button", name="Classify this part: 3 of 3 found").click()
    has_new_sight(tab, first)
    expect(offers).to_have_count(2)
    tab.get_by_role("button", name="Classify this part: 1 of 3 found").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_function("old => document.querySelector('.mw-sees img')?.src === old", arg=first)


def test_the_memory_is_edited_and_put_back(visit):
    tab = visit()
    pick(tab, 0)
    expect(tab.locator(".mw-card").first).to_be_visible()
    tab.get_by_role("button", name="What if the memory were another?").click()
    said = tab.locator(".mw-whatif .mw-said")
    expect(said).to_have_text("Nothing is changed yet.")
    used = tab.locator(".mw-sample.mw-weighs").first
    number = used.get_attribute("data-index")
    used.click()
    expect(tab.locator(".mw-chosen")).to_contain_text(f"memory no. {number}")
    expect(tab.locator(".mw-seen")).to_contain_text(f"Memory no. {number}")
    tab.get_by_role("button", name="Take it away").press("Enter")
    gone = tab.locator(f".mw-samples [data-index='{number}']")
    expect(gone).to_have_class(re.compile("mw-gone"))
    expect(
        gone
    ).to_be_focused()  # the panel is drawn anew: who uses a keyboard stays where they were
    expect(tab.locator(".mw-whatif")).to_contain_text(f"no. {number} taken away")
    gone.click()
    tab.get_by_role("button", name="Put it back").click()
    expect(gone).not_to_have_class(re.compile("mw-gone"))
    undo = tab.get_by_role("button", name="Undo")
    undo.press("Enter")
    expect(undo).to_be_focused()
    expect(gone).to_have_class(re.compile("mw-gone"))
    tab.get_by_role("button", name="Start over").click()
    expect(said).to_have_text("Nothing is changed yet.")


def test_many_tabs_of_one_browser_are_answered(visit, page):
    """A browser has six connections to one server, whatever it shows."""
    first = visit()
    tabs = [first, *(first.context.new_page() for _ in range(7))]
    for tab in tabs[1:]:
        tab.set_default_timeout(30_000)
        tab.goto(page.url)
    for tab in tabs:
        pick(tab, 0)
        expect(tab.locator(".mw-card").first).to_be_visible()
