"""The memory samples that an answer used, and what other samples would change."""

from __future__ import annotations

from app.html import place, render
from app.models import Models
from app.session import Subject
from app.story import Updates
from memorywrap import Prediction
from memorywrap.what_if import FlipSet, flip_set

_SHOWN = 8  # samples on view; the rest are folded
_TAKEN_AWAY = 20  # samples, at most, in asking what holds an answer


class Memories:
    """The memories behind the answer."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self.html = place()
        self.outputs = [self.html]

    def shows(self, subject: Subject | None) -> Updates:
        if subject is None or subject.prediction is None:
            return {self.html: ""}
        prediction, flip = subject.prediction, None
        if prediction.bank is not None:
            classifier = self._models.get(subject.model)
            flip = flip_set(classifier, prediction, limit=_TAKEN_AWAY)
        return {self.html: html(prediction, flip)}

    def wire(self) -> None:
        """It has no events."""


def html(prediction: Prediction, flip: FlipSet | None = None) -> str:
    """The samples by falling weight, the classes that come next, and a set that holds the answer."""
    bank = prediction.bank
    if bank is None:
        return render("no_memory")
    used = prediction.used
    cards = [{**prediction.memory(index), "pixels": bank.images[index]} for index in used]
    left = prediction.without_its_class
    removed = () if flip is None or flip.removed is None else flip.removed
    return render(
        "memories",
        cards=cards,
        shown=_SHOWN,
        size=len(bank),
        predicted=prediction.classes[prediction.predicted],
        next=[
            {
                "name": prediction.classes[class_],
                "share": prediction.probabilities[class_],
                "weight": None if index is None else float(prediction.weights[index]),
                "pixels": None if index is None else bank.images[index],
            }
            for class_, index in prediction.runners_up()
        ],
        left=None if left is None else {"name": prediction.classes[left[0]], "share": left[1]},
        flip=flip,
        flipped=None if flip is None else prediction.classes[flip.predicted],
        removed=[{**prediction.memory(index), "pixels": bank.images[index]} for index in removed],
        late=len(set(removed) - set(used)),
    )
