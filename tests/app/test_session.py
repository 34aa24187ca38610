"""What one visitor looks at: order of events, and what is kept."""

from __future__ import annotations

import copy
import hashlib

import pytest
import tiny
from PIL import Image

from app.models import Models
from app.session import Session, Subject
from memorywrap.edits import Edit


@pytest.fixture
def models(page_checkpoints):
    return Models(page_checkpoints)


@pytest.fixture
def file(tmp_path):
    tiny.picture(size=(120, 90)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_an_answer_that_comes_late_does_not_replace_what_is_looked_at_by_now():
    session, first, second = Session(), Subject(b"1", "m"), Subject(b"2", "m")
    session.look_at(first)
    assert session.look_at(second)
    assert not session.look_at(Subject(b"1", "m", refusal="late"), instead_of=first)
    assert session.subject is second
    assert session.look_at(first, instead_of=second) and session.subject is first


def test_visitors_get_sessions_of_their_own():
    empty = Session()
    one = copy.deepcopy(empty)
    one.look_at(Subject(b"", "m"))
    assert empty.subject is None


def test_maps_are_asked_for_anew_each_time_and_never_without_an_answer(models, file):
    session = Session()
    assert session.ask() is None
    session.look_at(Subject(file, "digits"))
    assert session.ask() is None
    session.look_at(session.subject.answered(models))
    first, second = session.ask(), session.ask()
    assert None not in (first, second) and first != second == session.asked


def test_the_answer_shares_the_bank_of_the_model(models, file):
    answered = Subject(file, "digits").answered(models)
    assert answered.prediction.bank is models.get("digits").bank


def test_the_guess_is_made_once(models, file, monkeypatch):
    model = models.get("digits")
    answered = Subject(file, "digits").answered(models)
    assert answered.box == answered.guesses[0] == model.suggest_box(answered.image())
    monkeypatch.setattr(model, "suggest_boxes", None)  # would fail
    assert answered.at(None).answered(models).box == answered.guesses[0]


def test_with_edits_there_are_both_answers(models, file):
    first = Subject(file, "digits").answered(models)
    used = first.prediction.used[0]
    edited = first.with_edits((Edit("remove", used),))
    assert first.is_answered and not edited.is_answered
    both = edited.answered(models)
    assert both.prediction is first.prediction and used not in both.edited.used


def test_another_model_looks_for_the_square_itself_but_not_on_a_drawing(models, file):
    photo = Subject(
        file, "digits", box=(1, 2, 30, 31), guesses=((0, 0, 9, 9),), edits=(Edit("remove", 1),)
    )
    other = photo.asked_of("plain")
    assert (other.model, other.box, other.guesses, other.edits) == ("plain", None, (), ())
    assert Subject(b"drawing", "digits", box=(1, 2, 30, 31)).asked_of("plain").box == (1, 2, 30, 31)


def test_a_reason_stands_in_for_an_answer(models, file, tmp_path, monkeypatch):
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path))  # no data sets
    answered = Subject(file, "later").answered(models)
    assert answered.is_answered and answered.prediction is None
    assert "has no memory yet" in answered.refusal
    file.unlink()
    assert "no longer on the server" in Subject(file, "digits").answered(models).refusal


def test_a_picture_of_one_colour_is_refused_with_what_to_do(models, tmp_path):
    Image.new("RGB", (60, 40), (240, 240, 240)).save(tmp_path / "plain.png")
    refusal = Subject(tmp_path / "plain.png", "digits").answered(models).refusal
    assert "one plain colour to the model: move the square" in refusal


def test_what_was_asked_can_be_asked_again(models, file):
    answered = Subject(file, "digits").answered(models)
    told = answered.to_dict()
    assert told["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert "torch" in told["versions"]
    again = models.get("digits").predict(file, box=told["crop"])
    assert again.to_dict("digits") == answered.prediction.to_dict("digits")
