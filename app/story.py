"""How events lead to an answer, and an answer to the panels that show something of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import gradio as gr
from gradio.components import Component

from app.html import place, render
from app.models import Models
from app.session import Session, Subject
from app.temporary import KEPT
from app.uploads import speaks

Updates = dict[Any, Any]  # component -> its update; what is left out stays as it is

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

# They wait in lines of their own. Of many visitors at once, what the model does is done together: see
# `app.lanes`.
SEARCH: dict[str, Any] = {"concurrency_id": "mw-search", "concurrency_limit": 4}
ANSWER: dict[str, Any] = {"concurrency_id": "mw-answer", "concurrency_limit": 16}


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


class _Later(NamedTuple):
    """Something that comes after the answer, at once or in several steps."""

    function: Callable[..., Updates | Generator[Updates]]
    inputs: Sequence[Component]
    outputs: Sequence[Component]


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
        self._later: list[_Later] = []
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
        return event(
            speaks(function),
            [self.session, *inputs],
            self.outputs,
            **{**PRIVATE, "trigger_mode": "always_last", **options},
        )

    def after_the_answer(
        self,
        function: Callable[..., Updates | Generator[Updates]],
        inputs: Sequence[Component],
        outputs: Sequence[Component],
    ) -> None:
        """Call `function(session, *inputs)`, which takes a while, for each new answer: one after the
        other, in this order, and only while that is still looked at. It may yield updates; it is closed
        where what it works for is no longer looked at."""
        self._later.append(_Later(speaks(function), inputs, outputs))

    def wire(self, *, shown_at: Component) -> None:
        """Attach what comes after the answer, once all panels have said what that is.

        One event for all of it: two would reach the server in any order. Nor does Gradio cancel it:
        what is under way would not stop, and a cancelling that comes late would end what is wanted by
        then.

        Args:
            shown_at: where the time that it takes is shown.
        """
        given = [component for later in self._later for component in later.inputs]
        shown = [component for later in self._later for component in later.outputs]
        self.asked.change(
            self._come_after,
            [self.session, *given],
            shown,
            show_progress_on=shown_at,
            concurrency_limit=8,
            concurrency_id="explain",
            **{**PRIVATE, "show_progress": "minimal", "trigger_mode": "multiple"},
        )

    def _come_after(self, session: Session, *given: Any) -> Iterator[Updates]:
        # What is wanted now: of two events at once, Gradio may keep the value of the one that came first.
        asked = session.asked
        values = iter(given)
        for later in self._later:
            inputs = [next(values) for _ in later.inputs]
            is_wanted = asked is not None and asked == session.asked
            updates = later.function(session, *inputs) if is_wanted else {}
            steps = updates if isinstance(updates, Generator) else iter((updates,))
            for update in steps:
                # Something else may be looked at by now.
                is_wanted = is_wanted and asked == session.asked
                yield update if is_wanted else {later.outputs[0]: gr.skip()}
                if not is_wanted:
                    break
            if isinstance(steps, Generator):
                steps.close()

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

    def refuse(self, session: Session, sentence: str, at: gr.HTML | None = None) -> Updates:
        """What a person did is refused: what was looked at before stays. It is said at the picture, or
        where they did it."""
        said_at = self.notice if at is None else at
        return {self.session: session, said_at: render("notice", sentence=sentence)}

    def place_notice(self) -> None:
        """Where refusals are said."""
        self.notice = place(elem_id="mw-notice-place")
