"""Recipes: the paper's is the paper's, and settings are changed by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny
from colours import TINY

from memorywrap.checkpoints import folder as checkpoint
from memorywrap.training.augment import Augment
from memorywrap.training.recipes import Recipe, learning_rate, overridden, recipe_for

SHORT = Recipe("test", epochs=2, batch=16, memory=8, learning_rate=0.05, test_memories=2)


def test_the_papers_recipe_is_the_papers():
    svhn, cifar, cinic = (
        recipe_for("paper", name, 1000) for name in ("svhn", "cifar10", "cinic10")
    )
    for recipe in (svhn, cifar, cinic):
        assert (recipe.optimizer, recipe.learning_rate, recipe.momentum) == ("sgd", 0.1, 0.9)
        assert (recipe.weight_decay, recipe.decay_all) == (5e-4, True)
        assert (recipe.batch, recipe.memory, recipe.test_memories) == (128, 100, 5)
        assert (recipe.label_smoothing, recipe.average) == (0.0, 0.0)
        assert recipe.apart  # their code encodes inputs and memory one after the other
    assert (svhn.epochs, svhn.milestones, svhn.augment) == (40, (20, 30), Augment())
    assert (cifar.epochs, cifar.milestones, cifar.augment) == (300, (150, 225), Augment(flip=True))
    assert (cinic.epochs, cinic.schedule) == (300, "cosine")
    rates = [learning_rate(svhn, epoch * 7, 7) for epoch in (0, 19, 20, 29, 30, 39)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    # Cosine: half at the middle, nearly nothing at the end, as torch's CosineAnnealingLR.
    assert learning_rate(cinic, 150 * 10, 10) == pytest.approx(0.05, rel=1e-2)
    assert learning_rate(cinic, 300 * 10 - 1, 10) < 1e-6


def test_another_length_moves_the_milestones_along():
    shorter = recipe_for("paper", "svhn", 1000).lasting(8)
    assert (shorter.epochs, shorter.milestones) == (8, (4, 6))
    assert recipe_for("fast", "svhn", 1000).lasting(8).milestones == ()
    paper = recipe_for("paper", "svhn", 1000)
    assert paper.lasting(3).milestones == (2,)  # both fall into the same epoch
    assert overridden(paper, {"epochs": "8"}) == shorter
    given = overridden(paper, {"epochs": "8", "milestones": "[1]"})
    assert (given.epochs, given.milestones) == (8, (1,))


def test_the_fast_recipe_makes_more_passes_over_fewer_images():
    recipes = [recipe_for("fast", "cifar10", size) for size in (1000, 2000, 5000, 50_000)]
    seen = [
        size * recipe.epochs
        for size, recipe in zip((1000, 2000, 5000, 50_000), recipes, strict=True)
    ]
    assert seen == sorted(seen)  # images, all in all
    passes = [recipe.epochs for recipe in recipes]
    assert passes == sorted(passes, reverse=True) and passes[0] > 3 * passes[-1]
    assert all(recipe.augment.flip for recipe in recipes)
    assert not recipe_for("fast", "svhn", 1000).augment.flip  # a mirrored 2 is no 2


def test_a_linear_schedule_rises_and_falls():
    recipe = replace(SHORT, epochs=10, warmup=0.2, learning_rate=1.0)
    rates = [learning_rate(recipe, step, 10) for step in range(100)]
    assert rates[0] < 0.05 and max(rates) == pytest.approx(1.0, abs=0.03) and rates[-1] < 0.01
    assert max(range(100), key=rates.__getitem__) in (19, 20)


def test_settings_are_changed_by_name_and_nothing_unknown_or_mistyped_is_taken():
    recipe = overridden(
        SHORT,
        {
            "batch": "32",
            "learning_rate": "1",
            "optimizer": "adamw",
            "milestones": "[3, 4]",
            "augment.flip": "True",
            "augment.scale": "0.5",
        },
    )
    assert recipe == replace(
        SHORT,
        batch=32,
        learning_rate=1.0,
        optimizer="adamw",
        milestones=(3, 4),
        augment=Augment(flip=True, scale=0.5),
    )
    for changes, message in [
        ({"bacth": "32"}, "unknown setting 'bacth'"),
        ({"augment.flop": "true"}, "unknown setting 'flop'"),
        ({"batch": "32.5"}, r"batch: expected a value like 16 \(int\), received '32.5'"),
        ({"batch": "many"}, "received 'many'"),
        ({"batch": "true"}, "received 'true'"),
        ({"optimizer": "adam"}, "unknown optimizer 'adam': expected one of sgd, adamw"),
        ({"batch": "1"}, "batch: expected at least 2, received 1"),
        ({"epochs": "0"}, "epochs: expected at least 1, received 0"),
        ({"memory": "0"}, "memory: expected at least 1"),
        ({"test_memories": "0"}, "test_memories: expected at least 1"),
        ({"learning_rate": "0"}, "learning_rate: expected at least 1e-09, received 0"),
        ({"learning_rate": "1e999"}, "learning_rate: expected at least 1e-09, received inf"),
        ({"momentum": "1.5"}, r"momentum: expected 0 to 0\.9999, received 1\.5"),
        ({"weight_decay": "-1"}, "weight_decay: expected at least 0"),
        ({"label_smoothing": "1"}, r"label_smoothing: expected 0 to 0\.9999"),
        ({"average": "-0.1"}, r"average: expected 0 to 0\.9999"),
        ({"warmup": "2"}, "warmup: expected 0 to 1"),
        ({"counterfactual_memories": "1.1"}, "counterfactual_memories: expected 0 to 1"),
        (
            {"milestones": "[4, 3]"},
            r"milestones: expected rising numbers of epochs, received \(4, 3\)",
        ),
        ({"milestones": "[0.5]"}, "milestones: expected rising numbers"),
        ({"augment.translate": "-1"}, "translate: expected at least 0"),
        ({"augment.cutout": "-1"}, "cutout: expected at least 0"),
        ({"augment.rotate": "200"}, "rotate: expected 0 to 180"),
        ({"augment.scale": "-0.1"}, "scale: expected at least 0"),
        ({"augment.shear": "-0.1"}, "shear: expected at least 0"),
        ({"augment.contrast": "-0.1"}, "contrast: expected at least 0"),
        ({"augment.brightness": "2"}, "brightness: expected 0 to 1"),
        ({"augment.colour": "2"}, "colour: expected 0 to 1"),
        ({"augment.invert": "2"}, "invert: expected 0 to 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            overridden(SHORT, changes)
    with pytest.raises(ValueError, match="unknown recipe 'quick'"):
        recipe_for("quick", "svhn", 1000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"precision": "bf16"},
            "unknown precision 'bf16': expected one of auto, bfloat16, float32",
        ),
        ({"bank": 0}, "bank: expected at least 1, received 0"),
        ({"bank": 2.5}, r"bank: expected a whole number, received 2\.5"),
        ({"seed": -1}, "seed: expected 0 to 1e"),
        ({"seed": "a"}, "seed: expected a whole number, received 'a'"),
        (
            {"start": "checkpoints/digits"},
            r"start: expected .*Saved \| None, received 'checkpoints/di",
        ),
        (
            {"recipe": replace(SHORT, augment=Augment(translate=32))},
            "translate: expected 0 to 31, received 32",
        ),
        (
            {"recipe": replace(SHORT, augment=Augment(cutout=40))},
            "cutout: expected 0 to 31, received 40",
        ),
    ],
)
def test_what_a_training_cannot_be_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)


def test_a_start_must_be_the_same_network(tmp_path):
    tiny.classifier().save_pretrained(tmp_path)
    start = checkpoint.read(tmp_path)
    match = {"encoder": "compact", "data": replace(TINY.data, classes=("red", "green", "blue"))}
    assert replace(TINY, start=start, **match).model_config().start["title"] == "Tiny"
    for change, message in [
        (
            {"encoder": "whitened"},
            "start: expected a checkpoint with encoder 'whitened', found 'com",
        ),
        ({"variant": "std"}, "with variant 'std', found 'memory-wrap'"),
        ({"data": replace(TINY.data, classes=("cat", "dog"))}, r"with classes \['cat', 'dog'\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            replace(TINY, start=start, **{**match, **change})
