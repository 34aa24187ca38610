"""The report on explanations in words: every table says of how many images and in which steps it is."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from PIL import Image

from memorywrap.measures.explanation_report import RANDOM, Sizes
from memorywrap.measures.explanation_tables import draw, markdown
from memorywrap.measures.reports import write_report

SIZES = Sizes(images=4, curves=2, perturbed=1, redraws=2, planted=3)


def method(deletion: list[float], insertion: list[float], steps: list[int]) -> dict:
    return {
        "steps": steps,
        "curves": {"deletion, mean": [0.9, 0.1], "insertion, mean": [0.1, 0.9]},
        "areas": {"deletion, mean": deletion, "insertion, mean": insertion},
        "infidelity": 0.05,
        "sensitivity": 0.15,
    }


@pytest.fixture
def report() -> dict:
    shares = {"explanation_accuracy": [0.9, 1.0], "accuracy_with_counterfactual": [None, None]}
    return {
        "of": "Digits (digits) on SVHN",
        "date": "2026-11-30",
        "seed": 3,
        "test": 1956,
        "sizes": asdict(SIZES),
        "agreement": {"leave one out": shares, "auxiliary memory": shares},
        "completeness": {"errors": [0.001, 0.002, 0.003, 0.002], "steps": [15, 21, 21, 27]},
        "methods": {
            "integrated_gradients": method([0.3, 0.6], [0.5, 0.5], [15, 33]),
            RANDOM: method([0.2, 0.3], [0.25, 0.5], []),
        },
        "memory_deletion": {"by weight": [0.9 - place / 100 for place in range(11)]},
        "randomisation": {
            "integrated_gradients": {"layers": ["head", "encoder"], "correlation": [0.5, 0.125]}
        },
        "culprits": {"areas": {"by weight": [0.75, 1.0]}, "steps": [15] * 7 + [39]},
        "examples": {
            "votes": {"predicted": {"right": [0.5, 0.7], "same": [0.9, 0.9]}},
            "rules": {
                "nearest": {"input": [1, 2], "prediction": [0.25, 0.25], "cardinality": [1.0]}
            },
            "with_example": [0.75, 0.85],
            "shortcut": {"nearest": [0.25, 0.75], "contribution": [0.5, 0.5]},
            "mixed": None,
            "answered": {"shortcut": {"as it is": [0.1, 0.1], "learned": [0.4, 0.6]}},
        },
    }


def test_areas_stand_beside_a_random_order_of_the_same_images(report):
    # Differences 0.1 and 0.3: mean 0.2, standard error 0.1414 / sqrt(2) = 0.1.
    assert "| integrated gradients | 0.450 (+0.200 ± 0.100) | 0.500 (+0.125 ± 0.125) |" in markdown(
        report
    )
    assert f"| {RANDOM} | 0.250 | 0.375 |" in markdown(report)


def test_every_table_says_of_how_many_images_and_in_which_steps_it_is(report):
    text = markdown(report)
    assert text.startswith(
        "# Digits (digits) on SVHN\n\nMeasured on 2026-11-30, seed 3.\n\nAll 1,956"
    )
    for words in (
        "All 1,956 test images. ",
        "± is the sample standard deviation over 2 redrawn banks:",
        "over 4 test images: median 0.200 %",
        "0.300 %; automatic steps, 21 (median) of 15 to 27.",
        "over 2 of them",
        "columns over 1; integrated gradients in automatic steps, 24 (median) of 15 to 33:",
        "over 4 images; contributions in automatic steps, 21 (median) of 15 to 27:",
        "3 planted in each of 2 redrawn banks, looked for through 4 images; automatic steps, "
        "15 (median) of 15 to 39:",
    ):
        assert words in text


def test_the_other_cells_by_hand(report):
    text = markdown(report)
    assert "| explanation accuracy | 95.0 ± 7.1 % | 95.0 ± 7.1 % |" in text
    assert "| accuracy with counterfactual |  |  |" in text  # nothing to count
    assert "| 0.050 | 0.150 | 0.125 |" in text
    assert "| by weight | 89.0 % | 87.0 % | 85.0 % | 80.0 % |" in text
    assert "| by weight | 0.875 ± 0.177 |" in text


def test_examples_by_rule_by_hand(report):
    text = markdown(report)
    assert "| as predicted | 60.0 ± 14.1 % | 90.0 ± 0.0 % |" in text
    assert "| nearest | 1.500 ± 0.707 | 0.250 ± 0.000 | 100.0 % | 0.500 ± 0.354 |  |" in text
    assert "| contribution |  |  |  | 0.500 ± 0.000 |  |" in text
    told = "50.0 ± 14.1 % were answered as that class and asked about (10.0 ± 0.0 % are by the model as it is)"
    assert "of 2 images of other classes with the mark, 50.0" in text and told in text


@pytest.mark.slow
def test_report_is_a_table_and_a_picture(report, tmp_path):
    text = markdown(report)
    write_report(tmp_path / "new", "report", report, text, draw(report))
    assert (tmp_path / "new/report.md").read_text() == text
    assert json.loads((tmp_path / "new/report.json").read_text()) == report
    assert Image.open(tmp_path / "new/report.png").width > 800
