"""What would change the answer: the few pieces of a memory sample with which it would be another."""

from __future__ import annotations

import logging

import gradio as gr

from app.html import place, render
from app.models import Models
from app.session import Session, Subject
from app.story import Story, Updates
from memorywrap import PatchCounterfactual, Prediction
from memorywrap.explanation.figures import outlined

_log = logging.getLogger(__name__)


class Patch:
    """The patch counterfactual, which comes after the answer and before the maps."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._models: Models = story.models
        self.html = place()
        self.outputs = [self.html]

    def shows(self, subject: Subject | None) -> Updates:
        prediction = None if subject is None else subject.prediction
        return {self.html: "" if prediction is None else html(prediction, pending=True)}

    def wire(self) -> None:
        self._story.after_the_answer(self.found, [], self.outputs)

    def found(self, session: Session) -> Updates:
        """The pieces, found by running the model."""
        subject = session.subject
        if subject is None or subject.prediction is None:
            return {self.html: gr.skip()}
        prediction = subject.prediction
        if prediction.bank is None:
            return {self.html: ""}
        try:
            patch = self._models.patch(self._models.get(subject.model), prediction)
        except Exception:  # whatever it was: the answer stays
            _log.exception("no patch counterfactual of a picture for %s", subject.model)
            return {self.html: html(prediction, failed=True)}
        return {self.html: html(prediction, patch)}


def html(
    prediction: Prediction,
    patch: PatchCounterfactual | None = None,
    *,
    pending: bool = False,
    failed: bool = False,
) -> str:
    """The picture, the sample that pieces come from, and the picture with them."""
    bank, other = prediction.bank, prediction.other
    if bank is None or other is None:
        return ""
    source = other if patch is None else patch.source
    shown = {
        "sample": bank.images[source] if patch is None else patch.laid_over,
        "changed": None if patch is None else patch.pixels,
    }
    return render(
        "patch",
        pixels=prediction.pixels,
        predicted=prediction.classes[prediction.predicted],
        share=prediction.probabilities[prediction.predicted],
        source=prediction.memory(source),
        pictures={
            name: pixels
            if pixels is None or patch is None
            else outlined(pixels, patch.cells, patch.grid)
            for name, pixels in shown.items()
        },
        cells=() if patch is None else patch.cells,
        now=None if patch is None else patch.to_dict(),
        pending=pending,
        failed=failed,
    )
