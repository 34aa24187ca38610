"""What a model sees of composed photographs, and how often its own first guess at the square leads to a digit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.scenes import Scene
from memorywrap.data.sets import Split
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
    inputs, labels = [], []
    for scene in tqdm(scenes, desc="first guesses", unit=" photographs"):
        box = classifier.suggest_box(scene.image)
        inputs.append(classifier.input(scene.image, box))
        label = scene.reads(box)
        labels.append(-1 if label is None else label)
    return Split(torch.stack(inputs), torch.tensor(labels))


def guess_rates(classifier: MemoryWrapClassifier, scenes: Sequence[Scene]) -> dict[str, float]:
    """How often a first guess leads to an answer that is a digit of the number, and how often the square
    lies on a digit and the answer is that digit; shares of the scenes. The model's classes are the
    digits, in order."""
    guesses = first_guesses(classifier, scenes)
    answers = predictions(classifier, guesses.images)
    named = [answer in scene.labels for answer, scene in zip(answers.tolist(), scenes, strict=True)]
    return {
        "a digit of the number": sum(named) / len(named),
        "the digit in the square": float((answers == guesses.labels).double().mean()),
    }


def offered_rates(classifier: MemoryWrapClassifier, scenes: Sequence[Scene]) -> dict[str, float]:
    """How many of the squares that are offered beside the first guess show a digit (1 where none is
    offered), and how many of the digits some square shows, the first guess among them."""
    further = on_a_digit = shown = 0
    for scene in tqdm(scenes, desc="squares offered", unit=" photographs"):
        places = [scene.place(box) for box in classifier.suggest_boxes(scene.image)]
        further += len(places) - 1
        on_a_digit += sum(place is not None for place in places[1:])
        shown += len(set(places) - {None})
    digits = sum(len(scene.labels) for scene in scenes)
    return {
        "further squares that show a digit": on_a_digit / further if further else 1.0,
        "digits that a square shows": shown / digits,
    }
