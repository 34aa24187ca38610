"""Tools beside the answer that ask the chosen model themselves, at the plain door for programs: nothing is kept."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from app.html import scripted
from app.story import PRIVATE, Story, Updates
from app.uploads import speaks
from memorywrap.measures.pictures import COLUMNS, shared


class Tool:
    """A part of the page whose script is told which model is chosen.

    Args:
        story: of the page.
        heading: what it is called, folded away.
        name: of its files in app/static, and, after mw-, of its place.
        properties: as of `html.scripted`.
    """

    def __init__(self, story: Story, heading: str, name: str, **properties: Any) -> None:
        self._story = story
        with gr.Accordion(heading, open=False, elem_id=f"mw-{name}"):
            value = self._told(story.models.default)
            self.view = scripted(name, "media", value=value, **properties)

    def wire(self) -> None:
        """Attach the events."""
        if self._story.models.names:
            for chosen in (self._story.page.load, self._story.model.change):
                chosen(speaks(self.chosen), [self._story.model], [self.view], **PRIVATE)

    def chosen(self, model: str) -> Updates:
        """Another model was chosen."""
        return {self.view: self._told(model)}

    def _told(self, model: str) -> str:
        if not self._story.models.names:
            return json.dumps({"model": "", "title": "", "classes": []})
        config = self._story.models.config(model)
        told = {"model": model, "title": config.title, "classes": list(config.classes)}
        return json.dumps(told)


def live(story: Story) -> Tool:
    """What the camera sees, answered several times a second with the memories that decide."""
    return Tool(story, "Live camera", "live")


def many(story: Story) -> Tool:
    """Many pictures at once: a table of answers, with labels from folders a measure, to save as CSV or a page."""
    report = {"columns": COLUMNS, "css": shared("css"), "script": shared("js")}
    before = f"const REPORT = {json.dumps(report)};\n{shared('js')}"
    heading = "Many pictures at once"
    return Tool(story, heading, "many", before=before, css_template=shared("css"))
