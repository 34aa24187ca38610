"""What one visitor is looking at."""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from app.cage import decoded
from app.lanes import NotNow
from app.models import Models
from app.own import Album, Lent
from app.shelf import ModelError
from app.uploads import read_file
from memorywrap import Prediction
from memorywrap.checkpoints.config import library_versions
from memorywrap.edits import Edit
from memorywrap.images import Box, ImageError, refuse_plain


@dataclass(frozen=True, eq=False)
class Subject:
    """What is asked about, and the answer once it is there.

    Attributes:
        source: a file that was checked, or the bytes of a drawing, which are never written to disk.
        model: name of the model that is asked.
        box: the square to look at; None where it is still to be guessed.
        guesses: the squares that the model itself would choose, the first guess first, once they are
            known.
        moved: whether a person put the square where it is.
        edits: of the memory, for what the model would say then.
        prediction: the answer.
        edited: the answer with the edits; None where there are none.
        refusal: why there is no answer, in one sentence.
    """

    source: Path | bytes
    model: str
    box: Box | None = None
    guesses: tuple[Box, ...] = ()
    moved: bool = False
    edits: tuple[Edit, ...] = ()
    prediction: Prediction | None = None
    edited: Prediction | None = None
    refusal: str = ""

    @property
    def is_answered(self) -> bool:
        """Whether there is an answer, or a reason why there is none."""
        known = self.prediction is not None and (self.edited is not None or not self.edits)
        return known or bool(self.refusal)

    def image(self) -> Image.Image:
        """The picture, upright RGB.

        Raises:
            ImageError: its file is no longer there.
        """
        return read_file(self.source) if isinstance(self.source, Path) else decoded(self.source)

    def to_dict(self) -> dict[str, Any]:
        """What it takes to ask the same again; part of the numbers that a person saves."""
        data = self.source if isinstance(self.source, bytes) else self.source.read_bytes()
        return {
            "sha256": hashlib.sha256(data).hexdigest(),
            "crop": None if self.box is None else list(self.box),
            "versions": library_versions(),
        }

    def at(self, box: Box | None, *, moved: bool = False) -> Subject:
        """The same picture with another square; None lets the model guess."""
        return replace(self, box=box, moved=moved, prediction=None, edited=None, refusal="")

    def asked_of(self, model: str) -> Subject:
        """The same picture for another model, which looks for the square in a photograph itself."""
        box = None if isinstance(self.source, Path) else self.box
        return replace(self.at(box), model=model, guesses=(), edits=())

    def with_edits(self, edits: tuple[Edit, ...]) -> Subject:
        """The same with another memory; what was answered stays."""
        return replace(self, edits=edits, edited=None)

    def answered(self, models: Models) -> Subject:
        """With the model's answer, or with the reason why there is none."""
        box, guesses, prediction, edited = self.box, self.guesses, self.prediction, None
        try:
            classifier = models.get(self.model)
            if prediction is None:
                image = self.image()
                if box is None:
                    guesses = guesses or tuple(models.suggest_boxes(self.model, image))
                    box = guesses[0]
                prediction = models.predict(self.model, image, box)
                refuse_plain(prediction.pixels)
            if self.edits:
                edited = classifier.predict(prediction, bank=models.edited(self.model, self.edits))
        except (ImageError, ModelError, NotNow) as error:
            return replace(self, box=box, guesses=guesses, refusal=str(error))
        return replace(self, box=box, guesses=guesses, prediction=prediction, edited=edited)


_TURNS = threading.Lock()


@dataclass
class Session:
    """One visitor's page. Gradio gives each visitor a copy of an empty one and then keeps that very
    object, so that its prediction, which refers to the model's bank, is never copied.

    Attributes:
        subject: what is looked at; None before the first picture.
        asked: names the maps that are wanted; another value makes those of before pointless.
        edits: of the memory of each model, by its name: they stay from picture to picture.
        pictures: those that a model is to be taught with; None before the first.
        lent: the model that was taught with them.
    """

    subject: Subject | None = None
    asked: str | None = None
    edits: dict[str, tuple[Edit, ...]] = field(default_factory=dict)
    pictures: Album | None = None
    lent: Lent | None = None

    def look_at(self, subject: Subject | None, instead_of: Subject | None = None) -> bool:
        """Turn to something else. With `instead_of` only where that is still being looked at: what a
        person did meanwhile counts more than an answer that comes late."""
        self.stay()
        with _TURNS:
            if instead_of is not None and self.subject is not instead_of:
                return False
            if subject is not None:
                edits = self.edits.get(subject.model, ())
                if edits is not subject.edits:
                    subject = subject.with_edits(edits)
            self.subject = subject
        return True

    def stay(self) -> None:
        """What belongs to this visitor is in use."""
        if self.lent is not None:
            self.lent.touch()

    def ask(self) -> str | None:
        """A new name for the maps that are wanted; None where there is nothing to explain."""
        has_answer = self.subject is not None and self.subject.prediction is not None
        self.asked = secrets.token_hex(8) if has_answer else None
        return self.asked
