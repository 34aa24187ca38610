"""What stands over both columns: the choice of the model, and the memory that one lacks."""

from __future__ import annotations

import pytest
import tiny

from app.gradio_patches import GuardedBlocks
from app.models import Models
from app.panels.top import Top
from app.shelf import ModelError
from app.story import Story


@pytest.fixture
def top(page_checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path))  # no data sets
    with GuardedBlocks() as page:
        return Top(Story(Models(page_checkpoints), page))


def test_a_model_that_lacks_its_memory_says_so_and_offers_to_fetch_it(top):
    note = top.chosen("later")
    assert "CIFAR-10" in note[top.about]
    assert note[top.fetch].visible and note[top.fetch].interactive
    assert "MB" in note[top.fetch].value


@pytest.mark.parametrize("model", ["digits", "plain"])
def test_a_model_that_can_answer_offers_nothing_to_fetch(top, model):
    note = top.chosen(model)
    assert f"{len(tiny.CLASSES)} classes" in note[top.about]
    assert not note[top.fetch].visible


def test_the_list_marks_what_cannot_answer_yet(top):
    titles = {name: title for title, name in top.choices()}
    assert titles["later"].endswith("(no memory yet)")
    assert titles["digits"] == "Random"


def test_a_failed_download_is_told_and_can_be_tried_again(top, monkeypatch):
    def download(self, name):
        raise ModelError("CIFAR-10 could not be downloaded: try again.")

    monkeypatch.setattr(Models, "download", download)
    busy = top.downloading()
    assert not busy[top.fetch].interactive
    note = top.downloaded("later")
    assert "could not be downloaded" in note[top.about]
    assert note[top.fetch].interactive and note[top.model].value == "later"
