"""What a model sees of composed photographs, and how often its own first guess at the square leads to a digit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.scenes import Scene
from memorywrap.data.sets import Split
from memorywrap.images import Box
from memorywrap.measures.accuracy import predictions


def chosen_squares(classifier: MemoryWrapClassifier, scenes: Sequence[Scene]) -> Split:
    """What the model sees where a person sets the square, on each digit and never quite exactly, and the
    digits."""
    inputs, labels = [], []
    for number, scene in enumerate(scenes):
        rng = np.random.default_rng(number)
        for (left, top, right, _), label in zip(scene.boxes, scene.labels, strict=True):
            side = max(4, round((right - left) * np.exp(rng.normal(0, 0.08))))
            x, y = (round(at + rng.normal(0, 0.05) * side) for at in (left, top))
            inputs.append(classifier.input(scene.image, (x, y, x + side, y + side)))
            labels.append(label)
    return Split(torch.stack(inputs), torch.tensor(labels))


def first_guesses(classifier: MemoryWrapClassifier, scenes: Sequence[Scene]) -> Split:
    """What the model sees where it chooses the square itself, one for each scene, and the digit that is
    there: -1 where none is."""
    return _at_first(classifier, scenes, _squares(classifier, scenes))


def guess_rates(classifier: MemoryWrapClassifier, scenes: Sequence[Scene]) -> dict[str, float]:
    """How the squares that a model proposes lead to answers. The model's classes are the digits, in order.

    Returns:
        Shares: of the scenes, how often the answer to the first guess "is a digit of the number", and how
        often the square lies on a digit and the answer "is the digit in the square"; of the other squares
        that are offered, how many "show a digit" (1 where none is offered); of all digits, how many "have a
        square", the first guess among them.
    """
    squares = _squares(classifier, scenes)
    guesses = _at_first(classifier, scenes, squares)
    answers = predictions(classifier, guesses.images)
    named = [answer in scene.labels for answer, scene in zip(answers.tolist(), scenes, strict=True)]
    places = [
        [scene.place(box) for box in boxes] for scene, boxes in zip(scenes, squares, strict=True)
    ]
    further = [place is not None for found in places for place in found[1:]]
    digits = sum(len(scene.labels) for scene in scenes)
    return {
        "is a digit of the number": sum(named) / len(named),
        "is the digit in the square": float((answers == guesses.labels).double().mean()),
        "show a digit": sum(further) / len(further) if further else 1.0,
        "have a square": sum(len(set(found) - {None}) for found in places) / digits,
    }


def _squares(classifier: MemoryWrapClassifier, scenes: Sequence[Scene]) -> list[list[Box]]:
    looked_at = tqdm(scenes, desc="first guesses", unit=" photographs")
    return [classifier.suggest_boxes(scene.image) for scene in looked_at]


def _at_first(
    classifier: MemoryWrapClassifier, scenes: Sequence[Scene], squares: Sequence[Sequence[Box]]
) -> Split:
    inputs, labels = [], []
    for scene, (box, *_) in zip(scenes, squares, strict=True):
        inputs.append(classifier.input(scene.image, box))
        label = scene.reads(box)
        labels.append(-1 if label is None else label)
    return Split(torch.stack(inputs), torch.tensor(labels))
