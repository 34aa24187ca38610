"""What if the memory were another: the edits of one visitor, and what the panel shows of them."""

from __future__ import annotations

import dataclasses
import json

import pytest
import tiny

from app.gradio_patches import GuardedBlocks
from app.models import Models
from app.panels.what_if import WhatIf, html
from app.session import Session, Subject
from app.story import Story
from memorywrap.edits import MOST, Edit


@pytest.fixture
def panel(page_checkpoints):
    with GuardedBlocks() as page:
        story = Story(Models(page_checkpoints), page)
        story.place_notice()
        return WhatIf(story)


@pytest.fixture
def session(panel):
    prediction = panel._story.models.get("digits").predict(tiny.picture())
    session = Session()
    session.look_at(Subject(b"", "digits", prediction=prediction))
    return session


def ask(panel, session, **edit):
    return panel.asked(session, json.dumps(edit))


def kinds(session):
    return [(edit.kind, edit.value) for edit in session.subject.edits]


def test_edits_pile_up_are_undone_and_begun_anew(panel, session):
    before = session.subject.prediction
    used = before.used[0]
    shown = ask(panel, session, remove=used)[panel.html]
    assert f"no. {used} taken away" in shown
    assert session.subject.edited.weights[used] == 0 < before.weights[used]
    assert session.subject.prediction is before  # the answer stays, and its maps with it
    ask(panel, session, remove=(used + 1) % 20)
    assert len(kinds(session)) == 2
    ask(panel, session, undo=True)
    assert kinds(session) == [("remove", used)]
    shown = ask(panel, session, reset=True)[panel.html]
    assert kinds(session) == [] and session.subject.edited is None
    assert "Nothing is changed yet" in shown


def test_a_picture_unlike_everything_known_stays_so_here(session):
    prediction = session.subject.prediction
    assert "unlike everything" not in html(prediction, prediction, ())
    stranger = dataclasses.replace(prediction, familiarity=-1.0)
    assert "unlike everything the model knows" in html(stranger, prediction, ())


def test_what_is_shown_is_what_the_model_says_with_that_memory(panel, session):
    used = session.subject.prediction.used[0]
    ask(panel, session, remove=used)
    model = panel._story.models.get("digits")
    expected = model.predict(tiny.picture(), without=[used])
    assert session.subject.edited.probabilities == pytest.approx(expected.probabilities)


def test_the_picture_is_added_with_a_label(panel, session):
    shown = ask(panel, session, label="green")
    assert "your picture added as green" in shown[panel.html]
    assert session.subject.edited.used[0] == 20


def test_the_pictures_come_when_the_panel_is_opened_and_not_with_every_answer(panel, session):
    assert panel.sprite not in panel.shows(session.subject)
    closed = panel.opened(session, "digits")
    assert "data:image/png" in closed
    shown = ask(panel, session, label="green")
    assert shown[panel.sprite] != closed  # one sample more
    assert panel.opened(session, "digits") == shown[panel.sprite]
    assert panel.opened(Session(), "digits") == closed
    assert panel.opened(session, "plain") == ""  # no memory


def test_edits_stay_for_the_next_picture_of_that_model_alone(panel, session):
    ask(panel, session, remove=3)
    session.look_at(Subject(b"", "digits"))
    assert kinds(session) == [("remove", 3)]
    session.look_at(Subject(b"", "plain"))
    assert kinds(session) == []
    assert Session().edits == {}


@pytest.mark.parametrize(
    "asked", ["", "{", "[]", '{"a": 1, "b": 2}', '{"burn": 1}', '{"remove": 99}', '{"label": "x"}']
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(panel, session, asked):
    refused = panel.asked(session, asked)
    assert "mw-notice" in refused[panel.notice] and panel.html not in refused  # seen from there
    assert kinds(session) == []


def test_a_list_of_edits_ends_somewhere(panel, session):
    for _ in range(MOST // 2):
        session.edits["digits"] = (*session.edits.get("digits", ()), *_edits())
    session.look_at(session.subject.with_edits(()))
    refused = ask(panel, session, remove=1)
    assert "undo some" in refused[panel.notice]


def _edits():
    from memorywrap.edits import Edit

    return (Edit("remove", 1), Edit("restore", 1))


def test_without_an_answer_there_is_nothing_to_edit(panel):
    empty = Session()
    assert "no answer yet" in ask(panel, empty, remove=1)[panel.notice]
    assert "whole memory is shown here" in panel.shows(None)[panel.html]


def test_of_what_came_before_the_memory_was_drawn_anew_nothing_is_told():
    prediction = tiny.classifier(memory=20).predict(tiny.picture())
    edits = (Edit("remove", 3), Edit("redraw", 1), Edit("remove", 4))
    shown = html(prediction, prediction, edits)
    assert "Changed: memory drawn anew; no. 4 taken away." in shown
    assert "no. 3 taken away; " in html(prediction, prediction, (edits[0], edits[2]))


def test_every_sample_says_what_it_is_and_weighs():
    model = tiny.classifier(memory=20)
    prediction = model.predict(tiny.picture())
    shown = html(prediction, prediction, ())
    assert shown.count('data-index="') == 20
    assert shown.count("mw-weighs") == len(prediction.used)
    gone = model.predict(tiny.picture(), without=[4])
    assert html(prediction, gone, ()).count(" mw-gone") == 1


@pytest.mark.slow
def test_a_sample_that_is_clicked_gets_its_map_and_what_it_adds(panel, session):
    used = session.subject.prediction.used[-1]
    shown = panel.chosen(session, json.dumps({"chosen": used}))
    model = panel._story.models.get("digits")
    adds = model.explain(session.subject.prediction).memory_contributions[used]
    assert f"Memory no. {used}" in shown and f"{abs(adds):.2f}" in shown
    assert shown.count("<img") == 2
    ask(panel, session, remove=used)
    assert panel.chosen(session, json.dumps({"chosen": used})) == ""  # it takes no part any more
    other = session.subject.edited.used[0]
    assert f"Memory no. {other}" in panel.chosen(session, json.dumps({"chosen": other}))


def test_an_edit_puts_the_map_of_a_sample_away(panel, session):
    assert ask(panel, session, remove=session.subject.prediction.used[0])[panel.sample] == ""
    assert panel.shows(None)[panel.sample] == ""
    with pytest.raises(ValueError, match="not understood"):
        panel.chosen(session, "[1]")
