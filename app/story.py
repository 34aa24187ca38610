"""What happens when a person does something on the page: each method answers one event."""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from app import render
from app.api import checked_settings
from app.models import ModelError, Models
from app.uploads import checked_box, read_file, speaks, uploaded_path
from memorywrap import Explanation, Prediction
from memorywrap.crop import drawing_box
from memorywrap.data.published import DOWNLOAD_MEGABYTES
from memorywrap.data.sets import data_title
from memorywrap.explanation.figures import paper_figure
from memorywrap.images import Box, ImageError, central_square, read_image
from memorywrap.what_if import flip_set

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.png"))
_VIEW = 1000  # longer side of the picture under the crop square, in pixels
_TAKEN_AWAY = 20  # memory samples, at most, in asking what holds an answer
_STAYS = gr.skip()
_NO_STAGE = gr.update(visible=False)
_NO_PHOTO = gr.update(value=None, visible=True)
_PROGRESS = gr.Progress(track_tqdm=True)
_DRAWING = re.compile(r"^data:image/png;base64,([A-Za-z0-9+/=]{1,400000})$")


@dataclass(frozen=True)
class Current:
    """What the page is about: a file that was checked, or the bytes of a drawing, and the square."""

    source: Path | bytes
    box: Box

    def image(self) -> Image.Image:
        """The picture, upright RGB."""
        return read_file(self.source) if isinstance(self.source, Path) else read_image(self.source)


class Screen(NamedTuple):
    """What an event puts on the page, in the order of its outputs; what is left out stays as it is.
    A new value of `asked` asks for the maps."""

    current: Any = _STAYS
    stage: Any = _STAYS
    photo: Any = _STAYS
    pad: Any = _STAYS
    notice: Any = ""
    answer: Any = _STAYS
    memories: Any = _STAYS
    maps: Any = _STAYS
    figure: Any = _STAYS
    numbers: Any = _STAYS
    asked: Any = _STAYS


class Story:
    """The events of the page. There is one picture at a time: a drawing takes the place of a photo,
    and the other way round."""

    def __init__(self, models: Models):
        self.models = models

    @speaks
    def opened(self, file: Any, model: str) -> Screen:
        """A picture was uploaded, pasted or taken. After a refusal the one of before stays."""
        try:
            return self._open(uploaded_path(file), model)
        except ImageError as error:
            # The upload has stopped the maps of the picture of before: they are asked for again.
            return Screen(
                photo=gr.Image(value=None), notice=render.notice(str(error)), asked=_token()
            )

    @speaks
    def example(self, number: Any, model: str) -> Screen:
        """An example was clicked."""
        if not isinstance(number, int) or not 0 <= number < len(EXAMPLES):
            raise ImageError("There is no such example.")
        return self._open(EXAMPLES[number], model)

    @speaks
    def moved(self, current: Current | None, box: Any, model: str) -> Screen:
        """The square was moved."""
        if current is None:
            return _nothing()
        image = current.image()
        box = checked_box(box, image) or central_square(image)
        return self._answered(Current(current.source, box), model)

    @speaks
    def suggested(self, current: Current | None, model: str) -> Screen:
        """The square goes back to the first guess."""
        return self._boxed(current, self._guess, model)

    @speaks
    def whole(self, current: Current | None, model: str) -> Screen:
        """The square takes in as much as it can."""
        return self._boxed(current, lambda image, _: central_square(image), model)

    @speaks
    def drawn(self, drawing: Any, model: str) -> Screen:
        """A stroke was drawn. Drawings are never written to disk."""
        found = _DRAWING.match(drawing) if isinstance(drawing, str) else None
        if found is None:
            raise ImageError("The drawing did not arrive whole: please draw it again.")
        try:
            data = base64.b64decode(found[1], validate=True)
        except binascii.Error as error:
            raise ImageError("The drawing did not arrive whole: please draw it again.") from error
        current = Current(data, drawing_box(read_image(data)))
        return self._answered(current, model, stage=_NO_STAGE, photo=_NO_PHOTO)

    @speaks
    def again(self, current: Current | None, model: str) -> Screen:
        """Another model was chosen, or another setting."""
        return Screen() if current is None else self._answered(current, model)

    @speaks
    def pressed(self, current: Current | None, model: str) -> Screen:
        """Explain was pressed."""
        if current is None:
            return Screen(notice=render.notice("There is no image yet: try an example."))
        return self._answered(current, model)

    @speaks
    def chosen(self, model: str) -> list[Any]:
        """Another model was chosen: [what is said about it, button for what it lacks]."""
        return self._about(model)

    @speaks
    def downloading(self, model: str) -> list[Any]:
        """What the model lacks is being fetched: [about, button]."""
        return [render.FETCHING, gr.Button("Downloading …", interactive=False)]

    @speaks
    def downloaded(self, model: str, progress: Any = _PROGRESS) -> list[Any]:
        """The data set that the model lacks is wanted: [about, button, list of models]."""
        trouble = ""
        try:
            self.models.download(model)
        except ModelError as error:
            trouble = str(error)
        return [*self._about(model, trouble), gr.Dropdown(choices=self.choices(), value=model)]

    def choices(self) -> list[tuple[str, str]]:
        """The list of models: what each is called, and its name."""
        return [(self._title(name), name) for name in self.models.names]

    def closed(self) -> Screen:
        """Room for another picture."""
        return _nothing()._replace(stage=_NO_STAGE, photo=_NO_PHOTO)

    def wiped(self) -> Screen:
        """The pad is empty again."""
        return _nothing()

    @speaks
    def explained(
        self,
        asked: str | None,
        current: Current | None,
        model: str,
        method: str,
        baseline: str,
        steps: Any,
    ) -> list[Any]:
        """The maps of what is on the page: [maps, figure button, JSON button]."""
        if asked is None or current is None:
            return [gr.skip(), gr.skip(), gr.skip()]
        classifier = self.models.get(model)
        prediction = classifier.predict(current.image(), box=current.box)
        if not classifier.has_memory:
            return ["", *_downloads(prediction, model)]
        settings = checked_settings(method, baseline, steps)
        explanation = self.models.explain(classifier, prediction, **settings)
        rivalry = None
        if prediction.rival is not None:
            against = {"against": prediction.rival, **settings}
            rivalry = self.models.explain(classifier, prediction, **against)
        return [render.explained(explanation, rivalry), *_downloads(explanation, model)]

    def _title(self, name: str) -> str:
        title = self.models.config(name).title
        return title if self.models.available(name) else f"{title} (no memory yet)"

    def _about(self, model: str, trouble: str = "") -> list[Any]:
        missing = self.models.missing(model)
        title = None if missing is None else data_title(missing)
        megabytes = DOWNLOAD_MEGABYTES.get(missing)
        words = render.about(self.models.config(model).classes, title, trouble)
        label = f"Download {title} (about {megabytes} MB)"
        return [words, gr.Button(label, interactive=True, visible=megabytes is not None)]

    def _open(self, path: Path, model: str) -> Screen:
        image = read_file(path)
        box = self._guess(image, model)
        view = image.copy()
        view.thumbnail((_VIEW, _VIEW))
        is_small = max(image.size) <= 256
        source = render.data_url(view) if is_small else render.data_url(view, "JPEG", quality=88)
        stage = gr.HTML(
            value=list(box), src=source, width=image.width, height=image.height, visible=True
        )
        hidden = gr.Image(value=None, visible="hidden")
        return self._answered(Current(path, box), model, stage=stage, photo=hidden, pad="")

    def _guess(self, image: Image.Image, model: str) -> Box:
        try:
            return self.models.get(model).suggest_box(image)
        except ModelError:  # said where the answer would be, once the picture is there
            return central_square(image)

    def _boxed(
        self, current: Current | None, choose: Callable[[Image.Image, str], Box], model: str
    ) -> Screen:
        if current is None:
            return _nothing()
        box = choose(current.image(), model)
        return self._answered(Current(current.source, box), model, stage=gr.HTML(value=list(box)))

    def _answered(self, current: Current, model: str, **parts: Any) -> Screen:
        try:
            classifier = self.models.get(model)
            prediction = classifier.predict(current.image(), box=current.box)
        except (ImageError, ModelError) as error:
            # The answer of before goes: it was another model's, or another picture's.
            answer = render.refused(str(error))
            return _nothing()._replace(current=current, answer=answer, **parts)
        flip = None
        if prediction.bank is not None:
            flip = flip_set(classifier, prediction, limit=_TAKEN_AWAY)
        figure, numbers = _buttons(visible=True)
        return Screen(
            current=current,
            answer=render.answer(prediction),
            memories=render.memories(prediction, flip),
            maps=render.waiting(prediction),
            figure=figure,
            numbers=numbers,
            asked=_token(),
            **parts,
        )


def _nothing() -> Screen:
    figure, numbers = _buttons(visible=False)
    return Screen(
        current=None,
        answer=render.EMPTY,
        memories="",
        maps="",
        figure=figure,
        numbers=numbers,
        asked=None,
    )


def _token() -> str:
    return secrets.token_hex(8)


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
