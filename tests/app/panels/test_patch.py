"""What would change the answer, in each of its states."""

from __future__ import annotations

import pytest
import tiny

from app.gradio_patches import GuardedBlocks
from app.models import Models
from app.panels.patch import Patch, html
from app.session import Session, Subject
from app.story import Story
from memorywrap import patch_counterfactual


@pytest.fixture
def model():
    model = tiny.classifier(memory=20)
    model.bank.predicted.copy_(model.bank.labels)
    return model


@pytest.fixture
def panel(page_checkpoints):
    with GuardedBlocks() as page:
        return Patch(Story(Models(page_checkpoints), page))


def session(panel, name="digits"):
    classifier = panel._models.get(name)
    if classifier.bank is not None:
        classifier.bank.predicted.copy_(classifier.bank.labels)
    prediction = classifier.predict(tiny.picture())
    session = Session(Subject(b"", name, prediction=prediction))
    session.ask()
    return session


def words(shown):
    return " ".join(shown.split())


def test_it_says_how_many_pieces_of_what_lead_to_which_answer(model):
    prediction = model.predict(tiny.picture())
    patch = patch_counterfactual(model, prediction)
    shown = words(html(prediction, patch))
    pieces = "this piece" if len(patch.cells) == 1 else f"these {len(patch.cells)} pieces"
    assert pieces in shown and f"it would say <strong>{patch.to_dict()['predicted']}" in shown
    assert f"memory no. {patch.source}" in shown and shown.count("<img") == 3


def test_its_place_is_kept_while_it_is_looked_for(model):
    prediction = model.predict(tiny.picture())
    pending, there = html(prediction, pending=True), html(prediction)
    assert "Looking for the fewest pieces" in pending and "mw-busy" in pending
    assert "No pieces" in words(there) and "mw-busy" not in there
    assert pending.count("<figure") == there.count("<figure") == 3


def test_it_is_found_once_for_the_page_and_for_the_files(panel, monkeypatch):
    asked = session(panel)
    shown = panel.found(asked)[panel.html]
    assert "it would say" in shown
    monkeypatch.setattr("app.models.patch_counterfactuals", None)
    prediction = asked.subject.prediction
    assert panel._models.patch(panel._models.get("digits"), prediction) is not None


def test_what_goes_wrong_is_said_and_leaves_the_answer(panel, monkeypatch):
    asked = session(panel)
    monkeypatch.setattr("app.models.patch_counterfactuals", lambda *_: 1 / 0)
    assert "could not be looked for" in panel.found(asked)[panel.html]


def test_a_plain_network_shows_nothing(panel):
    asked = session(panel, "plain")
    assert panel.found(asked)[panel.html] == ""
