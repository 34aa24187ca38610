"""A visitor teaches a model, uses it, and has it forgotten."""

from __future__ import annotations

import base64
import io
import random
import re
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
        expect(tab.locator(".mw-classes li").nth(place)).to_contain_text(
            "1 picture" if count == 1 else f"{count} pictures"
        )


def test_classes_are_taught_used_and_forgotten(visit, page, quick):
    tab = visit()
    fill(tab, 3)
    teach = tab.get_by_role("button", name="Teach", exact=True)
    teach.click()
    expect(tab.locator(".mw-teach .mw-said")).to_contain_text("learns")
    expect(teach).to_be_disabled()
    expect(tab.locator(".mw-taught")).to_contain_text("of 6")
    expect(tab.locator(".mw-teach .mw-said")).to_be_empty()
    expect(teach).to_be_enabled()
    expect(tab.locator("#mw-model input")).to_have_value("Yours: sea, grass")
    tab.locator("#mw-photo input[type=file]").set_input_files([picture(COLOURS["grass"], 9)])
    expect(tab.locator(".mw-card").first).to_contain_text("grass")
    expect(tab.get_by_role("heading", name="The model says grass")).to_be_visible()
    expect(tab.locator(".mw-panel img[alt^='Map of the']").first).to_be_visible()
    expect(tab.locator(".mw-parts svg")).to_have_count(2)
    assert "answers to row" in tab.locator(".mw-parts svg").first.get_attribute("aria-label")
    with tab.expect_download() as saved:
        tab.get_by_role("button", name="Save your model").click()
    file = saved.value.path()
    assert zipfile.is_zipfile(file)
    (lent,) = set(page.models._entries) - set(page.models.names)
    tab.once("dialog", lambda asked: asked.dismiss())
    tab.get_by_role("button", name="Forget everything").click()
    expect(tab.locator(".mw-classes li")).to_have_count(2)
    tab.once("dialog", lambda asked: asked.accept())
    tab.get_by_role("button", name="Forget everything").click()
    expect(tab.locator("#mw-model input")).not_to_have_value("Yours: sea, grass")
    expect(tab.locator(".mw-taught")).to_have_count(0)
    expect(tab.locator(".mw-classes li")).to_have_count(0)
    assert lent not in page.models._entries
    tab.locator("input.mw-zip").set_input_files([{"name": "mine.zip", **as_zip(file)}])
    expect(tab.locator(".mw-classes li")).to_have_count(2)
    for place, name in enumerate(COLOURS):
        expect(tab.get_by_label("Name of the class").nth(place)).to_have_value(name)
        expect(tab.locator(".mw-classes li").nth(place)).to_contain_text("3 pictures")
    expect(tab.locator(".mw-teach .mw-said")).to_contain_text("press Teach")
    again = tab.locator(".mw-pictures button").first.evaluate("one => one.style.backgroundImage")
    with zipfile.ZipFile(file) as archive:
        kept = archive.read("pictures/sea/000.jpg")
    assert base64.b64encode(kept).decode() in again  # as it was, not pressed anew


def test_what_is_not_saved_is_not_lost_without_a_question(visit):
    tab = visit()
    fill(tab, 2)
    asked: list[str] = []

    def stay(dialog):
        asked.append(dialog.type)
        dialog.dismiss()

    tab.on("dialog", stay)
    tab.close(run_before_unload=True)
    tab.wait_for_timeout(500)
    assert asked == ["beforeunload"]
    thumb = tab.locator(".mw-pictures button").nth(1)
    thumb.focus()
    thumb.press("Enter")  # the focus stays among the pictures
    expect(tab.locator(".mw-pictures button").first).to_be_focused()


def as_zip(path) -> dict:
    return {"mimeType": "application/zip", "buffer": path.read_bytes()}


def test_the_table_opens_its_pictures_which_can_be_moved(visit, quick):
    tab = visit()
    fill(tab, 3)
    sea = tab.locator(".mw-classes li").first
    strange = [picture(COLOURS["grass"], 20)]
    sea.locator("input[type=file]").set_input_files(strange)  # a mistake
    expect(sea).to_contain_text("4 pictures")
    tab.get_by_role("button", name="Teach", exact=True).click()
    link = tab.get_by_role("button", name="taken for another class")
    link.click()
    shown = tab.locator(".mw-opened label")
    expect(shown.first).to_be_visible()
    count = shown.count()
    assert link.inner_text().startswith("Show the one " if count == 1 else f"Show the {count} ")
    shown.get_by_role("combobox", name="of sea").first.select_option("grass")
    expect(sea).to_contain_text("3 pictures")
    expect(tab.locator(".mw-classes li").nth(1)).to_contain_text("4 pictures")
    tab.get_by_role("button", name="Undo").click()
    expect(sea).to_contain_text("4 pictures")
    cell = tab.get_by_role("button", name=re.compile("pictures? of grass called")).first
    cell.click()
    expect(shown).to_have_count(int(cell.inner_text()))
    shown.first.get_by_role("combobox").select_option("take away")
    expect(tab.locator(".mw-classes li").nth(1)).to_contain_text("2 pictures")


def test_a_zip_of_class_folders_and_dropped_files_are_taken(visit):
    tab = visit()
    tab.get_by_text("Teach it your own classes").click()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, colour in COLOURS.items():
            for seed in range(2):
                archive.writestr(f"things/{name}/{seed}.png", picture(colour, seed)["buffer"])
        archive.writestr("__MACOSX/things/sea/._0.png", b"x")
        archive.writestr("things/readme.txt", b"x")
    mine = {"name": "mine.zip", "mimeType": "application/zip", "buffer": file.getvalue()}
    tab.locator("input.mw-zip").set_input_files([mine])
    expect(tab.locator(".mw-classes li")).to_have_count(2)
    expect(tab.locator(".mw-classes li").last).to_contain_text("2 pictures")
    drop = """(row, [name, bytes]) => {
        const files = new DataTransfer();
        files.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/png' }));
        row.dispatchEvent(new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true }));
    }"""
    bytes_ = list(picture((9, 9, 9), 5)["buffer"])
    tab.locator(".mw-classes li").first.evaluate(drop, ["5.png", bytes_])
    expect(tab.locator(".mw-classes li").first).to_contain_text("3 pictures")
    broken = {"name": "no.zip", "mimeType": "application/zip", "buffer": b"PK not a zip"}
    tab.locator("input.mw-zip").set_input_files([broken])
    expect(tab.locator(".mw-teach .mw-said")).to_contain_text("no pictures in it")


def test_the_camera_records_while_the_button_is_held(visit):
    tab = visit()
    tab.get_by_text("Teach it your own classes").click()
    tab.get_by_role("button", name="Add a class").click()
    button = tab.get_by_role("button", name="Hold to record")
    button.hover()
    tab.mouse.down()
    expect(tab.locator(".mw-pictures button").nth(3)).to_be_attached()
    tab.mouse.up()
    tab.wait_for_timeout(500)
    held = tab.locator(".mw-pictures button").count()
    tab.wait_for_timeout(700)
    assert tab.locator(".mw-pictures button").count() == held


def test_pictures_and_classes_can_be_taken_away_and_put_back(visit):
    tab = visit()
    fill(tab, 2)
    teach = tab.get_by_role("button", name="Teach", exact=True)
    undo = tab.get_by_role("button", name="Undo")
    expect(teach).to_be_enabled()
    tab.get_by_role("button", name="Take picture 1 of sea away").click()
    expect(tab.locator(".mw-classes li").first).to_contain_text("1 picture")
    expect(teach).to_be_disabled()
    undo.click()
    expect(teach).to_be_enabled()
    tab.get_by_role("button", name="Take the class away").last.click()
    expect(tab.locator(".mw-classes li")).to_have_count(1)
    undo.click()
    expect(tab.get_by_label("Name of the class").last).to_have_value("grass")
    tab.get_by_label("Name of the class").last.fill("sea")
    expect(teach).to_be_disabled()  # two of one name


def test_pictures_that_the_server_lost_are_sent_again(visit, page, quick):
    tab = visit()
    fill(tab, 3)
    tab.locator(".mw-pictures button").first.click()  # taken away
    teaches = tab.get_by_role("button", name="Teach", exact=True)
    teaches.click()
    expect(tab.locator(".mw-taught")).to_contain_text("of 5")
    tab.get_by_role("button", name="Undo").click()
    teaches.click()  # with one that the server forgot
    expect(tab.locator(".mw-taught")).to_contain_text("of 6")
    expect(tab.locator(".mw-teach .mw-said")).to_have_text("")


def test_large_pictures_arrive_in_lots_that_the_page_takes(visit, quick):
    tab = visit()
    tab.get_by_text("Teach it your own classes").click()
    # Until all of them are there, nothing is sent.
    tab.evaluate("""() => {
        window.kept = [];
        const later = window.setTimeout;
        window.setTimeout = (what, ...rest) =>
            (what?.name === 'send' ? window.kept.push(what) : later(what, ...rest));
        window.go = () => { window.setTimeout = later; window.kept.forEach((send) => send()); };
    }""")
    chance = random.Random(0)
    for place in range(2):
        tab.get_by_role("button", name="Add a class").click()
        files = []
        for number in range(12):
            noise = Image.frombytes("RGB", (224, 224), chance.randbytes(3 * 224 * 224))
            file = io.BytesIO()
            noise.save(file, "JPEG", quality=88)
            assert 40_000 < file.tell() < 70_000  # 24 of them are over the megabyte of one request
            files.append(
                {"name": f"{number}.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()}
            )
        tab.locator(".mw-classes li").nth(place).locator("input[type=file]").set_input_files(files)
    expect(tab.locator(".mw-pictures button")).to_have_count(24)
    tab.evaluate("window.go()")
    tab.get_by_role("button", name="Teach", exact=True).click()
    expect(tab.locator(".mw-taught")).to_contain_text("of 24")


def test_a_name_can_be_typed_while_pictures_come(visit):
    tab = visit()
    fill(tab, 2)
    name = tab.get_by_label("Name of the class").first
    name.fill("se")
    name.press("End")
    files = [picture(COLOURS["grass"], 30 + number) for number in range(3)]
    tab.locator(".mw-classes li").nth(1).locator("input[type=file]").set_input_files(files)
    expect(tab.locator(".mw-classes li").nth(1)).to_contain_text("5 pictures")
    tab.keyboard.type("al")
    expect(name).to_have_value("seal")
    expect(name).to_be_focused()


def test_a_phone_sends_its_pictures(visit):
    tab = visit()
    fill(tab, 1)
    tab.get_by_role("button", name="Use a phone").click()
    expect(tab.locator(".mw-code svg")).to_be_visible()
    phone = tab.context.new_page()
    phone.goto(tab.get_by_role("link", name="The same as a link").get_attribute("href"))
    phone.locator("label", has_text="grass").locator("input").set_input_files(
        [picture(COLOURS["grass"], seed) for seed in (7, 8)]
    )
    expect(phone.locator("label", has_text="grass")).to_contain_text("2 sent")
    expect(tab.locator(".mw-classes li").nth(1)).to_contain_text("3 pictures")
    tab.get_by_label("Name of the class").first.fill("water")
    expect(phone.locator("label", has_text="water")).to_be_visible()
    tab.get_by_role("button", name="Use a phone").click()
    expect(tab.locator(".mw-code svg")).to_be_hidden()
