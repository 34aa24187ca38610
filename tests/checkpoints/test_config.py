"""Configurations: what is wrong with one, which may come from anywhere, is named."""

from __future__ import annotations

import pytest

from memorywrap.checkpoints.config import Config, as_start

RIGHT = {
    "title": "Tiny",
    "encoder": "compact",
    "classes": ["red", "green", "blue"],
    "start": {"title": "Earlier", "recipe": {"epochs": 9}},
    "data": {"name": "svhn"},
    "measured": {"svhn:test": {"accuracy": 90.5, "images": 100}},
    "versions": {"torch": "2.11"},
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "lenet"}, "unknown encoder 'lenet': expected one of compact, "),
        ({"title": 5}, "title: expected text, received 5"),
        ({"variant": "wrap"}, "unknown variant 'wrap': expected one of std, baseline, memory-wrap"),
        ({"distance": "l1"}, "unknown distance 'l1': expected one of cosine, l2, dot"),
        ({"encoder": ["compact"]}, r"unknown encoder \['compact'\]: expected one of compact"),
        ({"classes": "0123456789"}, "classes: expected at least two different names"),
        ({"classes": ["red"]}, "classes: expected at least two different names"),
        ({"classes": ["red", "red", "blue"]}, "classes: expected at least two different names"),
        ({"image_size": "32"}, "image_size: expected a whole number, received '32'"),
        ({"image_size": 0}, "image_size: expected a whole number above 0, received 0"),
        ({"mirror": 1}, "mirror: expected true or false, received 1"),
        ({"mean": [0.5]}, r"mean: expected three numbers, received \[0.5\]"),
        ({"mean": [0.5, 0.5, float("nan")]}, "mean: expected three numbers, received"),
        ({"std": [0.5, 0.5, float("inf")]}, "std: expected three numbers, received"),
        ({"std": [0.5, 0.5, True]}, "std: expected three numbers, received"),
        ({"std": [0.5, 0.0, 0.5]}, "std: expected three numbers above 0, received"),
        ({"bank": ["digits"]}, "bank: expected an object of settings, received"),
        ({"recipe": 3}, "recipe: expected an object of settings, received 3"),
        ({"versions": {"torch": 2}}, "versions: expected a text for each library, received"),
        ({"data": {"seed": 3}}, "data: expected the name of a data set among its settings"),
        ({"data": {"name": 3}}, "data: expected the name of a data set among its settings"),
        (
            {"start": {"title": "Earlier"}},
            "start: expected a title and a recipe among its settings",
        ),
        (
            {"measured": {"svhn:test": 90.5}},
            "measured: expected a number of images and an accuracy",
        ),
        ({"measured": {"svhn:test": {"accuracy": 90.5}}}, "measured: expected a number of images"),
        (
            {"measured": {"svhn:test": {"accuracy": "all", "images": 3}}},
            "measured: expected a number of images",
        ),
    ],
)
def test_a_wrong_setting_is_named(changes: dict, message: str) -> None:
    Config(**RIGHT)
    with pytest.raises(ValueError, match=f"^{message}"):
        Config(**{**RIGHT, **changes})


@pytest.mark.parametrize(
    "bank",
    [
        {"dataset": "svhn"},
        {"dataset": "svhn", "seed": 0, "size": "many"},
        {"dataset": "svhn", "seed": 0, "size": 10, "x": "/../../escaped"},
        {"dataset": 7, "seed": 0, "size": 10},
    ],
)
def test_bank_recipes_that_are_no_recipes_are_refused(bank: dict) -> None:
    with pytest.raises(ValueError, match="bank: expected a dataset, a seed, a size"):
        Config(**RIGHT, bank=bank)


def test_what_training_began_with_remembers_its_own_beginning() -> None:
    config = Config(**{**RIGHT, "data": {"name": "digits", "faces": "1a", "fonts": ["A", "B"]}})
    start = as_start(config)
    assert start["start"] == RIGHT["start"] and start["versions"] == RIGHT["versions"]
    assert start["data"] == {"name": "digits", "faces": "1a"}
    assert Config(**{**RIGHT, "start": start}).start["title"] == "Tiny"
