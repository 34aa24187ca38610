"""What if the memory were another? Edits of it, each visitor's own, with the answer before and after."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from app.html import data_url, place, render, static
from app.session import Session, Subject
from app.shelf import ModelError
from app.story import ANSWER, PRIVATE, Story, Updates
from app.uploads import ArgumentError, speaks
from memorywrap import MemoryBank, Prediction, flip_set
from memorywrap.bank import bank_picture
from memorywrap.edits import MOST, Edit, parsed, standing
from memorywrap.explanation.figures import full_colour, overlay

_COLUMNS = 20  # samples in a row of the picture that all thumbnails are cut from
_TAKEN_AWAY = 20  # samples, at most, in asking what holds an answer


class WhatIf:
    """The whole memory to look at and to edit, and what the model says then."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self.fold = gr.Accordion(
            "What if the memory were another?", open=False, elem_id="mw-what-if"
        )
        with self.fold:
            self.sprite = place()
            self.notice = place()  # the page's own is out of sight from here
            self.html = place()
            self.sample = place()
        self.edit = gr.HTML(
            value=None,
            html_template="",
            js_on_load=static("what_if.js"),
            apply_default_css=False,
            elem_id="mw-edit",
        )
        self.outputs = [self.sprite, self.notice, self.html, self.sample]

    def shows(self, subject: Subject | None) -> Updates:
        prediction = None if subject is None else subject.prediction
        if subject is None or prediction is None or prediction.bank is None:
            return {self.html: render("what_if_empty"), self.sample: "", self.notice: ""}
        shown = html(prediction, subject.edited or prediction, subject.edits)
        return {self.html: shown, self.sample: "", self.notice: ""}

    def wire(self) -> None:
        # The pictures of the memory are most of the page's bytes, and the same from answer to answer:
        # they come when the panel is opened, or with another memory.
        for event in (self.fold.expand, self._story.model.change):
            given = [self._story.session, self._story.model]
            event(speaks(self.opened), given, self.sprite, **PRIVATE)
        self._story.on(self.edit.edit, self.asked, [self.edit], **ANSWER)
        given = [self._story.session, self.edit]
        self.edit.select(speaks(self.chosen), given, self.sample, **PRIVATE)

    def opened(self, session: Session, model: str) -> str:
        """The pictures of the memory as a visitor has edited it; nothing where there is no memory."""
        try:
            return sprite(self._story.models.edited(model, session.edits.get(model, ())))
        except ModelError:  # which is said where the answer stands
            return ""

    def chosen(self, session: Session, asked: Any) -> str:
        """The map of a sample that was clicked, and what it adds to the answer: JSON of {"chosen":
        bank index}."""
        subject = session.subject
        prediction = None if subject is None else subject.edited or subject.prediction
        if subject is None or prediction is None or prediction.bank is None:
            return ""
        index = _single(asked).get("chosen")
        if index not in prediction.used:  # which is said beside its picture
            return ""
        models = self._story.models
        explanation = models.explain(models.get(subject.model), prediction, also=(index,))
        return render(
            "what_if_sample",
            index=index,
            adds=explanation.memory_contributions[index],
            predicted=prediction.classes[prediction.predicted],
            pixels=prediction.bank.images[index],
            map=overlay(
                prediction.bank.images[index],
                explanation.memory_maps[index],
                full=full_colour(explanation),
            ),
        )

    def asked(self, session: Session, asked: Any) -> Updates:
        """An edit was asked for: JSON of {name: value}, with one of the names of `Edit.kind`, or "undo",
        "reset", "smallest" (to take away the smallest set that holds the answer) or "label" (to add what
        the model sees as a sample with that label)."""
        story, subject = self._story, session.subject
        if subject is None or subject.prediction is None or subject.prediction.bank is None:
            return story.refuse(session, "There is no answer yet to compare with.", self.notice)
        try:
            edits = self._after(subject, _single(asked))
        except ValueError as error:
            return story.refuse(session, str(error), self.notice)
        answered = subject.with_edits(edits).answered(story.models)
        if answered.refusal:  # refused as a whole: the edits of before stay
            return story.refuse(session, answered.refusal, self.notice)
        session.edits[subject.model] = edits
        if not session.look_at(answered, instead_of=subject):  # something else is looked at by now
            return {story.session: session}
        after = answered.edited or answered.prediction
        assert after is not None
        pictures = {self.sprite: sprite(after.require_bank())}
        return {story.session: session, story.notice: "", **self.shows(answered), **pictures}

    def _after(self, subject: Subject, asked: dict[str, Any]) -> tuple[Edit, ...]:
        ((name, value),) = asked.items()
        prediction = subject.edited or subject.prediction
        assert prediction is not None
        classifier = self._story.models.get(subject.model)
        if name == "undo":
            return subject.edits[:-1]
        if name == "reset":
            return ()
        if name == "smallest":
            flip = flip_set(classifier, prediction, limit=_TAKEN_AWAY)
            if flip.removed is None:
                raise ArgumentError(
                    f"No set of up to {_TAKEN_AWAY} memories was found without which it changes."
                )
            new = [Edit("remove", index) for index in flip.removed]
        elif name == "label":
            read = {"add": {"image": None, "label": value}}
            new = parsed([read], classifier, lambda _: prediction.pixels)
        else:
            new = parsed([asked], classifier, lambda _: prediction.pixels)
        if len(subject.edits) + len(new) > MOST:
            raise ArgumentError(f"There are {MOST} edits already: undo some, or start over.")
        return (*subject.edits, *new)


def _single(asked: Any) -> dict[str, Any]:
    try:
        found = json.loads(asked)
    except (TypeError, ValueError) as error:
        raise ArgumentError("The edit was not understood.") from error
    if not isinstance(found, dict) or len(found) != 1:
        raise ArgumentError("The edit was not understood.")
    return found


def sprite(bank: MemoryBank) -> str:
    """All samples as one picture, which the thumbnails show parts of."""
    whole = bank_picture(bank, _COLUMNS, removed=True)
    return render("what_if_sprite", source=data_url(whole), width=whole.width, height=whole.height)


def html(before: Prediction, after: Prediction, edits: tuple[Edit, ...]) -> str:
    """Both answers side by side, what can be edited, and the whole memory."""
    bank = after.require_bank()
    samples = [
        {
            **after.memory(index),
            "similarity": float(after.similarity[index]),
            "available": bool(bank.available[index]),
            "column": index % _COLUMNS,
            "row": index // _COLUMNS,
        }
        for index in range(len(bank))
    ]
    return render(
        "what_if",
        answers=[_told(before), _told(after)],
        stranger=before.unlike,
        changed=before.predicted != after.predicted,
        samples=samples,
        left=int(bank.available.sum()),
        heaviest=max(sample["weight"] for sample in samples),
        rows=-(-len(bank) // _COLUMNS),
        edits=[_in_words(edit, after.classes) for edit in standing(edits)],
        classes=after.classes,
        columns=_COLUMNS,
    )


def _told(prediction: Prediction) -> dict[str, Any]:
    return {
        "name": prediction.classes[prediction.predicted],
        "share": prediction.probabilities[prediction.predicted],
        "used": len(prediction.used),
        "size": int(prediction.require_bank().available.sum()),
        "next": [
            (prediction.classes[class_], prediction.probabilities[class_])
            for class_, _ in prediction.runners_up()
        ],
    }


def _in_words(edit: Edit, classes: Any) -> str:
    words = {
        "remove": "no. {} taken away",
        "restore": "no. {} put back",
        "redraw": "memory drawn anew",
        "only_class": "only memories predicted {}",
        "no_class": "no memories predicted {}",
        "add": "your picture added as {}",
    }
    value = edit.value[1] if edit.kind == "add" else edit.value
    named = edit.kind in ("only_class", "no_class", "add")
    return words[edit.kind].format(classes[value] if named else value)
