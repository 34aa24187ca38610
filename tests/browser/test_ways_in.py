"""How a picture comes in: what this browser can do, and what is too large for the server."""

from __future__ import annotations

import io

import numpy as np
import pytest
from driving import upload
from PIL import Image

expect = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect

_CAMERA = "[aria-label='Capture from camera']"
_PASTE = "[aria-label='Paste from clipboard']"
_FAKE_CAMERA = """navigator.mediaDevices.getUserMedia = async (asked) => {
  window.asked = asked;
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 64;
  canvas.getContext('2d').fillRect(0, 0, 64, 64);
  return canvas.captureStream(5);
}"""


def _visit_with(visit, script):
    """The page in a browser that was changed before anything ran in it."""
    tab = visit()
    tab.add_init_script(script)
    tab.reload()
    tab.locator(".mw-thumbs button").first.wait_for()
    return tab


def test_over_plain_http_camera_and_paste_are_not_offered_and_the_page_says_why(visit):
    tab = visit()
    expect(tab.locator(_CAMERA)).to_be_visible()
    expect(tab.locator(_PASTE)).to_be_visible()
    expect(tab.locator("#mw-lacks")).to_have_count(0)
    tab = _visit_with(visit, "Object.defineProperty(window, 'isSecureContext', {value: false})")
    expect(tab.locator(_CAMERA)).to_be_hidden()
    expect(tab.locator(_PASTE)).to_be_hidden()
    expect(tab.locator("#mw-lacks")).to_contain_text("https")
    assert tab.locator("#mw-photo input[type=file]").get_attribute("accept") == "image/*"
    tab.locator(".mw-thumbs button").first.click()
    expect(tab.locator("#mw-lacks")).to_be_hidden()


def test_camera_looks_away_from_its_owner_and_opening_it_warns_of_nothing(visit):
    tab = _visit_with(visit, _FAKE_CAMERA)
    tab.locator(_CAMERA).click()
    tab.get_by_text("Click to Access Webcam").click()
    tab.wait_for_function("window.asked")
    asked = tab.evaluate("window.asked.video")
    assert asked["facingMode"] == {"ideal": "environment"}
    assert asked["width"]
    turned = tab.locator("#mw-photo video").evaluate("video => getComputedStyle(video).transform")
    assert turned in ("none", "matrix(1, 0, 0, 1, 0, 0)")
    tab.wait_for_timeout(800)
    expect(tab.get_by_role("alert")).to_have_count(0)
    expect(tab.get_by_text("There is no image yet")).to_have_count(0)


@pytest.mark.parametrize("reason", ["bytes", "pixels"])
def test_photo_that_is_too_large_is_shrunk_in_the_browser(visit, reason):
    file = io.BytesIO()
    if reason == "bytes":  # noise cannot be compressed
        noise = np.random.default_rng(0).integers(0, 256, (1500, 2500, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, "PNG")
        assert len(file.getvalue()) > 10 * 2**20
    else:  # lying on its side: 6000 x 5000 for those who look
        turned = Image.Exif()
        turned[274] = 6
        photo = Image.new("RGB", (5000, 6000), "navy")
        photo.paste("gold", (1000, 1000, 4000, 5000))  # one plain colour would be refused as blank
        photo.save(file, "JPEG", exif=turned)
    tab = visit()
    upload(tab, file.getvalue())
    expect(tab.locator(".mw-class")).to_be_visible()
    wide = tab.locator(".mw-frame img").evaluate(
        "image => image.naturalWidth / image.naturalHeight"
    )
    assert wide == pytest.approx(5 / 3 if reason == "bytes" else 6 / 5, rel=0.01)


def test_what_is_no_picture_is_refused_once(visit):
    tab = visit()
    upload(tab, b"%PDF-1.7", name="letter.pdf", kind="application/pdf")
    said = tab.locator("[role=alert]:visible, .toast-body:visible")
    expect(said).to_have_text(
        ["This is no picture: please choose a file such as JPEG, PNG or WebP."]
    )
    tab.wait_for_timeout(500)
    expect(said).to_have_count(1)


def test_the_pad_is_drawn_on_with_the_keyboard(visit):
    """Arrows move the pen, the space bar lowers it; a typed character is written."""
    tab = visit()
    tab.get_by_role("tab", name="Draw").click()
    pad = tab.locator(".mw-paper canvas")
    pad.focus()
    drawing = "document.querySelector('.mw-paper canvas').toDataURL()"
    status = tab.locator(".mw-pad [role=status]")
    for _ in range(4):
        tab.keyboard.press("ArrowUp")
    expect(status).to_have_text("50 % from the left, 25 % from the top")
    expect(tab.locator(".mw-class")).to_have_count(0)  # moving alone draws nothing
    tab.keyboard.press("Space")
    expect(status).to_have_text("Pen down")
    for _ in range(8):
        tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Space")
    expect(status).to_have_text("Pen lifted")
    expect(tab.locator(".mw-class")).to_be_visible()
    line = tab.evaluate(drawing)
    tab.keyboard.press("Backspace")
    expect(tab.locator(".mw-class")).to_have_count(0)
    tab.keyboard.press("7")
    expect(status).to_have_text("7 written")
    expect(tab.locator(".mw-class")).to_be_visible()
    assert tab.evaluate(drawing) != line
    tab.keyboard.press("Tab")  # and on it goes: the pad is no trap
    expect(tab.get_by_role("button", name="Undo")).to_be_focused()
