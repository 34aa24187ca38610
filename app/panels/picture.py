"""The picture that is asked about: a photo with its square, a drawing, or an example."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from app.cage import decoded
from app.html import data_url, place, render, scripted, static
from app.session import Session, Subject
from app.shelf import reads_digits
from app.story import ANSWER, PRIVATE, SEARCH, Story, Updates
from app.uploads import checked_box, read_file, speaks, uploaded_path
from memorywrap.crop import drawing_box
from memorywrap.images import ImageError, central_square

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.png"))
_VIEW = 1000  # longer side of the picture under the crop square, in pixels
_DRAWING = re.compile(r"^data:image/png;base64,([A-Za-z0-9+/=]{1,400000})$")
_CAMERA = {  # of a phone, the one that looks at what its owner looks at
    "video": {
        "facingMode": {"ideal": "environment"},
        "width": {"ideal": 1920},
        "height": {"ideal": 1440},
    }
}
_AT_ONCE: dict[str, Any] = {
    "queue": False
}  # what a person chose is shown before it is its turn to be answered
# What a small screen shows below the answer, a large one beside the picture.
_TO_THE_MAPS = """() => document.querySelector('.mw-explanation')?.scrollIntoView({
  behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' })"""


class Picture:
    """There is one picture at a time: a drawing takes the place of a photo, and the other way
    round."""

    def __init__(self, story: Story) -> None:
        self._story = story
        with gr.Tabs() as self.tabs:
            with gr.Tab("Photo", id="photo"):
                self.photo = gr.Image(
                    type="filepath",
                    sources=["upload", "clipboard", "webcam"],
                    webcam_options=gr.WebcamOptions(mirror=False, constraints=_CAMERA),
                    label="Your image",
                    show_label=False,
                    buttons=[],
                    height=300,
                    placeholder="Drop a photo here\nor click to choose one",
                    elem_id="mw-photo",
                )
                self.stage = scripted(
                    "crop", elem_id="mw-crop", src="", width=1, height=1, guesses=[], visible=False
                )
            with gr.Tab("Draw", id="draw"):
                self.pad_hint = place()
                self.pad = scripted("pad", value="", elem_id="mw-draw")
        story.place_notice()
        self.button = gr.Button("Go to the maps", elem_id="mw-explain")
        self.examples = gr.HTML(
            value=None,
            html_template=_example_buttons(),
            js_on_load=static("examples.js"),
            apply_default_css=False,
            elem_id="mw-examples",
        )
        self.no_examples = gr.HTML(visible=False, elem_id="mw-no-examples")
        self.outputs = [self.tabs, self.photo, self.stage, self.pad]

    def shows(self, subject: Subject | None) -> Updates:
        if subject is None or isinstance(subject.source, bytes):
            photo = gr.update(value=None, visible=True)
            return {self.stage: gr.update(visible=False), self.photo: photo}
        if subject.box is None or subject.moved:  # a square under somebody's hand is left alone
            return {}
        guesses = [list(box) for box in subject.guesses]
        return {self.stage: gr.HTML(value=list(subject.box), guesses=guesses)}

    def wire(self) -> None:
        """Attach the events."""
        story, model = self._story, self._story.model
        for event, function, given in (
            (self.photo.input, self.opened, self.photo),
            (self.examples.pick, self.example, self.examples),
        ):
            # The file is ours to check and to decode.
            shown = story.on(
                event, function, [given, model], preprocess=given is not self.photo, **_AT_ONCE
            )
            story.on(
                shown.then,
                story.answer,
                show_progress="minimal",
                show_progress_on=story.waiting,
                **SEARCH,
            )
        story.on(self.stage.moved, self.moved, [self.stage], **ANSWER)
        story.on(self.stage.suggest, self.suggested, **SEARCH)
        story.on(self.stage.whole, self.whole, **ANSWER)
        story.on(self.stage.other, self.closed, **_AT_ONCE)
        if story.models.names:
            fitting = [self.examples, self.no_examples, self.pad_hint]
            for chosen in (story.page.load, model.change):
                chosen(speaks(self.for_model), [model], fitting, **PRIVATE)
        story.on(self.pad.drawn, self.drawn, [self.pad, model], **ANSWER)
        story.on(self.pad.wiped, self.closed, **_AT_ONCE)
        self.button.click(
            speaks(self.pressed), [story.session], [story.session, story.notice], **PRIVATE
        )
        self.button.click(None, js=_TO_THE_MAPS, **PRIVATE)

    def opened(self, session: Session, file: Any, model: str) -> Updates:
        """A picture was uploaded, pasted or taken: it is shown. After a refusal the one of before
        stays."""
        if file is None:  # the camera was opened, or the photo was cleared
            return {self._story.session: session}
        try:
            return self._shown(session, uploaded_path(file), model)
        except ImageError as error:
            return {**self._story.refuse(session, str(error)), self.photo: gr.Image(value=None)}

    def example(self, session: Session, number: Any, model: str) -> Updates:
        """An example was clicked: it is shown."""
        if not isinstance(number, int) or not 0 <= number < len(EXAMPLES):
            raise ImageError("There is no such example.")
        return self._shown(session, EXAMPLES[number], model)

    def moved(self, session: Session, box: Any) -> Updates:
        """The square was moved."""
        subject = session.subject
        if subject is None:
            return self._story.show(session)
        image = subject.image()
        box = checked_box(box, image) or central_square(image)
        return self._story.ask(session, subject.at(box, moved=True))

    def suggested(self, session: Session) -> Updates:
        """The square goes back to the first guess."""
        subject = session.subject
        if subject is None:
            return self._story.show(session)
        return self._story.ask(session, subject.at(None))

    def whole(self, session: Session) -> Updates:
        """The square takes in as much as it can."""
        subject = session.subject
        if subject is None:
            return self._story.show(session)
        return self._story.ask(session, subject.at(central_square(subject.image())))

    def drawn(self, session: Session, drawing: Any, model: str) -> Updates:
        """A stroke was drawn. Drawings are never written to disk."""
        data = _drawing(drawing)
        return self._story.ask(session, Subject(data, model, drawing_box(decoded(data))))

    def closed(self, session: Session) -> Updates:
        """Room for another picture; the pad is empty again."""
        session.look_at(None)
        return self._story.show(session)

    def pressed(self, session: Session) -> Updates:
        """The maps are wanted in sight, which the browser sees to; without a picture there are
        none."""
        if session.subject is None:
            return self._story.refuse(session, "There is no image yet: try an example.")
        return {self._story.session: session}

    def for_model(self, model: str) -> Updates:
        """The examples and the words over the pad that go with a model."""
        config = self._story.models.config(model)
        digits = reads_digits(config)
        return {
            self.examples: gr.update(visible=digits),
            self.no_examples: gr.update(
                value=render("no_examples", classes=config.classes), visible=not digits
            ),
            self.pad_hint: render("pad_hint", digits=digits, classes=config.classes),
        }

    def _shown(self, session: Session, path: Path, model: str) -> Updates:
        image = read_file(path)
        view = image.copy()
        view.thumbnail((_VIEW, _VIEW))
        is_small = max(image.size) <= 256
        source = data_url(view) if is_small else data_url(view, "JPEG", quality=88)
        stage = gr.HTML(
            value=list(central_square(image)),
            src=source,
            width=image.width,
            height=image.height,
            guesses=[],
            visible=True,
        )
        session.look_at(Subject(path, model))
        return {
            **self._story.show(session),
            self.tabs: gr.Tabs(selected="photo"),
            self.stage: stage,
            self.photo: gr.Image(value=None, visible="hidden"),
            self.pad: "",
        }


def _drawing(drawing: Any) -> bytes:
    found = _DRAWING.match(drawing) if isinstance(drawing, str) else None
    if found is None:
        raise ImageError("The drawing did not arrive whole: please draw it again.")
    try:
        return base64.b64decode(found[1], validate=True)
    except binascii.Error as error:
        raise ImageError("The drawing did not arrive whole: please draw it again.") from error


def _example_buttons() -> str:
    examples = [
        (number, path.stem.partition("-")[2].replace("-", " "), _thumbnail(path))
        for number, path in enumerate(EXAMPLES)
    ]
    return render("examples", examples=examples)


def _thumbnail(path: Path) -> str:
    image = Image.open(path).convert("RGB")
    image.thumbnail((160, 160))
    return data_url(image)
