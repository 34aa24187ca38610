"""Many pictures at once: a table of answers, with labels from folders a measure, to save as CSV or a page."""

from __future__ import annotations

import json

import gradio as gr

from app.html import scripted
from app.story import PRIVATE, Story, Updates
from app.uploads import speaks
from memorywrap.measures.pictures import COLUMNS, shared


class Many:
    """Its script asks for the answers itself, at the plain door for programs: nothing of it is kept."""

    def __init__(self, story: Story) -> None:
        self._story = story
        report = {"columns": COLUMNS, "css": shared("css"), "script": shared("js")}
        with gr.Accordion("Many pictures at once", open=False, elem_id="mw-many"):
            self.view = scripted(
                "many",
                "media",
                before=f"const REPORT = {json.dumps(report)};\n{shared('js')}",
                css_template=shared("css"),
                value=self._told(story.models.default),
            )

    def wire(self) -> None:
        """Attach the events."""
        if self._story.models.names:
            for chosen in (self._story.page.load, self._story.model.change):
                chosen(speaks(self.chosen), [self._story.model], [self.view], **PRIVATE)

    def chosen(self, model: str) -> Updates:
        """Another model was chosen."""
        return {self.view: self._told(model)}

    def _told(self, model: str) -> str:
        models = self._story.models
        if not models.names:
            return json.dumps({"model": "", "title": "", "classes": []})
        config = models.config(model)
        told = {"model": model, "title": config.title, "classes": list(config.classes)}
        return json.dumps(told)
