"""Pictures: the colours, sizes and words that people read explanations by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from memorywrap.bank import bank_picture
from memorywrap.explanation import figures
from memorywrap.explanation.figures import (
    OPPOSE,
    SUPPORT,
    enlarged,
    figure_parts,
    most_support,
    outlined,
    overlay,
    paper_figure,
    percent,
)
from memorywrap.explanation.methods import methods
from memorywrap.prediction import PatchCounterfactual


@pytest.fixture(scope="module")
def explanation():
    return tiny.classifier().explain(tiny.picture(), steps=2)


def without_counterfactual(explanation):
    """The same with all weight on its example: no counterfactual, so a contrast is shown."""
    prediction = explanation.prediction
    weights = torch.zeros_like(prediction.weights)
    weights[prediction.example] = 1.0
    prediction = replace(prediction, weights=weights)
    assert prediction.counterfactual is None and prediction.contrast is not None
    maps = explanation.memory_maps | {prediction.contrast: explanation.input_map}
    return replace(explanation, prediction=prediction, memory_maps=maps)


def test_figures_say_what_is_unlike_everything_known(explanation):
    one = explanation.prediction
    known, unlike = (figures._title(replace(one, familiarity=odds)) for odds in (1.0, -1.0))
    assert known.startswith("Predicted ") and unlike == f"{known}; unlike everything known"


def test_enlarging_keeps_every_pixel_hard():
    image = tiny.picture(size=(4, 4))
    large = np.asarray(enlarged(image, 12))
    assert np.array_equal(large, np.asarray(image).repeat(3, axis=0).repeat(3, axis=1))


def test_support_is_blue_opposition_orange_and_the_rest_a_pale_copy():
    attribution = torch.zeros(3, 10, 10)
    attribution[:, 0, 0], attribution[:, 9, 9] = 1.0, -1.0
    picture = np.asarray(overlay(torch.full((3, 10, 10), 200, dtype=torch.uint8), attribution, 10))
    assert tuple(picture[0, 0]) == SUPPORT.rgb and tuple(picture[9, 9]) == OPPOSE.rgb
    grey = picture[4, 4].astype(int)
    assert np.ptp(grey) == 0 and grey[0] > 180


@pytest.mark.parametrize("level", [0, 255])
def test_an_overlay_of_nothing_on_a_flat_image_is_flat(level):
    flat = torch.full((3, 8, 8), level, dtype=torch.uint8)
    picture = np.asarray(overlay(flat, torch.zeros(3, 8, 8), 8))
    assert np.ptp(picture) == 0


def test_overlays_do_not_depend_on_the_scale_of_the_map():
    chance = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (3, 8, 8), generator=chance).to(torch.uint8)
    attribution = torch.randn(3, 8, 8, generator=chance)
    one, other = overlay(pixels, attribution), overlay(pixels, 1000 * attribution)
    assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1


def test_parts_are_input_example_and_counterfactual_with_their_words(explanation):
    prediction = explanation.prediction
    parts = figure_parts(explanation)
    shown = ["example", "counterfactual" if prediction.counterfactual is not None else "contrast"]
    assert [part.role for part in parts] == ["input", *shown]
    assert parts[0].caption == f"input, predicted {prediction.classes[prediction.predicted]}"
    sample = prediction.memory(prediction.example)
    expected = f"labelled {sample['label']}, predicted {sample['predicted']}, weight "
    assert expected in parts[1].caption and parts[1].caption.endswith("supports")
    for part in parts:
        assert part.image.size == (tiny.SIZE, tiny.SIZE)
        assert part.map.size == part.image.size


def test_a_contrast_says_that_it_was_not_used(explanation):
    parts = figure_parts(without_counterfactual(explanation))
    assert parts[-1].role == "contrast" and parts[-1].caption.endswith("weight 0, not used")


def test_a_method_may_leave_a_map_out(explanation):
    left = replace(explanation, memory_maps={})
    assert [part.role for part in figure_parts(left)] == ["input"]
    paper_figure(left)


@pytest.mark.parametrize("letter", "äéßŁжλ")
def test_names_of_other_languages_can_be_read(letter):
    def written(text: str) -> Image.Image:
        sheet = figures._Sheet(60, 40, 2)
        sheet.text((5, 5), text, 20)
        return sheet.image

    unknown = chr(0xE123)  # no face has it
    assert written(letter).tobytes() != written(unknown).tobytes()


def test_the_figure_holds_every_part_at_any_scale(explanation):
    small, large = paper_figure(explanation, scale=1), paper_figure(explanation, scale=2)
    assert large.size == tuple(2 * side for side in small.size)
    for image in (small, paper_figure(without_counterfactual(explanation), scale=1)):
        pixels = np.asarray(image)
        for colour in (SUPPORT.rgb, OPPOSE.rgb):  # at least in the legend
            assert (pixels == colour).all(axis=2).any()
        border = np.concatenate([pixels[:8].ravel(), pixels[-8:].ravel(), pixels[:, :8].ravel()])
        assert border.min() == 255  # nothing runs off the sheet


def test_cells_are_outlined_as_groups():
    grey = torch.full((3, 32, 32), 128, dtype=torch.uint8)
    picture = np.asarray(outlined(grey, [(1, 1), (1, 2)], grid=8, side=256))
    touched = (picture != 128).any(axis=2)
    assert touched[32, 32:97].all() and touched[64, 32:97].all()  # above and below the two
    assert touched[32:65, 32].all() and touched[32:65, 96].all()  # on their outer sides
    assert not touched[42:54, 42:86].any()  # nothing between them
    assert not touched[:24].any() and not touched[72:].any()


def test_the_patch_counterfactual_stands_beside_the_others(explanation):
    prediction = explanation.prediction
    sample = prediction.bank.images[2]
    patch = PatchCounterfactual(2, ((0, 7),), (0, 0), False, sample, prediction)
    part = figure_parts(explanation, patch)[-1]
    assert part.role == "patch counterfactual" and "1 of 64 cells from the " in part.caption
    plain, more = paper_figure(explanation, scale=1), paper_figure(explanation, patch, scale=1)
    assert more.width > plain.width and more.height == plain.height


def test_the_figure_says_against_which_class(explanation):
    plain, one, two = (
        np.asarray(paper_figure(replace(explanation, against=against), scale=1))
        for against in (None, 0, 1)
    )
    rows = [(first != second).any(axis=(1, 2)) for first, second in ((plain, one), (one, two))]
    assert all(changed.any() and not changed[:-60].any() for changed in rows)  # the last line alone


@pytest.mark.slow
@pytest.mark.parametrize("method", methods())
def test_every_method_has_a_figure(method):
    explanation = tiny.classifier().explain(tiny.picture(), method=method)
    assert paper_figure(explanation, scale=1).width > 3 * tiny.SIZE


def test_the_bank_at_a_glance():
    bank = tiny.classifier(memory=7).bank
    picture = np.asarray(bank_picture(bank, columns=4))
    assert picture.shape == (2 * tiny.SIZE, 4 * tiny.SIZE, 3)
    fifth = picture[tiny.SIZE :, : tiny.SIZE]
    assert np.array_equal(fifth, bank.images[4].permute(1, 2, 0).numpy())
    assert (picture[tiny.SIZE :, 3 * tiny.SIZE :] == 255).all()  # no eighth sample


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (0.0, "0 %"),
        (0.0004, "under 0.1 %"),
        (0.0049, "0.5 %"),
        (0.0996, "10 %"),
        (0.1004, "10 %"),
        (0.314, "31 %"),
        (0.991, "99.1 %"),
        (0.9996, "over 99.9 %"),
        (1.0, "100 %"),
        (1.5, "150 %"),
    ],
)
def test_percentages_are_never_rounded_to_certainty(part, text):
    assert percent(part) == text


def test_the_maps_of_an_explanation_are_on_one_scale(explanation):
    """A map ten times weaker looks weaker, and rounding is not painted as a map."""
    example = explanation.prediction.example

    def colours(times: float) -> np.ndarray:
        maps = explanation.memory_maps | {example: times * explanation.input_map}
        scaled = replace(explanation, memory_maps=maps)
        return np.asarray(figure_parts(scaled)[1].map).astype(int)

    blank = colours(0)
    full, tenth, rounding = (np.abs(colours(t) - blank).mean() for t in (1, 0.1, 1e-6))
    assert rounding < 0.5 < tenth < full / 3


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [(0, 0, "upper left"), (5, 5, "middle"), (11, 6, "lower middle"), (4, 11, "middle right")],
)
def test_where_most_support_lies_is_said_in_words(row, column, words):
    attribution = torch.zeros(3, 12, 12)
    attribution[:, row, column] = 1.0
    attribution[:, 0, 11] = -9.0  # what opposes does not count
    assert most_support(attribution) == words


def test_where_nothing_supports_no_place_is_named():
    assert most_support(-torch.ones(3, 12, 12)) == ""


def test_the_figure_names_model_day_and_paper_when_it_is_told_the_model(explanation):
    plain, named, other = (
        np.asarray(paper_figure(explanation, scale=1, model=model)) for model in ("", "A", "B")
    )
    assert plain.shape == named.shape
    changed = (plain != named).any(axis=(1, 2))
    assert changed.any() and not changed[:-60].any() and not changed[-16:].any()
    assert (named != other).any()


def test_a_label_stands_below_the_title_and_not_in_the_legend(explanation):
    for figure in (
        lambda label: paper_figure(explanation, scale=1, label=label),
        lambda label: figures.memory_figure(explanation.prediction, scale=1, label=label),
    ):
        seven, five = (np.asarray(figure(label)).astype(int) for label in ("7", "5"))
        rows, columns, _ = (seven != five).nonzero()
        assert rows.min() > 55 and rows.max() < 80 and columns.max() < 200
