"""What-if answers are those of the model itself."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from memorywrap import MemoryWrapClassifier
from memorywrap.checkpoints.config import Config
from memorywrap.what_if import flip_set, stability, wilson_interval

CLASSES = ("ant", "bee", "cow", "doe")


def classifier(seed: int, size: int = 7) -> MemoryWrapClassifier:
    """A memory-only model with a head sharp enough that samples decide the class."""
    torch.manual_seed(seed)
    config = Config(title="t", encoder="compact", classes=CLASSES, variant="baseline")
    model = MemoryWrapClassifier(config).eval().requires_grad_(False)
    images = torch.randint(0, 256, (size, 3, 32, 32), dtype=torch.uint8)
    bank = model.make_bank(images, torch.arange(size) % 4)
    # Spread the embeddings, so that each sample stands for something of its own.
    bank = type(bank)(bank.images, bank.labels, torch.randn_like(bank.embeddings))
    model.set_bank(bank)
    return model


def prediction(model: MemoryWrapClassifier, seed: int):
    torch.manual_seed(100 + seed)
    return model.predict_inputs([torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)])[0]


def brute_force(model: MemoryWrapClassifier, seen, size: int) -> bool:
    """Whether some set of this size changes the prediction."""
    query = model.encode(seen.pixels[None])
    return any(
        int(model.read(query, model.bank.without(removed))[0].argmax()) != seen.predicted
        for removed in combinations(range(len(model.bank)), size)
    )


@pytest.mark.parametrize("seed", range(12))
def test_the_smallest_flip_set_is_that_of_brute_force(seed: int) -> None:
    model = classifier(seed)
    seen = prediction(model, seed)
    found = flip_set(model, seen, limit=2)
    sizes = [size for size in (1, 2) if brute_force(model, seen, size)]
    assert (found.removed is None) == (not sizes)
    assert found.exact
    if found.removed is not None:
        assert len(found.removed) == sizes[0]
        query = model.encode(seen.pixels[None])
        logits = model.read(query, model.bank.without(found.removed))[0]
        assert int(logits.argmax()) == found.predicted != seen.predicted


@pytest.mark.slow
def test_the_seeds_above_cover_flips_of_one_of_two_and_none() -> None:
    sizes = set()
    for seed in range(12):
        found = flip_set(classifier(seed), prediction(classifier(seed), seed), limit=2)
        sizes.add(None if found.removed is None else len(found.removed))
    assert sizes == {1, 2, None}


@pytest.mark.slow
def test_larger_sets_are_verified_and_within_the_limit() -> None:
    sizes = []
    for seed in range(20):
        model = classifier(seed, size=20)
        seen = prediction(model, seed)
        found = flip_set(model, seen, limit=5)
        sizes.append(len(found.removed or ()))
        # Sets of four and more are found step by step: a smaller one of three may have been missed.
        assert found.exact == (1 <= sizes[-1] <= 3)
        if found.removed is not None and len(found.removed) > 2:
            assert len(found.removed) <= 5
            query = model.encode(seen.pixels[None])
            logits = model.read(query, model.bank.without(found.removed))[0]
            assert int(logits.argmax()) == found.predicted != seen.predicted
    assert {1, 2, 3} <= set(sizes) and max(sizes) > 3
    large = next(seed for seed, size in enumerate(sizes) if size > 3)
    model = classifier(large, size=20)
    none = flip_set(model, prediction(model, large), limit=3)
    assert (none.removed, none.exact) == (None, False)


def test_a_bank_that_cannot_change_the_answer_has_no_flip_set() -> None:
    model = classifier(0, size=1)
    assert flip_set(model, prediction(model, 0)).removed is None


def test_removing_an_unused_sample_changes_nothing() -> None:
    model = classifier(3, size=30)
    seen = prediction(model, 3)
    unused = next(index for index in range(30) if index not in seen.used)
    query = model.encode(seen.pixels[None])
    before, after = (model.read(query, bank) for bank in (model.bank, model.bank.without([unused])))
    torch.testing.assert_close(before[0], after[0])
    torch.testing.assert_close(before[1], after[1])


def test_stability_counts_banks_that_agree() -> None:
    model = classifier(1, size=8)
    seen = prediction(model, 1)
    same = stability(model, seen, [model.bank] * 4)
    assert (same.runs, same.agreement, same.classes) == (4, 1.0, {seen.predicted: 4})
    labels = {model.bank.keys[i]: int(model.bank.labels[i]) for i in seen.used}
    assert same.recurrent == [(key, labels[key], 4, 4) for key, *_ in same.recurrent]
    assert {key for key, *_ in same.recurrent} == set(labels)
    with pytest.raises(ValueError, match="at least one redrawn bank"):
        stability(model, seen, [])


def test_recurrent_samples_were_used_in_most_of_the_banks_that_held_them() -> None:
    model = classifier(1, size=8)
    seen = prediction(model, 1)
    first = seen.used[0]
    key = model.bank.keys[first]
    without = [model.bank.without([first])] * 3  # it is in the bank, and cannot be used
    assert key not in {row[0] for row in stability(model, seen, [model.bank, *without]).recurrent}
    often = stability(model, seen, [*[model.bank] * 4, *without]).recurrent
    assert (key, int(model.bank.labels[first]), 4, 7) in often
    assert often[0][2:] == (7, 7)  # the more certain come first
    assert stability(model, seen, [model.bank]).recurrent == []  # once is no recurrence
    bank = model.bank
    twice = bank.added(bank.images[[first]], [0], bank.embeddings[[first]])  # it stands there twice
    assert stability(model, seen, [model.completed(twice)]).recurrent == []


def test_wilson_interval_by_hand() -> None:
    # n = 10, p = 0.5, z = 1.96: centre 0.5, spread 1.96 / 1.38416 * sqrt(0.025 + 0.009604).
    low, high = wilson_interval(5, 10)
    assert (low, high) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson_interval(0, 5)[0] == 0.0
