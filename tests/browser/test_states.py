"""What the page says in each of its states, and that quick clicks do not mix them up."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from driving import PHONE, choose_model, no_sideways_scrolling, pick, seen, stroke, upload

from memorywrap import MemoryWrapClassifier
from memorywrap.explanation import integrated_gradients as attribution

expect = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect

_CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")


@pytest.fixture
def model(page):
    return page.models.get("digits")


@pytest.fixture
def held(monkeypatch, model):
    """Explanations wait until this is set; its `begun` is set when one is asked for, its `done` when
    one has been made."""
    gate, explain = threading.Event(), model.explain
    gate.begun, gate.done = threading.Event(), threading.Event()

    def wait(*args, **kwargs):
        gate.begun.set()
        gate.wait(20)
        explanation = explain(*args, **kwargs)
        gate.done.set()
        return explanation

    monkeypatch.setattr(model, "explain", wait)
    yield gate
    gate.set()


@pytest.fixture
def one_sided(monkeypatch, model):
    """Predictions as if they had used their example only, so that nothing speaks against them."""
    predict_inputs = model.predict_inputs

    def alone(prediction):
        weights = torch.zeros_like(prediction.weights)
        weights[prediction.example] = 1.0
        return replace(prediction, weights=weights)

    monkeypatch.setattr(
        model, "predict_inputs", lambda *args: [alone(one) for one in predict_inputs(*args)]
    )


def maps(tab):
    return tab.locator(".mw-panel img[alt^='Map of the']")


@pytest.mark.parametrize("has_counterfactual", [True, False])
def test_answer_comes_before_the_maps_and_nothing_moves_when_they_arrive(
    visit, held, request, has_counterfactual
):
    if not has_counterfactual:
        request.getfixturevalue("one_sided")
    tab = visit()
    pick(tab, 3)
    expect(tab.locator(".mw-card").first).to_be_visible()
    expect(tab.locator(".mw-busy")).to_have_count(3)
    expect(maps(tab)).to_have_count(0)
    # One answer of the server fills several parts of the page, one after the other.
    expect(tab.locator("#mw-downloads button:visible")).to_have_count(2)
    places = "[...document.querySelectorAll('#mw-result section, .mw-pair, #mw-downloads')]"
    where = f"{places}.map((part) => Math.round(part.getBoundingClientRect().top))"
    before = tab.evaluate(where)
    held.set()
    expect(maps(tab)).to_have_count(3)
    assert tab.evaluate(where) == before


def test_each_memory_says_label_predicted_class_side_and_weight(visit, model):
    tab = visit()
    pick(tab, 0)
    card = tab.locator(".mw-card.mw-supports").first
    for words in ("predicted ", "supports", " %"):
        expect(card).to_contain_text(words)
    expect(tab.locator(".mw-card.mw-opposes .mw-word").first).to_have_text("▼ opposes")
    heads = tab.locator(".mw-panel h3")
    expect(heads).to_have_text(["input", "example", "counterfactual"])


def test_the_answer_is_set_against_its_rival_and_the_next_answers_are_shown(visit, model):
    tab = visit()
    pick(tab, 0)
    rivalry = tab.locator(".mw-rivalry")
    expect(rivalry.locator("img[alt^='Pixels of the']")).to_have_count(2)
    words = rivalry.locator("h3").inner_text()
    first, _, second = words.removeprefix("why ").removesuffix("?").partition(" and not ")
    assert first == tab.locator(".mw-class").inner_text() != second
    assert {first, second} < set(model.config.classes)
    expect(tab.locator(".mw-next li")).to_have_count(2)


def test_without_counterfactual_the_page_says_so_and_maps_a_contrast(visit, one_sided):
    tab = visit()
    pick(tab, 0)
    expect(maps(tab)).to_have_count(3)
    expect(tab.get_by_text("No counterfactual in memory.")).to_be_visible()
    expect(tab.locator(".mw-panel h3")).to_have_text(["input", "example", "contrast"])
    expect(tab.locator(".mw-panel").last).to_contain_text("weight 0, not used")


def test_maps_that_miss_the_score_come_with_a_warning(visit, monkeypatch):
    monkeypatch.setattr(attribution, "MAX_STEPS", 12)
    monkeypatch.setattr(attribution, "TOLERANCE", 0.0)
    tab = visit()
    pick(tab, 0)
    warnings = tab.locator(".mw-warning")
    expect(warnings).to_have_count(2)  # of the plain maps, and of those against the rival
    expect(warnings.first).to_contain_text("Read the maps of “why ")
    expect(warnings.last).to_contain_text("Read the maps of “which pixels mattered” with care")


def test_maps_that_fail_leave_the_answer_and_come_when_asked_again(visit, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no memory left")

    with monkeypatch.context() as broken:
        broken.setattr(MemoryWrapClassifier, "explain", fail)
        tab = visit()
        pick(tab, 0)
        expect(tab.locator(".mw-warning")).to_contain_text("The maps could not be made.")
        expect(tab.get_by_text("on their way")).to_have_count(0)
        expect(tab.locator(".mw-class")).to_be_visible()
    pick(tab, 1)
    expect(maps(tab)).to_have_count(3)
    expect(tab.get_by_text("The maps could not be made.")).to_have_count(0)


def test_settings_take_effect_at_once_and_methods_without_a_sum_say_so(visit):
    tab = visit()
    pick(tab, 0)
    tab.locator("details.mw-exact").wait_for()
    tab.get_by_role("button", name="Settings").click()
    tab.get_by_label("How the maps are made").click()
    tab.get_by_role("option", name="saliency").click()
    expect(tab.locator("p.mw-exact")).to_contain_text("saliency gives no sum")
    expect(maps(tab)).to_have_count(3)


def test_model_whose_memory_is_missing_says_so_in_place_of_the_answer(visit):
    tab = visit()
    pick(tab, 0)
    tab.locator(".mw-card").first.wait_for()
    choose_model(tab, "Later (no memory yet)")
    expect(tab.locator("#mw-result")).to_contain_text("has no memory yet")
    expect(tab.locator(".mw-card")).to_have_count(0)
    choose_model(tab, "Random")
    expect(tab.locator(".mw-card").first).to_be_visible()


def test_explain_without_an_image_asks_for_one(visit):
    tab = visit()
    tab.get_by_role("button", name="Go to the maps").click()
    expect(tab.get_by_role("alert")).to_contain_text("There is no image yet")
    pick(tab, 0)
    expect(tab.locator(".mw-class")).to_be_visible()
    expect(tab.get_by_role("alert")).to_have_count(0)


def test_file_over_ten_megabytes_is_refused_before_it_is_sent(visit):
    tab = visit()
    upload(tab, bytes(11 * 2**20))
    expect(tab.get_by_role("alert")).to_have_text(
        "The file is over 10 MB: please choose a smaller one."
    )
    pick(tab, 0)
    expect(tab.locator(".mw-class")).to_be_visible()
    expect(tab.get_by_role("alert")).to_have_count(0)


def test_refused_file_leaves_the_picture_of_before(visit):
    tab = visit()
    pick(tab, 0)
    expect(tab.locator(".mw-card").first).to_be_visible()
    upload(tab, b"no image")
    expect(tab.get_by_role("alert")).to_contain_text("not an image")
    expect(maps(tab)).to_have_count(3)
    tab.get_by_role("button", name="Whole picture").click()
    expect(tab.get_by_role("alert")).to_have_count(0)
    expect(maps(tab)).to_have_count(3)


def test_the_last_of_quick_clicks_is_what_stays(visit, model, monkeypatch):
    tab = visit()
    pick(tab, 1)
    tab.locator("details.mw-exact").wait_for()
    wanted = seen(tab)
    predict = model.predict

    delays = [0.4] * 4

    def slow(*args, **more):
        time.sleep(delays.pop(0) if delays else 0)
        return predict(*args, **more)

    monkeypatch.setattr(model, "predict", slow)
    for number in (0, 3, 2, 1):
        pick(tab, number)
    tab.wait_for_function(
        "want => document.querySelector('.mw-sees img')?.src === want", arg=wanted
    )
    expect(maps(tab)).to_have_count(3)
    shown = tab.locator(".mw-panel img[alt='The input']")
    assert shown.get_attribute("src") == seen(tab) == wanted

    delays[:] = [2.5]
    pick(tab, 0)
    choose_model(tab, "Plain")  # answers at once, while the other model is still at it
    expect(tab.get_by_text("No memory", exact=True)).to_be_visible()
    tab.wait_for_timeout(2500)
    expect(tab.get_by_text("No memory", exact=True)).to_be_visible()
    expect(tab.locator(".mw-explanation")).to_have_count(0)


def test_maps_of_a_picture_that_was_left_do_not_arrive(visit, held):
    tab = visit()
    pick(tab, 0)
    assert held.begun.wait(30)
    tab.get_by_role("button", name="Another picture").click()
    expect(tab.get_by_text("No image yet.", exact=True)).to_be_visible()
    held.set()
    assert held.done.wait(30)
    tab.wait_for_timeout(700)
    expect(tab.locator(".mw-explanation")).to_have_count(0)


def test_drawing_and_photo_take_each_others_place(visit):
    tab = visit()
    pick(tab, 0)
    tab.locator(".mw-card").first.wait_for()
    photo = seen(tab)
    tab.get_by_role("tab", name="Draw").click()
    stroke(tab, (0.5, 0.2), (0.5, 0.8))
    tab.wait_for_function("old => document.querySelector('.mw-sees img')?.src !== old", arg=photo)
    tab.get_by_role("tab", name="Photo").click()
    expect(tab.locator("#mw-photo")).to_be_visible()
    expect(tab.locator(".mw-square")).to_have_count(0)
    pick(tab, 0)
    expect(tab.locator(".mw-square")).to_be_visible()
    tab.get_by_role("tab", name="Draw").click()
    expect(tab.get_by_text("Draw here")).to_be_visible()


def test_everything_is_reached_by_keyboard(visit):
    tab = visit()

    def tab_to(selector):
        for _ in range(40):
            tab.keyboard.press("Tab")
            if tab.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"the Tab key does not reach {selector}")

    tab_to(".mw-thumbs button")
    tab.keyboard.press("Enter")
    expect(tab.locator(".mw-square")).to_be_visible()
    tab.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    tab_to(".mw-square")
    before, width = seen(tab), tab.locator(".mw-square").bounding_box()["width"]
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.keyboard.press("-")
    tab.keyboard.press("ArrowLeft")
    assert tab.locator(".mw-square").bounding_box()["width"] < width
    tab.wait_for_function("old => document.querySelector('.mw-sees img')?.src !== old", arg=before)
    for selector in ("[data-event=other]", "#mw-explain", "summary"):
        tab_to(selector)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(visit, scheme):
    tab = visit(color_scheme=scheme)
    tab.get_by_role("button", name="Settings").click()
    assert tab.evaluate(_CONTRAST) == []
    pick(tab, 0)
    tab.locator("details.mw-exact").wait_for()
    assert tab.evaluate(_CONTRAST) == []


def test_phone_shows_the_answer_while_it_is_out_of_sight(visit):
    tab = visit(**PHONE | {"viewport": {"width": 360, "height": 640}})
    pick(tab, 0)
    tab.locator("details.mw-exact").wait_for()
    no_sideways_scrolling(tab)
    tab.evaluate("window.scrollTo(0, 0)")
    tab.locator(".mw-pill").click()
    expect(tab.locator(".mw-class")).to_be_in_viewport()
    expect(tab.locator(".mw-pill")).to_be_hidden()
    for button in tab.locator(".mw-tools button:visible, #mw-explain, #mw-dark").all():
        assert button.bounding_box()["height"] >= 40
