"""Networks that read a memory by its labels: their logits by hand, and what a training of theirs leaves."""

from __future__ import annotations

import json

import pytest
import tiny
import torch

from memorywrap.data.sets import ImageData, Split
from memorywrap.training import few_shot
from memorywrap.training.recipes import Training, recipe_for

MEMORY = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
LABELS = torch.tensor([0, 2, 2])


def test_matching_weighs_labels_by_cosine_similarity():
    logits = few_shot.matching(torch.tensor([[2.0, 0.0]]), MEMORY, LABELS, 3)
    e = torch.e
    expected = torch.tensor([e / (e + 2), 1e-6, 2 / (e + 2)]).log()
    torch.testing.assert_close(logits[0], expected)
    scaled = few_shot.READERS["matching-scaled"](torch.tensor([[2.0, 0.0]]), MEMORY, LABELS, 3)
    e = torch.e**10
    torch.testing.assert_close(scaled[0, [0, 2]], torch.tensor([e / (e + 2), 2 / (e + 2)]).log())


def test_prototypical_is_nearest_to_the_mean_of_a_class_and_never_to_a_class_without_samples():
    logits = few_shot.prototypical(torch.tensor([[0.0, 0.0], [0.0, 2.0]]), MEMORY, LABELS, 3)
    torch.testing.assert_close(logits[:, [0, 2]], -torch.tensor([[1.0, 4.0], [5.0, 0.0]]) / 2)
    assert logits.argmax(dim=1).tolist() == [0, 2]


@pytest.fixture
def training():
    train, test = Split(*tiny.images(60, 1)), Split(*tiny.images(30, 2))
    data = ImageData("noise", tiny.CLASSES, train, test, {"name": "noise", "train": 60, "test": 30})
    return Training(
        data=data, recipe=recipe_for("fast", "digits", 60).lasting(8), encoder="compact"
    )


@pytest.mark.parametrize("reader", few_shot.READERS)
def test_it_learns_to_tell_the_classes_by_the_labels_of_its_memory(reader, training, tmp_path):
    result = few_shot.train_and_measure_few_shot(training, reader, tmp_path / "run", progress=False)
    measured = result["measured"]["noise:test"]
    assert measured["accuracy"] > 60 and len(measured["redrawn"]) == training.recipe.test_memories
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["variant"] == reader and not (tmp_path / "run/checkpoint").exists()
    again = few_shot.train_and_measure_few_shot(
        training, reader, tmp_path / "again", progress=False
    )
    assert again["measured"] == result["measured"]
