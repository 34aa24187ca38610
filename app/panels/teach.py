"""Classes of one's own: pictures that a visitor brings, and a model that is taught with them."""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from gradio.utils import get_upload_folder

from app.cage import decoded
from app.html import place, render, scripted
from app.own import LONGEST_NAME, MOST_CLASSES, Album, Lent
from app.session import Session
from app.story import PRIVATE, Story, Updates
from app.uploads import ArgumentError, speaks
from memorywrap.encoders import PHOTO
from memorywrap.images import to_input
from memorywrap.training.teaching import ENCODER, Lesson, looked_at, teach

_MOST_PICTURES = 400
_FEW = 6  # pictures of each class, on average, below which those that are left out are missed
_PICTURE = re.compile(r"data:image/jpeg;base64,([A-Za-z0-9+/=]{1,100000})")
_PROGRESS = gr.Progress()
_AT_ONCE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "mw-teach"}
_STRANGE = "The pictures did not arrive as they should: please reload the page."


class Teach:
    """What is taught with stands in the browser, made small; its pictures are here, for the session."""

    def __init__(self, story: Story) -> None:
        self._story = story
        with gr.Accordion("Teach it your own classes", open=False, elem_id="mw-teach"):
            self.desk = scripted("teach", "media", missing=None, over=None)
            self.result = place()
            self.save = gr.DownloadButton("Save your model (zip)", size="sm", visible=False)

    def wire(self) -> None:
        """Attach the events."""
        story, given = self._story, [self._story.session, self.desk]
        # One lot may come while the one before is still on its way.
        self.desk.brought(
            speaks(self.added),
            given,
            [story.session, story.notice],
            **{**PRIVATE, "trigger_mode": "multiple", "queue": False},
        )
        done = self.desk.teach(
            speaks(self.taught),
            given,
            [story.session, self.desk, self.result, self.save, story.model],
            show_progress_on=self.result,
            **{**PRIVATE, **_AT_ONCE, "show_progress": "full"},
        )
        done.then(lambda: gr.HTML(over=secrets.token_hex(4)), outputs=self.desk, **PRIVATE)
        # The picture on the page is answered by the new model.
        story.on(done.success, self.ask_new_model, [story.model], concurrency_limit=4)
        self.desk.stay(
            speaks(self.stayed), [story.session], [story.session], **{**PRIVATE, "queue": False}
        )
        gone = self.desk.forget(
            speaks(self.forgotten),
            [story.session],
            [story.session, self.result, self.save, story.model],
            **PRIVATE,
        )
        story.on(gone.success, story.ask_model, [story.model], concurrency_limit=4)

    def added(self, session: Session, value: Any) -> Updates:
        """Pictures came: JSON of {"pictures": {number: data address of a JPEG}}."""
        pictures = _object(value).get("pictures")
        if not isinstance(pictures, dict):
            raise ArgumentError(_STRANGE)
        if session.pictures is None:
            # Those that were taken away again are known when it is taught; there is room for them until then.
            session.pictures = Album(2 * _MOST_PICTURES)
        for number, address in pictures.items():
            found = _PICTURE.fullmatch(address) if isinstance(address, str) else None
            if found is None or not number.isdecimal() or len(number) > 9:
                raise ArgumentError(_STRANGE)
            try:
                session.pictures.put(int(number), base64.b64decode(found[1], validate=True))
            except binascii.Error:
                raise ArgumentError(_STRANGE) from None
        return {self._story.session: session, self._story.notice: ""}

    def taught(self, session: Session, value: Any, progress: Any = _PROGRESS) -> Updates:
        """A model is wanted: JSON of {"classes": {name: [numbers of pictures]}}."""
        album = session.pictures or Album(0)
        classes = _checked(_object(value).get("classes"))
        asked = [number for numbers in classes.values() for number in numbers]
        missing = [number for number in asked if number not in album]
        if missing:  # they are sent again, and it is asked for again
            again = json.dumps({"numbers": missing, "at": secrets.token_hex(4)})
            return {self._story.session: session, self.desk: gr.HTML(missing=again)}
        if session.lent is None:
            self._story.models.require_room()
        images, labels = [], []
        size = PHOTO[ENCODER].image_size
        for label, numbers in enumerate(classes.values()):
            for number in numbers:
                images.append(to_input(decoded(album[number]), size))
                labels.append(label)
        album.keep(set(asked))
        pixels, known = torch.stack(images), torch.tensor(labels)
        features = looked_at(
            pixels, progress=lambda part: progress(part / 2, desc="looking at the pictures")
        )
        lesson = Lesson(pixels, known, list(classes), features)
        title = f"Yours: {', '.join(classes)}"[:80]
        result = teach(
            lesson,
            title=title,
            progress=lambda part: progress(0.5 + part / 2, desc="learning"),
        )
        files = {name: [album[number] for number in found] for name, found in classes.items()}
        folder = Path(get_upload_folder())
        session.lent = None  # room for the next
        session.lent = Lent(self._story.models, result.classifier, files, folder)
        told = _told(classes, known.tolist(), result.unseen.tolist())
        return {
            self._story.session: session,
            self.result: told,
            self.save: gr.DownloadButton(value=str(session.lent.file), visible=True),
            self._story.model: self._choices(session, session.lent.name),
        }

    def ask_new_model(self, session: Session, model: str) -> Updates:
        """It was taught; or pictures were missing, and nothing has changed."""
        if session.subject is not None and session.subject.model == model:
            return {self._story.session: session}
        return self._story.ask_model(session, model)

    def stayed(self, session: Session) -> Updates:
        """What was taught is in use, at the door for programs."""
        session.stay()
        return {self._story.session: session}

    def forgotten(self, session: Session) -> Updates:
        """All of it is to be gone."""
        session.pictures, session.lent = None, None
        models = self._story.models
        if session.subject is not None and session.subject.model not in models.names:
            session.look_at(session.subject.asked_of(models.default))
        return {
            self._story.session: session,
            self.result: "",
            self.save: gr.DownloadButton(value=None, visible=False),
            self._story.model: self._choices(session, models.default),
        }

    def _choices(self, session: Session, chosen: str) -> Any:
        models = self._story.models
        choices = [(models.title(name), name) for name in models.names]
        if session.lent is not None:
            choices.append((models.title(session.lent.name), session.lent.name))
        return gr.Dropdown(choices=choices, value=chosen, visible=len(choices) > 1)


def _told(classes: dict[str, list[int]], labels: list[int], answers: list[int]) -> str:
    """How well it does, and which pictures were called what."""
    pictures = [number for numbers in classes.values() for number in numbers]
    told: list[list[list[int]]] = [[[] for _ in classes] for _ in classes]
    for number, label, answer in zip(pictures, labels, answers, strict=True):
        told[label][answer].append(number)
    triples = zip(pictures, labels, answers, strict=True)
    wrong = [number for number, label, answer in triples if answer != label]
    return render(
        "taught",
        classes=list(classes),
        confusion=told,
        right=len(pictures) - len(wrong),
        all=len(pictures),
        wrong=wrong,
        so_few=len(pictures) < _FEW * len(classes),
    )


def _object(value: Any) -> dict[str, Any]:
    try:
        found = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ArgumentError(_STRANGE)
    return found


def _checked(classes: Any) -> dict[str, list[int]]:
    """The classes as they were told, if they can be taught."""
    if not isinstance(classes, dict) or not 2 <= len(classes) <= MOST_CLASSES:
        raise ArgumentError(f"A model is taught two to {MOST_CLASSES} classes.")
    for name, numbers in classes.items():
        if not name.strip() or len(name) > LONGEST_NAME or not isinstance(numbers, list):
            raise ArgumentError(f"A class has a name of up to {LONGEST_NAME} letters.")
        if len(numbers) < 2:
            raise ArgumentError(f"The class {name} needs two pictures at least.")
        if not all(type(number) is int for number in numbers):
            raise ArgumentError(_STRANGE)
    if sum(map(len, classes.values())) > _MOST_PICTURES:
        raise ArgumentError(f"A model is taught with {_MOST_PICTURES} pictures at most.")
    return classes
