"""What the camera sees, answered several times a second with the memories that decide."""

from __future__ import annotations

import json

import gradio as gr

from app.html import scripted
from app.story import PRIVATE, Story, Updates
from app.uploads import speaks


class Live:
    """Its script asks for the answers itself, at the plain door for programs: nothing of it is kept."""

    def __init__(self, story: Story) -> None:
        self._story = story
        with gr.Accordion("Live camera", open=False, elem_id="mw-live"):
            self.view = scripted("live", "media", value=self._told(story.models.default))

    def wire(self) -> None:
        """Attach the events."""
        if self._story.models.names:
            for chosen in (self._story.page.load, self._story.model.change):
                chosen(speaks(self.chosen), [self._story.model], [self.view], **PRIVATE)

    def chosen(self, model: str) -> Updates:
        """Another model was chosen."""
        return {self.view: self._told(model)}

    @staticmethod
    def _told(model: str) -> str:
        return json.dumps({"model": model})
