"""What the camera sees is answered as it comes."""

from __future__ import annotations

import re

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect


def test_the_camera_is_answered_with_the_memories_that_decide(visit):
    tab = visit()
    tab.get_by_text("Live camera").click()
    tab.get_by_role("button", name="Start the camera").click()
    expect(tab.locator(".mw-live-says")).not_to_be_empty()
    expect(tab.locator(".mw-live-bars > div")).to_have_count(3)
    expect(tab.locator(".mw-live-memories figure").first).to_contain_text("%")
    shown = tab.locator(".mw-live-memories img").first
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") == 32
    expect(tab.locator(".mw-live-rate")).to_contain_text("answers per second")
    tab.get_by_role("button", name="Stop").click()
    expect(tab.locator(".mw-live-answer")).to_be_hidden()
    assert tab.locator(".mw-live video").evaluate("video => video.srcObject") is None


def test_it_follows_the_choice_of_the_model_and_hands_its_picture_over(visit):
    tab = visit()
    tab.get_by_text("Live camera").click()
    tab.get_by_role("button", name="Start the camera").click()
    expect(tab.locator(".mw-live-memories figure").first).to_be_visible()
    with tab.expect_request(re.compile("model=plain")):
        tab.locator("#mw-model input").click()
        tab.get_by_role("option", name="Plain").click()
    expect(tab.locator(".mw-live-memories figure")).to_have_count(0)
    tab.get_by_role("button", name="Explain this picture").click()
    expect(tab.locator(".mw-live-answer")).to_be_hidden()
    expect(tab.get_by_role("heading", name=re.compile("The model says"))).to_be_visible()


def test_without_a_camera_it_says_so(visit):
    tab = visit()
    tab.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error()); }"
    )
    tab.get_by_text("Live camera").click()
    tab.get_by_role("button", name="Start the camera").click()
    expect(tab.locator(".mw-live .mw-said")).to_contain_text("camera cannot be used")
    expect(tab.get_by_role("button", name="Start the camera")).to_be_visible()
