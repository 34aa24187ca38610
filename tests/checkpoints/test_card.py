"""The model card says what config.json says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from memorywrap.checkpoints.card import CARD, model_card, overview, write_card
from memorywrap.checkpoints.config import Config
from memorywrap.checkpoints.folder import CheckpointError, read_config

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "checkpoints").glob("*/"))

RENDERED = Config(
    title="Digits",
    encoder="compact",
    classes=list("0123456789"),
    recipe={
        "name": "fast",
        "epochs": 8,
        "milestones": [],
        "augment": {"flip": False, "scale": 0.1},
    },
    data={
        "name": "digits",
        "renderer": "abc",
        "train": 60000,
        "seed": 4,
        "fonts": ["b.ttf", "a.otf"],
    },
    measured={
        "digits:test": {"accuracy": 97.5, "images": 4000, "redrawn": [97.0, 98.0]},
        "svhn:test": {"accuracy": 91.42, "images": 956},
    },
)


def test_a_card_holds_data_recipe_accuracies_and_fonts():
    card = model_card(RENDERED)
    for text in (
        "# Digits",
        "60,000 pictures of digits",
        "version abc, seed 4",
        "| recipe | fast |",
        "| epochs | 8 |",
        "| milestones | none |",
        "| augment | flip no, scale 0.1 |",
        "| digits:test | 4,000 | 97.50 % | 97.50 % (mean of 2) |",
        "| svhn:test | 956 | 91.42 % | - |",
        "2 font files",
        "`a.otf`, `b.ttf`",
        "upright",
    ):
        assert text in card


def test_a_card_of_other_data_says_where_the_bank_comes_from():
    data = {"name": "cifar10", "format": "jpg", "train": 50000, "test": 8000, "samples": 2000}
    bank = {"dataset": "cifar10", "seed": 0, "size": 100}
    card = model_card(replace(RENDERED, data=data, bank=bank, measured={}))
    assert "JPEG copy" in card and "2,000 were drawn" in card
    assert "bank of 100 samples is drawn from cifar10" in card
    assert "Not measured." in card and "Fonts" not in card and "upright" not in card


@pytest.mark.parametrize("variant", ["std", "baseline", "memory-wrap"])
def test_a_bare_configuration_is_enough(variant):
    card = model_card(Config("Bare", "compact", ["a", "b"], variant=variant))
    assert "Not recorded." in card and "None" not in card


def test_a_card_is_written_beside_the_checkpoint(tiny_checkpoint):
    assert write_card(tiny_checkpoint) == tiny_checkpoint / CARD
    assert (tiny_checkpoint / CARD).read_text("utf-8").startswith("---\nlicense: mit\n")


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        write_card(tmp_path)


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_shipped_cards_are_up_to_date(folder):
    present = (folder / CARD).read_text("utf-8")
    assert "unlike everything" in present  # both can tell
    assert present == model_card(read_config(folder), doubts=True), (
        "run python -m memorywrap.checkpoints.card FOLDER"
    )


def test_the_table_of_the_readme_is_that_of_the_shipped_models():
    configs = [read_config(ROOT / "checkpoints" / name) for name in ("digits", "cifar10")]
    text = (ROOT / "README.md").read_text("utf-8")
    assert f"checkpoints/cifar10 -->\n{overview(configs)}\n" in text
    assert all("necessity" in found for config in configs for found in config.measured.values())
