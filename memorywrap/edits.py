"""Edits of the memory, one after the other: what `/whatif` and the page's panel "what if?" apply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memorywrap.bank import MemoryBank
from memorywrap.classifier import MemoryWrapClassifier

# What draws a bank anew, from a seed.
Redraw = Callable[[int], MemoryBank]

KINDS = ("remove", "restore", "only_class", "no_class", "add", "redraw")
MOST = 200  # edits in a list


@dataclass(frozen=True, eq=False)
class Edit:
    """One edit of a memory bank.

    Attributes:
        kind: "remove" or "restore" a sample, by bank index; "only_class" or "no_class", to keep or take
            away the samples that are predicted in a class, by its index; "add" a sample, as its pixels
            uint8 (3, size, size) and label; "redraw" all samples from the training data, by a seed.
        value: what of.
    """

    kind: str
    value: Any


def parsed(
    edits: Any, classifier: MemoryWrapClassifier, read: Callable[[Any], Tensor]
) -> list[Edit]:
    """Edits as JSON gives them: a list of objects with one key, one of `KINDS`.

    Args:
        edits: classes are named; "add" is {image, label}.
        classifier: the model that is asked.
        read: from the image of an "add" to what the model sees, uint8 (3, size, size).

    Raises:
        ValueError: says in one sentence what is not as expected.
    """
    if edits is None or edits == "":
        return []
    if not isinstance(edits, list) or len(edits) > MOST:
        raise ValueError(f"The edits are expected as a list of at most {MOST}.")
    return [_parsed(edit, classifier, read) for edit in edits]


def _parsed(edit: Any, classifier: MemoryWrapClassifier, read: Callable[[Any], Tensor]) -> Edit:
    if not isinstance(edit, Mapping) or len(edit) != 1 or next(iter(edit)) not in KINDS:
        raise ValueError(f"Each edit is expected as an object with one of {', '.join(KINDS)}.")
    ((kind, value),) = edit.items()
    if kind in ("only_class", "no_class"):
        return Edit(kind, _class(value, classifier))
    if kind == "add":
        if not isinstance(value, Mapping) or set(value) != {"image", "label"}:
            raise ValueError("What is added is expected as an object with image and label.")
        return Edit(kind, (read(value["image"]), _class(value["label"], classifier)))
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError(f"A whole number from 0 is expected with {kind}.")
    return Edit(kind, value)


def _class(name: Any, classifier: MemoryWrapClassifier) -> int:
    classes = classifier.config.classes
    if name not in list(classes):
        raise ValueError(f"Unknown class: expected one of {', '.join(classes)}.")
    return list(classes).index(name)


def standing(edits: Iterable[Edit]) -> list[Edit]:
    """Those that count, from the last redraw on: nothing is left of what came before."""
    listed = list(edits)
    redraws = [place for place, edit in enumerate(listed) if edit.kind == "redraw"]
    return listed[redraws[-1] if redraws else 0 :]


def edited(
    classifier: MemoryWrapClassifier, edits: Iterable[Edit], redraw: Redraw | None = None
) -> MemoryBank:
    """The classifier's bank with these edits, applied in order; the classifier keeps its own.

    What a sample is predicted as is the model's answer with the memory as it stands at that edit.

    Args:
        classifier: a model with a bank.
        edits: what is changed.
        redraw: for edits of the kind "redraw".

    Raises:
        ValueError: an edit that cannot be made, in one sentence, such as one that leaves no sample.
    """
    bank = classifier.require_bank()
    for edit in standing(edits):
        bank = classifier.completed(_edited(classifier, bank, edit, redraw))
    return bank


def _edited(
    classifier: MemoryWrapClassifier, bank: MemoryBank, edit: Edit, redraw: Redraw | None
) -> MemoryBank:
    if edit.kind == "add":
        pixels, label = edit.value
        return bank.added(pixels[None], [label], classifier.encode(pixels[None]))
    if edit.kind == "redraw":
        if redraw is None:
            raise ValueError("The memory of this model cannot be drawn anew here.")
        return redraw(edit.value)
    if edit.kind in ("remove", "restore"):
        if edit.value >= len(bank):
            raise ValueError(
                f"There is no memory sample {edit.value}: expected 0 to {len(bank) - 1}."
            )
        if edit.kind == "restore":
            return bank.restored([edit.value])
        gone = torch.arange(len(bank)) == edit.value
    else:
        assert bank.predicted is not None  # it was completed
        of_class = bank.predicted == edit.value
        gone = of_class if edit.kind == "no_class" else ~of_class
    if not (bank.available & ~gone).any():
        why = {
            "only_class": "none is predicted in this class by the memory as it stands now",
            "no_class": "all that are left are predicted in this class",
        }
        raise ValueError(
            f"No memory sample would be left: {why.get(edit.kind, 'at least one must stay')}."
        )
    return bank.without(gone.nonzero().flatten().tolist())
