"""Which part of a memory answers to which part of the picture, for models whose encoder can tell."""

from __future__ import annotations

import logging

import gradio as gr

from app.answers import correspondences
from app.html import place, render
from app.session import Session, Subject
from app.story import Story, Updates
from memorywrap import Correspondence, Prediction

_log = logging.getLogger(__name__)


class Parts:
    """The pairs of places, which come after the answer."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self.html = place()
        self.outputs = [self.html]

    def shows(self, subject: Subject | None) -> Updates:
        return {self.html: ""}

    def wire(self) -> None:
        self._story.after_the_answer(self.found, [], self.outputs)

    def found(self, session: Session) -> Updates:
        """The pairs of places."""
        subject = session.subject
        if subject is None or subject.prediction is None or subject.prediction.bank is None:
            return {self.html: gr.skip()}
        try:
            classifier = self._story.models.get(subject.model)
            return {
                self.html: html(subject.prediction, correspondences(classifier, subject.prediction))
            }
        except Exception:  # whatever it was: the answer stays
            _log.exception("no correspondence of a picture for %s", subject.model)
            return {self.html: ""}


def html(prediction: Prediction, found: list[Correspondence]) -> str:
    """Picture and sample side by side, with a line for each pair; nothing where nothing can be told."""
    bank = prediction.bank
    if bank is None or not found:
        return ""
    shown = [
        {
            **prediction.memory(one.index),
            "pixels": bank.images[one.index],
            "similarity": one.similarity,
            "grid": one.grid,
            "pairs": one.pairs,
        }
        for one in found
    ]
    return render("parts", pixels=prediction.pixels, shown=shown)
