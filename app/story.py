"""How events lead to an answer, and an answer to the panels that show something of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import gradio as gr
from gradio.components import Component

from app.html import place, render
from app.models import Models
from app.session import KEPT, Session, Subject
from app.uploads import speaks

Updates = dict[Any, Any]  # component -> its update; what is left out stays as it is

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

# Looking for the square in a large photograph takes a second, an answer some milliseconds. They wait
# in lines of their own, and several visitors are served at once.
SEARCH: dict[str, Any] = {"concurrency_id": "mw-search", "concurrency_limit": 2}
ANSWER: dict[str, Any] = {"concurrency_id": "mw-answer", "concurrency_limit": 4}


class Panel(Protocol):
    """A part of the page that shows something of what a visitor looks at."""

    @property
    def outputs(self) -> Sequence[Component]:
        """The components that it updates."""
        ...

    def shows(self, subject: Subject | None) -> Updates:
        """What the panel looks like: with nothing to show, while an answer is awaited, where it was
        refused, and with the answer."""
        ...

    def wire(self) -> None:
        """Attach the panel's events, once all panels have been placed."""
        ...


class Story:
    """What all panels of a page being built share. Its components are placed where it is made.

    Events may run at the same time. Each first says in the session what is looked at now; an answer
    that comes when that is no longer looked at is dropped.
    """

    def __init__(self, models: Models, page: gr.Blocks):
        self.models, self.page = models, page
        self.session = gr.State(Session(), time_to_live=KEPT)
        self.asked = gr.State(None)  # a new value asks for the maps
        self.notice: gr.HTML  # placed by the panel of the picture
        self.model: gr.Dropdown  # placed by the panel at the top
        self.panels: list[Panel] = []
        self.explaining: list[Any] = []  # the events that come after the answer
        self.waiting: gr.HTML  # where the place in line is shown; placed by the panel of the answer

    @property
    def outputs(self) -> list[Component]:
        """All that an answer changes."""
        shown = [component for panel in self.panels for component in panel.outputs]
        return [self.session, self.asked, self.notice, *shown]

    def on(
        self,
        event: Callable[..., Any],
        function: Callable[..., Updates],
        inputs: Sequence[Component] = (),
        **options: Any,
    ) -> Any:
        """Attach `function(session, *inputs)`, which returns updates by component, to an event that
        changes what is looked at."""
        # What was to come after the answer of before is pointless then. Registered before the event
        # itself: the browser takes them in order, and would cancel the new maps otherwise.
        event(None, cancels=self.explaining)
        return self.then(event, function, inputs, **options)

    def then(
        self,
        event: Callable[..., Any],
        function: Callable[..., Updates],
        inputs: Sequence[Component] = (),
        **options: Any,
    ) -> Any:
        """As `on`, for an event that goes on with what another has begun."""
        return event(
            speaks(function),
            [self.session, *inputs],
            self.outputs,
            **{**PRIVATE, "trigger_mode": "always_last", **options},
        )

    def after_the_answer(
        self,
        function: Callable[..., Updates],
        inputs: Sequence[Component],
        outputs: Sequence[Component],
        *,
        shown_at: Component,
    ) -> None:
        """Attach `function(session, asked, *inputs)`, which takes a while, to each new answer: one at a
        time, in the order of attaching, and no longer when something else is looked at."""
        event = self.asked.change(
            speaks(function),
            [self.session, self.asked, *inputs],
            list(outputs),
            show_progress_on=shown_at,
            concurrency_limit=1,
            concurrency_id="explain",
            **{**PRIVATE, "show_progress": "minimal"},
        )
        self.explaining.append(event)

    def ask(self, session: Session, subject: Subject) -> Updates:
        """Turn to something and answer it."""
        session.look_at(subject)
        return self.answer(session)

    def answer(self, session: Session) -> Updates:
        """The answer to what is looked at, on all panels."""
        subject = session.subject
        if subject is None or subject.is_answered:  # what came was refused, which stays to be read
            return {self.session: session, self.asked: session.ask()}
        answered = subject.answered(self.models)
        if not session.look_at(answered, instead_of=subject):
            return {self.session: session}
        return self.show(session)

    def ask_model(self, session: Session, model: str) -> Updates:
        """The same picture, for another model."""
        if session.subject is None:
            return {self.session: session}
        return self.ask(session, session.subject.asked_of(model))

    def show(self, session: Session) -> Updates:
        """What is looked at, on all panels, and a new demand for its maps."""
        updates: Updates = {self.session: session, self.asked: session.ask(), self.notice: ""}
        for panel in self.panels:
            updates |= panel.shows(session.subject)
        return updates

    def refuse(self, session: Session, sentence: str) -> Updates:
        """What a person did is refused: what was looked at before stays."""
        return {self.session: session, self.notice: render("notice", sentence=sentence)}

    def place_notice(self) -> None:
        """Where refusals are said."""
        self.notice = place(elem_id="mw-notice-place")
