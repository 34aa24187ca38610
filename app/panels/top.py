"""The title, the choice of the model, and the memory that a model lacks."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.html import place, render
from app.models import Models
from app.shelf import ModelError
from app.story import PRIVATE, SEARCH, Story, Updates
from app.uploads import speaks
from memorywrap.data.sets import data_title, known_data_set

_PROGRESS = gr.Progress(track_tqdm=True)


class Top:
    """What stands over both columns."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._models: Models = story.models
        with gr.Row(elem_id="mw-top"):
            place(render("title"))
            self.model = story.model = gr.Dropdown(
                self.choices(),
                value=self._models.default or None,
                label="Model",
                container=False,
                elem_id="mw-model",
                visible=len(self._models.names) > 1,
            )
            place(render("scheme"), "mw-scheme")
        with gr.Row(elem_id="mw-model-note"):
            self.about = place()
            self.fetch = gr.Button("", size="sm", visible=False, elem_id="mw-fetch")

    def wire(self) -> None:
        """Attach the events, where there is a model at all."""
        if not self._models.names:
            return
        story, model, note = self._story, self.model, [self.about, self.fetch]
        story.on(model.input, story.ask_model, [model], **SEARCH)
        for event in (story.page.load, model.change):
            event(speaks(self.chosen), model, note, **PRIVATE)
        begun = self.fetch.click(speaks(self.downloading), None, note, **PRIVATE)
        fetched = begun.then(
            speaks(self.downloaded),
            model,
            [*note, model],
            show_progress_on=self.about,
            concurrency_limit=1,
            **{**PRIVATE, "show_progress": "full"},
        )
        # The picture on the page can be answered now; a new choice did not ask for it.
        story.on(fetched.success, story.ask_model, [model], **SEARCH)

    def choices(self) -> list[tuple[str, str]]:
        """The list of models: what each is called, and its name."""
        return [(self._models.title(name), name) for name in self._models.names]

    def chosen(self, model: str) -> Updates:
        """Another model was chosen."""
        return self._note(model)

    def downloading(self) -> Updates:
        """What the model lacks is being fetched."""
        # Gradio draws its progress bar over the note.
        button = gr.Button("Downloading …", interactive=False)
        return {self.about: render("fetching"), self.fetch: button}

    def downloaded(self, model: str, progress: Any = _PROGRESS) -> Updates:
        """The data set that the model lacks is wanted."""
        trouble = ""
        try:
            self._models.download(model)
        except ModelError as error:
            trouble = str(error)
        models = gr.Dropdown(choices=self.choices(), value=model)
        return {**self._note(model, trouble), self.model: models}

    def _note(self, model: str, trouble: str = "") -> Updates:
        """What the model knows, which memory it lacks, and what went wrong in fetching it."""
        missing = self._models.missing(model)
        title = None if missing is None else data_title(missing)
        record = None if missing is None else known_data_set(missing)
        megabytes = None if record is None else record.megabytes
        classes = self._models.config(model).classes
        label = f"Download {title} (about {megabytes} MB)"
        return {
            self.about: render("about", classes=classes, missing=title, trouble=trouble),
            self.fetch: gr.Button(label, interactive=True, visible=megabytes is not None),
        }
