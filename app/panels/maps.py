"""Which pixels mattered: each picture beside its map, how exact the maps are, and what to save."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Generator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from app.answers import checked_settings
from app.html import place, render
from app.panels.settings import Settings
from app.session import Session, Subject
from app.story import Story, Updates
from memorywrap import Explanation, MemoryWrapClassifier, PatchCounterfactual, Prediction
from memorywrap.explanation.baselines import DEFAULT, in_words
from memorywrap.explanation.figures import FigurePart, figure_parts, paper_figure

_log = logging.getLogger(__name__)

_PATIENCE = 2.0  # seconds before a visitor is told how many come first, and between two such lines
# A fixed number of steps may be too small: from here on the maps come with a warning.
_CARELESS = 0.05

_ROLES = {
    "input": ("input", "your image"),
    "example": ("example", "speaks most for the answer"),
    "counterfactual": ("counterfactual", "speaks most against the answer"),
    "contrast": ("contrast", "most similar of another class"),
}


class Maps:
    """The maps, which come after the answer, and the figure and the numbers as files."""

    def __init__(self, story: Story, settings: Settings) -> None:
        self._story, self._settings = story, settings
        self.html = place()
        with gr.Row(elem_id="mw-downloads"):
            self.figure = gr.DownloadButton("Save the figure (PNG)", size="sm", visible=False)
            self.numbers = gr.DownloadButton("Save the numbers (JSON)", size="sm", visible=False)
        self.outputs = [self.html, self.figure, self.numbers]

    def shows(self, subject: Subject | None) -> Updates:
        prediction = None if subject is None else subject.prediction
        button = gr.DownloadButton(value=None, interactive=False, visible=prediction is not None)
        html = "" if prediction is None else without_maps(prediction)
        return {self.html: html, self.figure: button, self.numbers: button}

    def wire(self) -> None:
        story, settings = self._story, self._settings.components
        story.after_the_answer(self.explained, settings, self.outputs)
        for setting in settings:
            story.on(setting.input, self.again)

    def again(self, session: Session) -> Updates:
        """A setting was changed: the answer stays, the maps are made anew."""
        story = self._story
        return {story.session: session, story.asked: session.ask(), **self.shows(session.subject)}

    def explained(
        self, session: Session, method: Any, baseline: Any, steps: Any
    ) -> Updates | Generator[Updates]:
        """The maps that were asked for."""
        subject = session.subject
        if subject is None or subject.prediction is None:
            return {self.html: gr.skip()}
        models = self._story.models
        prediction, classifier = subject.prediction, models.get(subject.model)
        if not classifier.has_memory:
            return {self.html: "", **self._files(subject, prediction)}
        # What was set for another model may not be there for this one; the maps say where they begin.
        begin = baseline if baseline in classifier.baselines else DEFAULT
        settings = checked_settings(classifier, method, begin, steps)
        return self._explaining(subject, prediction, classifier, settings)

    def _explaining(
        self,
        subject: Subject,
        prediction: Prediction,
        classifier: MemoryWrapClassifier,
        settings: dict[str, Any],
    ) -> Generator[Updates]:
        """The place in the line for as long as it takes, then the maps. Left early, it frees its places."""
        models = self._story.models
        made: list[Future[Explanation]] = []
        try:
            made.append(models.explain_meanwhile(classifier, prediction, **settings))
            if prediction.rival is not None:
                against = {"against": prediction.rival, **settings}
                made.append(models.explain_meanwhile(classifier, prediction, **against))
            told = 0
            while wait(made, _PATIENCE).not_done:
                ahead = models.maps.ahead(made[0])
                if ahead != told:
                    yield {self.html: without_maps(prediction, ahead=ahead)}
                told = ahead
            explanation, *rivalry = [one.result() for one in made]
            files = self._files(subject, explanation, models.patch(classifier, prediction))
            yield {self.html: explained(explanation, *rivalry), **files}
        except Exception:  # whatever it was: the answer stays, and nobody waits for maps for ever
            _log.exception("no maps of a picture for %s", subject.model)
            yield {self.html: without_maps(prediction, failed=True)}
        finally:
            for one in made:
                one.cancel()

    def _files(
        self,
        subject: Subject,
        result: Explanation | Prediction,
        patch: PatchCounterfactual | None = None,
    ) -> Updates:
        """The figure and the JSON as files that Gradio serves, and deletes with the other uploads."""
        folder = Path(get_upload_folder()) / secrets.token_hex(16)
        folder.mkdir(parents=True)
        text = folder / "memory-wrap.json"
        if isinstance(result, Explanation):
            told = result.to_dict(subject.model, patch)
        else:
            told = result.to_dict(subject.model)
        told["asked"] = subject.to_dict()
        text.write_text(json.dumps(told, indent=2), encoding="utf-8")
        figure = gr.DownloadButton(visible=False)
        if isinstance(result, Explanation):
            drawing = folder / "memory-wrap.png"
            title = self._story.models.config(subject.model).title
            paper_figure(result, patch, model=title).save(drawing)
            figure = gr.DownloadButton(value=str(drawing), interactive=True, visible=True)
        numbers = gr.DownloadButton(value=str(text), interactive=True, visible=True)
        return {self.figure: figure, self.numbers: numbers}


def without_maps(prediction: Prediction, *, failed: bool = False, ahead: int = 0) -> str:
    """The maps' place, kept at its size until they are there, or because there will be none.

    Args:
        prediction: what is explained.
        failed: there will be none.
        ahead: explanations of others that come first.
    """
    if prediction.bank is None:
        return ""
    shown = [("input", prediction.pixels)]
    for role in list(_ROLES)[1:]:
        index = getattr(prediction, role)
        if index is not None:
            shown.append((role, prediction.bank.images[index]))
    panels = [_panel(role, pixels) for role, pixels in shown]
    rivals = [panel for panel in panels if panel["role"] != "example"]
    return _html(prediction, panels, rivals, failed=failed, ahead=ahead)


def explained(explanation: Explanation, rivalry: Explanation | None = None) -> str:
    """Each picture beside its map, and how exact the maps are.

    Args:
        explanation: of the predicted class.
        rivalry: of the predicted class against the prediction's rival.
    """
    panels = [_panel_of(part) for part in figure_parts(explanation)]
    parts = [] if rivalry is None else figure_parts(rivalry)
    rivals = [_panel_of(part) for part in parts if part.role != "example"]
    return _html(explanation.prediction, panels, rivals, explanation, rivalry)


def _html(
    prediction: Prediction,
    panels: list[dict[str, Any]],
    rivals: list[dict[str, Any]],
    explanation: Explanation | None = None,
    rivalry: Explanation | None = None,
    *,
    failed: bool = False,
    ahead: int = 0,
) -> str:
    rival = prediction.rival
    return render(
        "maps",
        predicted=prediction.classes[prediction.predicted],
        rival=None if rival is None else prediction.classes[rival],
        counterfactual=prediction.counterfactual,
        contrast=prediction.contrast,
        panels=panels,
        rivals=rivals,
        explanation=explanation,
        careless=explanation is not None and _is_careless(explanation),
        start="" if explanation is None else in_words(explanation.baseline),
        failed=failed,
        ahead=ahead,
        rivalry=rivalry,
        careless_rivalry=rivalry is not None and _is_careless(rivalry),
    )


def _panel(role: str, pixels: Any) -> dict[str, Any]:
    """A picture whose map is not there yet."""
    name, words = _ROLES[role]
    return {
        "role": role,
        "name": name,
        "words": words,
        "image": pixels,
        "map": None,
        "where": "",
        "lines": ["", ""],
    }


def _panel_of(part: FigurePart) -> dict[str, Any]:
    lines = [", ".join(part.details[:2]), ", ".join(part.details[2:])]
    return {**_panel(part.role, part.image), "map": part.map, "where": part.where, "lines": lines}


def _is_careless(explanation: Explanation) -> bool:
    """A person should not have to open anything to learn that a map is not to be trusted."""
    error = explanation.completeness_error
    return error is not None and (explanation.converged is False or error > _CARELESS)
