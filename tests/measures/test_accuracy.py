"""How often a classifier is right, measured without changing it."""

from __future__ import annotations

import tiny
import torch

from memorywrap.data.sets import ImageData, Split
from memorywrap.measures import accuracy


def test_confusion_counts_true_rows_and_predicted_columns():
    table = accuracy.confusion(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 0, 1, 2]), 3)
    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_measuring_gives_both_accuracies_and_leaves_the_classifier_as_it_was():
    model = tiny.classifier(recipe={"test_memories": 3, "memory": 6})
    config, bank = model.config, model.bank
    train, test = (Split(*tiny.images(count, seed)) for count, seed in ((30, 1), (21, 2)))
    data = ImageData("tiny", tiny.CLASSES, train, test, {"name": "tiny"})
    found = accuracy.measure(model, data)["tiny:test"]
    right = (accuracy.predictions(model, test.images) == test.labels).double().mean().item()
    assert (found["images"], found["accuracy"]) == (21, round(100 * right, 2))
    assert len(found["redrawn"]) == 3
    assert model.config is config and model.bank is bank
