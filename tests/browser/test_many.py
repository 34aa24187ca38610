"""Many pictures at once: a table that sorts, counts, and is saved."""

from __future__ import annotations

import csv
import io
import zipfile

import numpy as np
import pytest
import tiny
from driving import choose_model
from PIL import Image

from memorywrap.measures.pictures import COLUMNS

expect = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect


def a_zip(names: list[str]) -> dict:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, name in enumerate(names):
            pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            archive.writestr(name, tiny.encoded(Image.fromarray(pixels)))
        archive.writestr("red/broken.png", b"no picture")
    return {"name": "all.zip", "mimeType": "application/zip", "buffer": file.getvalue()}


NAMES = ["red/1.png", "red/2.png", "green/3.png", "other/4,5.png"]


def test_a_zip_is_answered_counted_and_saved(visit, page):
    tab = visit()
    tab.get_by_text("Many pictures at once").click()
    tab.locator(".mw-many input.mw-files").set_input_files([a_zip(NAMES)])
    rows = tab.locator(".mw-many .pictures tbody tr")
    expect(rows).to_have_count(5)
    expect(tab.locator(".mw-many progress")).to_be_hidden()
    with tab.expect_download() as saved:
        tab.get_by_role("button", name="Save as CSV").click()
    with saved.value.path().open(encoding="utf-8", newline="") as file:
        told = {line["file"]: line for line in csv.DictReader(file)}
    assert tuple(next(iter(told.values()))) == COLUMNS and len(told) == 5
    model = page.models.get("digits")
    for number, name in enumerate(NAMES):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        seen = model.predict(Image.fromarray(pixels))
        line = told[name]
        assert line["predicted"] == model.config.classes[seen.predicted]
        assert float(line["probability"]) == pytest.approx(max(seen.probabilities), abs=1e-4)
        assert int(line["memory"]) == seen.used[0] and int(line["other"]) == seen.other
        assert line["label"] == (name.split("/")[0] if "other" not in name else "")
    assert "cannot read it" in told["red/broken.png"]["error"]
    right = sum(line["label"] == line["predicted"] for line in told.values() if line["label"])
    expect(tab.locator(".mw-many .mw-sum")).to_contain_text(f"{right} of 3 that have a label")
    with tab.expect_download() as saved:
        tab.get_by_role("button", name="Save as a page").click()
    report = saved.value.path().rename(saved.value.path().with_suffix(".html"))
    alone = tab.context.new_page()
    alone.goto(report.as_uri())
    expect(alone.locator(".pictures tbody tr")).to_have_count(5)
    cell = alone.locator(".confusion button").first
    cell.click()
    expect(alone.locator(".pictures tbody tr:visible")).to_have_count(int(cell.inner_text()))
    alone.get_by_role("button", name="Show all").click()
    alone.get_by_role("button", name="file").click()
    files = alone.locator(".pictures tbody td:nth-child(2)").all_inner_texts()
    assert files == sorted(files) and alone.locator(".pictures img").count() > 10


def test_a_table_is_of_one_model(visit):
    tab = visit()
    tab.get_by_text("Many pictures at once").click()
    take = tab.locator(".mw-many input.mw-files")
    rows = tab.locator(".mw-many .pictures tbody tr")
    for names, count in ((NAMES[:1], 2), (NAMES[1:2], 4)):
        take.set_input_files([a_zip(names)])
        expect(rows).to_have_count(count)
        expect(tab.locator(".mw-many progress")).to_be_hidden()
    tab.locator(".mw-many .confusion button").first.click()  # of some of them
    others = tab.locator("#mw-model input").input_value()
    choose_model(tab, "Plain")
    expect(tab.locator(".mw-many .mw-chosen-model")).to_have_text("Plain")
    with tab.expect_download() as saved:
        tab.get_by_role("button", name="Save as a page").click()
    assert f"<h1>{others}</h1>" in saved.value.path().read_text(encoding="utf-8")
    take.set_input_files([a_zip(NAMES[:1])])
    expect(rows.locator("visible=true")).to_have_count(2)
    expect(tab.locator(".mw-many .mw-sum")).to_contain_text("Plain: 2 pictures")


def test_it_can_be_cancelled_and_cleared(visit):
    tab = visit()
    tab.get_by_text("Many pictures at once").click()
    names = [f"red/{number}.png" for number in range(300)]
    tab.locator(".mw-many input.mw-files").set_input_files([a_zip(names)])
    rows = tab.locator(".mw-many .pictures tbody tr")
    expect(rows.nth(3)).to_be_attached()
    tab.get_by_role("button", name="Cancel").click()
    expect(tab.locator(".mw-many .mw-said")).to_contain_text("Cancelled")
    count = rows.count()
    tab.wait_for_timeout(500)
    assert 3 < rows.count() == count < 300
    tab.get_by_role("button", name="Clear").click()
    expect(tab.locator(".mw-many .mw-table")).to_be_hidden()
