"""What happens when a person does something on the page: each method answers one event."""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from app import render
from app.api import checked_steps, explain, known
from app.models import Models
from app.uploads import checked_box, read_file, speaks, uploaded_path
from memorywrap import Explanation, Prediction
from memorywrap.attribution import BASELINES
from memorywrap.crop import drawing_box
from memorywrap.figures import paper_figure
from memorywrap.images import Box, ImageError, central_square, read_image

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.png"))
_VIEW = 1000  # longer side of the picture under the crop square, in pixels
_DRAWING = re.compile(r"^data:image/png;base64,([A-Za-z0-9+/=]{1,400000})$")


@dataclass(frozen=True)
class Current:
    """What the page is about: a file that was checked, or the bytes of a drawing, and the square."""

    source: Path | bytes
    box: Box

    def image(self) -> Image.Image:
        """The picture, upright RGB."""
        return read_file(self.source) if isinstance(self.source, Path) else read_image(self.source)


class Story:
    """The events of the page. Results are [answer, memories, maps, figure button, JSON button,
    asked], where a new value of the last one asks for the maps."""

    def __init__(self, models: Models):
        self.models = models

    @speaks
    def opened(self, file: Any, model: str) -> list[Any]:
        """A picture was uploaded, pasted or taken: [current, stage, photo, notice, *results]."""
        try:
            return self._open(uploaded_path(file), model)
        except ImageError as error:
            return [None, gr.skip(), gr.Image(value=None), render.notice(str(error)), *_nothing()]

    @speaks
    def example(self, number: Any, model: str) -> list[Any]:
        """An example was clicked: like `opened`."""
        if not isinstance(number, int) or not 0 <= number < len(EXAMPLES):
            raise ImageError("There is no such example.")
        return self._open(EXAMPLES[number], model)

    @speaks
    def moved(self, current: Current | None, box: Any, model: str) -> list[Any]:
        """The square was moved: [current, stage, *results]."""
        if current is None:
            return [None, gr.skip(), *_nothing()]
        image = current.image()
        current = Current(current.source, checked_box(box, image) or central_square(image))
        return [current, gr.skip(), *self._classified(current, model)]

    @speaks
    def suggested(self, current: Current | None, model: str) -> list[Any]:
        """The square goes back to the first guess: like `moved`."""
        if current is None:
            return [None, gr.skip(), *_nothing()]
        return self._boxed(current, self.models.get(model).suggest_box(current.image()), model)

    @speaks
    def whole(self, current: Current | None, model: str) -> list[Any]:
        """The square takes in as much as it can: like `moved`."""
        if current is None:
            return [None, gr.skip(), *_nothing()]
        return self._boxed(current, central_square(current.image()), model)

    @speaks
    def drawn(self, drawing: Any, model: str) -> list[Any]:
        """A stroke was drawn: [current, *results]. Drawings are never written to disk."""
        found = _DRAWING.match(drawing) if isinstance(drawing, str) else None
        if found is None:
            raise ImageError("The drawing did not arrive whole: please draw it again.")
        try:
            data = base64.b64decode(found[1], validate=True)
        except binascii.Error as error:
            raise ImageError("The drawing did not arrive whole: please draw it again.") from error
        current = Current(data, drawing_box(read_image(data)))
        return [current, *self._classified(current, model)]

    @speaks
    def again(self, current: Current | None, model: str) -> list[Any]:
        """Explain was pressed, or another model chosen: results."""
        return _nothing() if current is None else self._classified(current, model)

    def closed(self) -> list[Any]:
        """Room for another picture: [current, stage, photo, notice, *results]."""
        return [None, gr.HTML(visible=False), gr.Image(value=None, visible=True), "", *_nothing()]

    def wiped(self) -> list[Any]:
        """The pad is empty again: [current, *results]."""
        return [None, *_nothing()]

    @speaks
    def explained(
        self, current: Current | None, model: str, baseline: str, steps: Any
    ) -> list[Any]:
        """The maps of what is on the page: [maps, figure button, JSON button]."""
        if current is None:
            return [gr.skip(), gr.skip(), gr.skip()]
        classifier = self.models.get(model)
        prediction = classifier.predict(current.image(), box=current.box)
        if not classifier.has_memory:
            return ["", *_downloads(prediction, model)]
        settings = {
            "baseline": known("baseline", baseline, BASELINES),
            "steps": checked_steps(steps),
        }
        explanation = explain(self.models, classifier, prediction, **settings)
        return [render.explained(explanation), *_downloads(explanation, model)]

    def _open(self, path: Path, model: str) -> list[Any]:
        image = read_file(path)
        box = self.models.get(model).suggest_box(image)
        current = Current(path, box)
        view = image.copy()
        view.thumbnail((_VIEW, _VIEW))
        is_small = max(image.size) <= 256
        source = render.data_url(view) if is_small else render.data_url(view, "JPEG", quality=88)
        stage = gr.HTML(
            value=list(box), src=source, width=image.width, height=image.height, visible=True
        )
        photo = gr.Image(value=None, visible="hidden")
        return [current, stage, photo, "", *self._classified(current, model)]

    def _boxed(self, current: Current, box: Box, model: str) -> list[Any]:
        current = Current(current.source, box)
        return [current, gr.HTML(value=list(box)), *self._classified(current, model)]

    def _classified(self, current: Current, model: str) -> list[Any]:
        prediction = self.models.get(model).predict(current.image(), box=current.box)
        return [
            render.answer(prediction),
            render.memories(prediction),
            render.waiting(prediction),
            *_buttons(visible=True),
            secrets.token_hex(8),
        ]


def _nothing() -> list[Any]:
    return [render.EMPTY, "", "", *_buttons(visible=False), None]


def _buttons(visible: bool) -> list[Any]:
    return [gr.DownloadButton(value=None, interactive=False, visible=visible) for _ in range(2)]


def _downloads(result: Explanation | Prediction, model: str) -> list[Any]:
    """The figure and the JSON as files that Gradio serves, and deletes with the other uploads."""
    folder = Path(get_upload_folder()) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    text = folder / "memory-wrap.json"
    text.write_text(json.dumps(result.to_dict(model), indent=2), encoding="utf-8")
    figure = gr.DownloadButton(visible=False)
    if isinstance(result, Explanation):
        drawing = folder / "memory-wrap.png"
        paper_figure(result).save(drawing)
        figure = gr.DownloadButton(value=str(drawing), interactive=True, visible=True)
    return [figure, gr.DownloadButton(value=str(text), interactive=True, visible=True)]
