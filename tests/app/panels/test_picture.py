"""The picture that is asked about: what an event shows, and what goes with a model."""

from __future__ import annotations

import base64

import pytest
import tiny

from app.gradio_patches import GuardedBlocks
from app.models import Models
from app.panels.answer import Answer
from app.panels.picture import EXAMPLES, Picture
from app.session import Session
from app.shelf import reads_digits
from app.story import Story
from memorywrap.checkpoints.config import Config
from memorywrap.images import ImageError


@pytest.fixture
def picture(page_checkpoints):
    with GuardedBlocks() as page:
        story = Story(Models(page_checkpoints), page)
        picture = Picture(story)
        story.panels = [picture, Answer(story)]
    return picture


def test_a_picture_is_shown_before_it_is_answered(picture):
    session = Session()
    shown = picture.example(session, 0, "digits")
    assert shown[picture.stage].props["src"].startswith("data:image/jpeg;base64,")
    assert "Looking at your picture" in shown[picture._story.waiting]
    assert session.subject.source == EXAMPLES[0] and session.subject.prediction is None
    assert shown[picture._story.asked] is None
    answered = picture._story.answer(session)
    assert answered[picture.stage].value == list(session.subject.guesses[0])
    assert answered[picture._story.asked] == session.asked is not None


def test_opening_the_camera_changes_and_says_nothing(picture):
    session = Session()
    assert picture.opened(session, None, "digits") == {picture._story.session: session}


def test_what_is_no_upload_is_refused_and_the_picture_of_before_stays(picture):
    session = Session()
    picture.example(session, 0, "digits")
    before = session.subject
    refused = picture.opened(session, {"path": "/etc/hostname"}, "digits")
    assert "not a file uploaded to this page" in refused[picture._story.notice]
    assert session.subject is before and picture.stage not in refused


@pytest.mark.parametrize("number", [-1, len(EXAMPLES), "0", None, 0.0])
def test_examples_that_there_are_not_are_refused(picture, number):
    with pytest.raises(ImageError, match="no such example"):
        picture.example(Session(), number, "digits")


@pytest.mark.parametrize("sent", [None, "", "data:image/png;base64,", "data:image/png;base64,AAA"])
def test_drawings_that_are_cut_are_refused(picture, sent):
    with pytest.raises(ImageError, match="did not arrive whole"):
        picture.drawn(Session(), sent, "digits")


def test_a_square_that_a_person_moved_is_left_where_it_is(picture):
    session = Session()
    picture.example(session, 0, "digits")
    moved = picture.moved(session, [10, 10, 200, 200])
    assert session.subject.box == (10, 10, 200, 200) and picture.stage not in moved
    back = picture.suggested(session)
    assert back[picture.stage].value == list(session.subject.guesses[0])


def test_a_drawing_takes_the_place_of_a_photo(picture, encoded):
    session = Session()
    picture.example(session, 0, "digits")
    data = encoded(tiny.picture(size=(64, 64)))
    sent = "data:image/png;base64," + base64.b64encode(data).decode()
    shown = picture.drawn(session, sent, "digits")
    assert session.subject.source == data and shown[picture.stage]["visible"] is False


def test_examples_and_pad_suit_the_model(picture):
    digits, later = picture.for_model("digits"), picture.for_model("later")
    assert digits[picture.examples]["visible"] and not digits[picture.no_examples]["visible"]
    assert not later[picture.examples]["visible"]
    assert "drop a photo of one of red, green or blue" in " ".join(
        later[picture.no_examples]["value"].split()
    )
    assert "Draw one digit." in digits[picture.pad_hint]
    assert "unlike all of them" in later[picture.pad_hint]


def test_digits_are_known_by_their_data_set_or_their_names():
    assert reads_digits(Config("", "compact", tuple("0123456789")))
    assert reads_digits(Config("", "compact", tiny.CLASSES, data={"name": "digits"}))
    assert not reads_digits(Config("", "compact", tiny.CLASSES))
