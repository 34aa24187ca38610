"""A visitor teaches a model, uses it, and has it forgotten."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from memorywrap.training import teaching

expect = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect


def picture(colour: tuple[int, int, int], seed: int) -> dict:
    pixels = np.random.default_rng(seed).normal(colour, 25, (90, 120, 3)).clip(0, 255)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return {"name": f"{seed}.png", "mimeType": "image/png", "buffer": file.getvalue()}


COLOURS = {"sea": (20, 60, 200), "grass": (40, 160, 40)}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(teaching, "_STEPS", 30)


def fill(tab, count: int) -> None:
    tab.get_by_text("Teach it your own classes").click()
    for place, (name, colour) in enumerate(COLOURS.items()):
        tab.get_by_role("button", name="Add a class").click()
        one = tab.locator(".mw-classes li").nth(place)
        one.get_by_label("Name of the class").fill(name)
        files = [picture(colour, seed) for seed in range(count)]
        one.locator("input[type=file]").set_input_files(files)
        expect(tab.locator(".mw-classes li").nth(place)).to_contain_text(f"{count} pictures")


def test_classes_are_taught_used_and_forgotten(visit, page, quick):
    tab = visit()
    fill(tab, 3)
    tab.get_by_role("button", name="Teach", exact=True).click()
    expect(tab.locator(".mw-taught")).to_contain_text("of 6")
    expect(tab.locator("#mw-model input")).to_have_value("Yours: sea, grass")
    tab.locator("#mw-photo input[type=file]").set_input_files([picture(COLOURS["grass"], 9)])
    expect(tab.locator(".mw-card").first).to_contain_text("grass")
    expect(tab.get_by_role("heading", name="The model says grass")).to_be_visible()
    expect(tab.locator(".mw-panel img[alt^='Map of the']").first).to_be_visible()
    with tab.expect_download() as saved:
        tab.get_by_role("button", name="Save your model").click()
    assert zipfile.is_zipfile(saved.value.path())
    (lent,) = set(page.models._entries) - set(page.models.names)
    tab.get_by_role("button", name="Forget everything").click()
    expect(tab.locator("#mw-model input")).not_to_have_value("Yours: sea, grass")
    expect(tab.locator(".mw-taught")).to_have_count(0)
    expect(tab.locator(".mw-classes li")).to_have_count(0)
    assert lent not in page.models._entries


def test_pictures_and_classes_can_be_taken_away_and_put_back(visit):
    tab = visit()
    fill(tab, 2)
    teach = tab.get_by_role("button", name="Teach", exact=True)
    undo = tab.get_by_role("button", name="Undo")
    expect(teach).to_be_enabled()
    tab.get_by_role("button", name="Take picture 1 of sea away").click()
    expect(tab.locator(".mw-classes li").first).to_contain_text("1 pictures")
    expect(teach).to_be_disabled()
    undo.click()
    expect(teach).to_be_enabled()
    tab.get_by_role("button", name="Take the class away").last.click()
    expect(tab.locator(".mw-classes li")).to_have_count(1)
    undo.click()
    expect(tab.get_by_label("Name of the class").last).to_have_value("grass")
    tab.get_by_label("Name of the class").last.fill("sea")
    expect(teach).to_be_disabled()  # two of one name
