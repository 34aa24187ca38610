"""What the model says: the predicted class first, then the runners-up, beside what the model sees."""

from __future__ import annotations

from typing import Any

from app.html import place, render
from app.session import Subject
from app.story import Story, Updates
from memorywrap import Prediction

_TOP = 4  # classes on view


class Answer:
    """The answer, or why there is none."""

    def __init__(self, story: Story) -> None:
        self.html = story.waiting = place(html(None))
        self.outputs = [self.html]

    def shows(self, subject: Subject | None) -> Updates:
        return {self.html: html(subject)}

    def wire(self) -> None:
        """It has no events."""


def html(subject: Subject | None) -> str:
    """The answer's place in each of its states."""
    if subject is None:
        return render("empty")
    if subject.prediction is not None:
        return answer(subject.prediction)
    if subject.refusal:
        return render("refused", sentence=subject.refusal)
    return render("busy")


def answer(prediction: Prediction) -> str:
    """A prediction in words, bars and numbers."""
    shares = prediction.probabilities
    order = sorted(range(len(shares)), key=lambda index: -shares[index])
    rows = [(prediction.classes[index], shares[index]) for index in order[:_TOP]]
    return render(
        "answer",
        rows=rows,
        others=len(order) - len(rows),
        rest=sum(shares[index] for index in order[_TOP:]),
        pixels=prediction.pixels,
        stranger=_sample(prediction, prediction.nearest) if prediction.unlike else None,
        tells=prediction.familiarity is not None,
        often=prediction.right_in_100,
    )


def _sample(prediction: Prediction, index: int | None) -> dict[str, Any] | None:
    """A memory sample to look at."""
    if prediction.bank is None or index is None:
        return None
    return {**prediction.memory(index), "pixels": prediction.bank.images[index]}
