"""Planted samples: a copy of the model learns to use them, and only then are they looked for."""

from __future__ import annotations

import pytest
import tiny
import torch

from memorywrap.data.sets import Split
from memorywrap.measures import example_report, planted
from memorywrap.measures.example_report import measure_examples


def test_the_mark_covers_a_corner_and_nothing_else():
    images, _ = tiny.images(2)
    changed = (planted.stamped(images) != images).any(dim=1)
    assert changed[:, 25:31, 25:31].float().mean() > 0.95
    assert changed.sum() == changed[:, 25:31, 25:31].sum()


@pytest.fixture
def short(monkeypatch):
    for name, value in (
        ("_STEPS", 40),
        ("_BATCH", 16),
        ("_MEMORY", 16),
        ("_RATE", 1e-3),
        ("_SHARE", 0.4),
    ):
        monkeypatch.setattr(planted, name, value)


def test_a_copy_learns_to_follow_the_mark_and_the_model_stays_as_it_is(short):
    model = tiny.classifier(memory=24)
    before = model.fingerprint
    test, train = Split(*tiny.images(40, 1)), Split(*tiny.images(90, 2))
    made = planted.with_shortcut(model, test, train, 20, 0)
    marked = planted.stamped(train.images)
    assert torch.equal(made.train.images[made.flags], marked[made.flags])
    assert set(made.train.labels[made.flags].tolist()) == {made.label}
    bank, flags = made.bank(24, 3)
    assert 0 < int(flags.sum()) < 24 and set(bank.labels[flags].tolist()) == {made.label}

    def share(images):
        told = made.model.classify(images, bank).logits.argmax(dim=1)
        return float((told == made.label).float().mean())

    others = test.images[test.labels != made.label]
    assert share(planted.stamped(others)) > share(others) + 0.3
    assert model.fingerprint == before != made.model.fingerprint


def test_planted_samples_are_found_by_what_is_like_them(short):
    model = tiny.classifier(memory=24, data={"name": "cifar10"})
    test, train = Split(*tiny.images(9, 1)), Split(*tiny.images(60, 2))
    found = measure_examples(model, test, train, redraws=2, images=12)
    assert set(found["mixed"]) == set(found["rules"]) | {"contribution"}
    # A network tells smooth pictures from noise, if nothing else.
    assert min(found["mixed"]["nearest"]) > max(found["mixed"]["random"])
    for told in found["votes"].values():
        assert len(told["right"]) == 2 and all(0 <= value <= 1 for value in told["same"])
    assert all(len(shares["learned"]) == 2 for shares in found["answered"].values())


def test_images_that_the_model_does_not_take_for_the_planted_class_are_not_asked_about(monkeypatch):
    model = tiny.classifier(memory=12)
    images, labels = tiny.images(30, 2)
    asked = []
    monkeypatch.setattr(example_report, "_find", lambda *given: asked.append(given[3]))
    label = int(model.classify(images[:1]).logits.argmax())
    made = planted.Planted(model, Split(images, labels), labels == label, images, label)
    found = {"answered": {}}
    example_report._measure_planted(model, made, "shortcut", found, [0])
    (share,) = found["answered"]["shortcut"]["learned"]
    assert 0 < len(asked[0]) == round(share * 30)
    other = planted.Planted(model, Split(images, labels), labels < 0, images, label)
    example_report._measure_planted(model, other, "shortcut", found, [0])
    assert len(asked) == 1 and found["shortcut"] == {}  # nothing planted lies in this bank


def test_images_that_come_class_by_class_do_not_make_rules_look_narrow(short):
    model = tiny.classifier(memory=12)
    images, labels = tiny.images(120, 1)
    order = labels.argsort()
    train = Split(*tiny.images(60, 2))
    sorted_, mixed = (
        measure_examples(model, test, train, redraws=1, images=2)["rules"]["nearest"][
            "cardinality"
        ][0]
        for test in (Split(images[order], labels[order]), Split(images, labels))
    )
    assert abs(sorted_ - mixed) < 0.1


def test_without_pictures_of_none_of_the_classes_nothing_is_said_of_them(short):
    model = tiny.classifier(memory=12)
    test, train = Split(*tiny.images(9, 1)), Split(*tiny.images(30, 2))
    assert measure_examples(model, test, train, redraws=1, images=2)["mixed"] is None
