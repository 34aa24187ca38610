"""Rendered data sets: made once, by seed, and no more of them than is wanted."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from memorywrap.data import rendered
from memorywrap.data.sets import load_data, load_test


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(rendered, "TEST_SAMPLES", 30)


def test_digits_are_rendered_once_and_tested_on_others(data):
    digits = load_data("digits", samples=20, seed=1)
    assert digits.train.labels.bincount().tolist() == [2] * 10
    assert digits.version["fonts"] is not None and digits.version["seed"] == 1
    cached = sorted((data / "cache/digits").glob("20-1-*"))
    assert len(cached) == 1
    assert torch.equal(load_file(cached[0])["images"], digits.train.images)
    test = {image.numpy().tobytes() for image in digits.test.images}
    assert not any(image.numpy().tobytes() in test for image in digits.train.images)


def test_to_be_tested_no_training_digit_is_rendered(data, monkeypatch):
    asked = []
    render = rendered.render_digits
    monkeypatch.setattr(
        rendered,
        "render_digits",
        lambda count, *args, **settings: asked.append(count) or render(count, *args, **settings),
    )
    data_set, test = load_test("digits", tuple("0123456789"))
    assert len(test) == 30 and len(data_set.train) == 0
    assert max(asked) == 30
    assert torch.equal(test.images, load_data("digits", samples=10).test.images)
    monkeypatch.setattr(rendered, "SAMPLES", 20)
    assert len(load_test("digits:train")[1]) == 20
