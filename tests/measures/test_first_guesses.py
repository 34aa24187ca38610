"""Squares of composed photographs: where a person sets them, and where the model looks first."""

from __future__ import annotations

import pytest
import tiny

from memorywrap.data.scenes import compose_scene
from memorywrap.measures.first_guesses import (
    chosen_squares,
    first_guesses,
    guess_rates,
)


@pytest.fixture
def model():
    return tiny.classifier(classes=tuple("0123456789"))


@pytest.fixture
def scenes():
    return [compose_scene(seed, "test", fonts=[]) for seed in range(5)]


def test_a_person_sets_a_square_on_each_digit(model, scenes):
    squares = chosen_squares(model, scenes)
    assert squares.labels.tolist() == [label for scene in scenes for label in scene.labels]
    assert squares.images.shape == (len(squares), 3, 32, 32)


def test_rates_are_those_of_the_answers_one_by_one(model, scenes, monkeypatch):
    # On the last digit in the first three, and nowhere in the others.
    boxes = [scene.boxes[-1] for scene in scenes[:3]] + [(0, 0, 2, 2)] * 2
    by_image = {id(scene.image): box for scene, box in zip(scenes, boxes, strict=True)}
    monkeypatch.setattr(model, "suggest_boxes", lambda image: [by_image[id(image)]])
    labels = first_guesses(model, scenes).labels.tolist()
    assert labels == [*(scene.labels[-1] for scene in scenes[:3]), -1, -1]
    answers = [1, scenes[1].labels[-1], scenes[2].labels[0], scenes[3].labels[0], 10]
    monkeypatch.setattr(
        "memorywrap.measures.first_guesses.predictions",
        lambda *_: tiny.torch.tensor(answers),
    )
    named = [answer in scene.labels for answer, scene in zip(answers, scenes, strict=True)]
    rates = guess_rates(model, scenes)
    assert rates["is a digit of the number"] == sum(named) / 5
    right = sum(answer == label for answer, label in zip(answers, labels, strict=True))
    assert rates["is the digit in the square"] == pytest.approx(right / 5)
    assert 0 < right < sum(named) < 5


def test_offered_squares_count_once_for_each_digit(model, scenes, monkeypatch):
    nowhere = (0, 0, 2, 2)
    scenes = [scene for scene in scenes if len(scene.labels) > 1][:2]
    (first, second, *_), (other, *_) = (scene.boxes for scene in scenes)
    offered = {id(scenes[0].image): [first, second, second], id(scenes[1].image): [nowhere, other]}
    offered[id(scenes[1].image)] += [nowhere]
    monkeypatch.setattr(model, "suggest_boxes", lambda image: offered[id(image)])
    digits = sum(len(scene.labels) for scene in scenes)
    rates = guess_rates(model, scenes)
    assert (rates["show a digit"], rates["have a square"]) == (3 / 4, 3 / digits)
    monkeypatch.setattr(model, "suggest_boxes", lambda image: [nowhere])
    rates = guess_rates(model, scenes)
    assert (rates["show a digit"], rates["have a square"]) == (1, 0)
