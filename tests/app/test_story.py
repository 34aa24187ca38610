"""Events that overlap: what a visitor did last is what stays, and nobody waits for another's search."""

from __future__ import annotations

import threading

import gradio as gr
import pytest
import tiny

from app.gradio_patches import GuardedBlocks
from app.models import Models
from app.page import build
from app.session import Session, Subject
from app.story import Story


@pytest.fixture
def models(page_checkpoints):
    return Models(page_checkpoints)


@pytest.fixture
def story(models):
    with GuardedBlocks() as page:
        story = Story(models, page)
        story.place_notice()
    return story


@pytest.fixture
def photo(tmp_path):
    tiny.picture(size=(120, 90)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def search(models, monkeypatch):
    """Searching for the square waits until `go_on` is set; `begun` says that one has begun."""
    model = models.get("digits")
    suggest_boxes = model.suggest_boxes
    search = threading.Event()
    search.begun = threading.Event()

    def slow(image):
        search.begun.set()
        assert search.wait(30)
        return suggest_boxes(image)

    monkeypatch.setattr(model, "suggest_boxes", slow)
    return search


def test_what_a_visitor_does_during_a_search_is_what_stays(story, photo, search):
    session, late = Session(), []
    asking = threading.Thread(
        target=lambda: late.append(story.ask(session, Subject(photo, "digits")))
    )
    asking.start()
    assert search.begun.wait(30)
    shown = story.ask(session, session.subject.at((0, 0, 60, 60)))
    asked = session.asked
    assert shown[story.asked] == asked is not None
    search.set()
    asking.join()
    assert late == [{story.session: session}]  # shows nothing
    assert session.subject.box == (0, 0, 60, 60) and session.asked == asked


def test_one_visitors_search_does_not_hold_up_another(story, photo, search):
    waiting = threading.Thread(target=story.ask, args=(Session(), Subject(photo, "digits")))
    waiting.start()
    assert search.begun.wait(30)
    other = Session()
    story.ask(other, Subject(photo, "digits", box=(0, 0, 50, 50)))
    assert other.subject.prediction is not None and waiting.is_alive()
    search.set()
    waiting.join()


def test_events_of_the_page_do_not_all_stand_in_one_line(models):
    lines = {}
    for event in build(models).fns.values():
        if event.queue and event.fn is not None and event.api_visibility == "private":
            lines.setdefault(event.concurrency_id, []).append(event)
    assert len(lines) > 2
    for line in lines.values():
        if len(line) > 1:  # where several kinds of event wait together, several are served
            assert {event.concurrency_limit for event in line} <= {4, 8, 16, "default"}


def test_what_comes_after_the_answer_comes_in_order_and_no_longer_when_it_was_left(story):
    session, done = Session(), []
    out = gr.HTML(render=False)

    def comes(name):
        def function(session, *given):
            done.append((name, given))
            return {out: name}

        return function

    given = [gr.Number(render=False), gr.Number(render=False)]
    for name, inputs in (("first", given[:1]), ("second", []), ("third", given[1:])):
        story.after_the_answer(comes(name), inputs, [out])
    with story.page:
        story.wire(shown_at=out)
    (event,) = [event for event in story.page.fns.values() if event.fn is not None]
    assert event.concurrency_limit == 8 and event.trigger_mode == "multiple"
    assert [update[out] for update in event.fn(session, 1, 2)] == [gr.skip()] * 3
    assert done == []  # no maps are asked for
    session.asked = "these"
    coming = event.fn(session, 1, 2)
    assert next(coming) == {out: "first"}
    session.asked = "others"
    assert [update[out] for update in coming] == [gr.skip()] * 2
    assert done == [("first", (1,))]
    # Two events asked at once, and the later word is in the session alone.
    assert [update[out] for update in event.fn(session, 1, 2)] == ["first", "second", "third"]
    assert done[1:] == [("first", (1,)), ("second", ()), ("third", (2,))]


def test_what_comes_in_steps_is_ended_when_something_else_is_looked_at(story):
    session, told = Session(), []
    out = gr.HTML(render=False)

    def steps(session):
        try:
            for number in range(3):
                yield {out: number}
        finally:
            told.append("ended")

    story.after_the_answer(steps, [], [out])
    with story.page:
        story.wire(shown_at=out)
    (event,) = [event for event in story.page.fns.values() if event.fn is not None]
    session.asked = "these"
    assert [update[out] for update in event.fn(session)] == [0, 1, 2]
    coming = event.fn(session)
    assert next(coming) == {out: 0}
    session.asked = "others"
    assert [update[out] for update in coming] == [gr.skip()]
    assert told == ["ended", "ended"]


def test_a_refusal_leaves_what_was_looked_at(story, photo):
    session = Session()
    story.ask(session, Subject(photo, "digits", box=(0, 0, 50, 50)))
    before = session.subject
    refused = story.refuse(session, "No <picture>.")
    assert session.subject is before and "No &lt;picture&gt;." in refused[story.notice]
    again = story.answer(session)  # what follows an upload, refused or not
    assert story.notice not in again and again[story.asked] == session.asked
    assert story.notice not in story.answer(Session())
