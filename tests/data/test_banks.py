"""Banks by recipe: the same ones everywhere, and the right ones as soon as the data are."""

from __future__ import annotations

import pytest
import torch
from image_folders import write_digits

from memorywrap.data.banks import bank_at_hand, bank_recipe, digest_of, draw_bank
from memorywrap.data.sampling import balanced
from memorywrap.data.sets import DataError, load_data


def test_a_bank_drawn_by_recipe_is_balanced_and_outlives_its_data(data):
    write_digits(data / "svhn", 4)
    svhn = load_data("svhn", samples=30, seed=3)
    recipe = bank_recipe(svhn, 10, 3)
    bank = draw_bank(recipe)
    assert recipe.pop("digest") == digest_of(bank)
    assert recipe == {"dataset": "svhn", "seed": 3, "size": 10, "samples": 30}
    assert digest_of(bank) != digest_of(draw_bank({**recipe, "seed": 4}))
    rows = balanced(svhn.train.labels, 10, 3)
    assert torch.equal(bank.images, svhn.train.images[rows])
    (data / "svhn").rename(data / "gone")
    assert torch.equal(draw_bank(recipe).images, bank.images)
    with pytest.raises(DataError, match="svhn: no images"):
        draw_bank({**recipe, "seed": 5})


def test_the_right_bank_comes_as_soon_as_the_right_copy_is_there(data):
    write_digits(data / "svhn", 4)
    right = bank_recipe(load_data("svhn"), 10, 0)
    (data / "svhn").rename(data / "right")
    write_digits(data / "svhn", 5)  # another copy
    other = draw_bank(right)
    assert digest_of(other) != right["digest"]
    (data / "svhn").rename(data / "other")
    assert bank_at_hand(right) and torch.equal(draw_bank(right).images, other.images)
    (data / "right").rename(data / "svhn")
    assert digest_of(draw_bank(right)) == right["digest"]
    (data / "svhn").rename(data / "gone")
    assert digest_of(draw_bank(right)) == right["digest"]  # kept in place of the other one


def test_a_bank_is_at_hand_with_its_data_or_once_it_was_drawn(data):
    recipe = {"dataset": "svhn", "seed": 0, "size": 10}
    assert not bank_at_hand(recipe)
    write_digits(data / "svhn", 1)
    assert bank_at_hand(recipe)
    draw_bank(recipe)
    (data / "svhn").rename(data / "gone")
    assert bank_at_hand(recipe) and not bank_at_hand({**recipe, "size": 9})


def test_a_bank_is_drawn_from_public_data_sets_only(tmp_path):
    for name in (f"folder:{tmp_path}", "digits", "mnist"):
        with pytest.raises(DataError, match="expected one of cifar10, svhn, cinic10"):
            draw_bank({"dataset": name, "seed": 0, "size": 2})


def test_images_of_ones_own_need_no_recipe(tmp_path):
    write_digits(tmp_path / "mine", 2)
    assert bank_recipe(load_data(f"folder:{tmp_path / 'mine'}"), 5, 0) is None
