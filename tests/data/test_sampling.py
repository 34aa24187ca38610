"""Seeded draws."""

from __future__ import annotations

import pytest
import torch

from memorywrap.data.sampling import balanced, interleaved, reduced


def test_balanced_takes_as_many_of_each_class_as_it_can():
    labels = torch.tensor([0] * 50 + [1] * 3 + [2] * 50)
    rows = balanced(labels, 15, seed=4)
    assert len(rows.unique()) == 15
    assert labels[rows].bincount().tolist() == [6, 3, 6]
    assert torch.equal(rows, balanced(labels, 15, seed=4))
    assert not torch.equal(rows, balanced(labels, 15, seed=5))


def test_balanced_takes_all_where_there_are_fewer_and_says_where_there_is_none():
    labels = torch.tensor([0, 1, 1])
    assert balanced(labels, 9, seed=0).sort().values.tolist() == [0, 1, 2]
    for size in (0, -1):
        with pytest.raises(ValueError, match=f"at least 1 sample to draw, received {size}"):
            balanced(labels, size, seed=0)
    with pytest.raises(ValueError, match="there is no sample to draw from"):
        balanced(labels[:0], 9, seed=0)


def test_interleaved_keeps_the_order_within_a_class():
    assert interleaved(torch.tensor([1, 1, 0, 2, 1, 0])).tolist() == [2, 0, 3, 5, 1, 4]


def test_reduced_draws_each_sample_once_and_by_its_seed():
    labels = torch.zeros(50)
    assert reduced(labels, 50, 0).sort().values.tolist() == list(range(50))
    first, again, other = (reduced(labels, 9, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    for samples in (0, 51):
        with pytest.raises(
            ValueError, match=f"expected 1 to 50 training samples, received {samples}"
        ):
            reduced(labels, samples, 0)
