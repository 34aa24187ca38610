"""Settings: what is of the wrong type is named, wherever it was given."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from colours import SHORT

from memorywrap.training.augment import Augment
from memorywrap.training.recipes import Recipe

# Of each kind of setting what could be taken for it, and what it is then told to be.
WRONG = {
    "str": ((3, None), "text"),
    "int": ((2.0, "2", True, None), "a whole number"),
    "float": (("0.1", False, None, 1j), "a number"),
    "bool": ((1, "no", None), "true or false"),
    "tuple[int, ...]": (([1, 2], 3), "a tuple"),
    "Augment": (({"flip": True}, None), "Augment"),
}


@pytest.mark.parametrize("settings", [SHORT, Augment()], ids=["recipe", "augment"])
def test_every_setting_of_the_wrong_type_is_named(settings: Recipe | Augment) -> None:
    for entry in fields(settings):
        values, wanted = WRONG[entry.type]
        for value in values:
            with pytest.raises(ValueError, match=f"^{entry.name}: expected {wanted}, received "):
                replace(settings, **{entry.name: value})


def test_a_whole_number_is_a_number() -> None:
    assert replace(SHORT, learning_rate=1).learning_rate == 1
    assert Augment(rotate=90).rotate == 90
