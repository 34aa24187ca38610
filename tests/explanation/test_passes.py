"""Encoder passes: common batches give what lone ones give, and never more than a chunk at once."""

from __future__ import annotations

import pytest
import torch

from memorywrap.explanation import passes
from memorywrap.explanation.passes import Pass, run

# Of embeddings v = sum over pixels of (p, p^2): known gradients.
CALLS: list[tuple[int, bool]] = []


def embed(pictures):
    CALLS.append((len(pictures), torch.is_grad_enabled()))
    return torch.stack([pictures.sum(dim=(1, 2, 3)), pictures.square().sum(dim=(1, 2, 3))], dim=1)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    CALLS.clear()
    monkeypatch.setattr(passes, "chunk_size", lambda device: 8)


def asking(pictures, weights):
    """An explanation of one embedding and one gradient."""
    known = yield Pass(pictures)
    gradients = yield Pass(pictures, weights)
    return known, gradients


def twice_the_sum(embeddings):
    """Weighs the first number of an embedding by 1, and the second by the first."""
    return torch.stack([torch.ones(len(embeddings)), embeddings[:, 0]], dim=1)


def test_each_is_given_its_own_in_common_batches() -> None:
    torch.manual_seed(0)
    pictures = [torch.rand(count, 3, 2, 2) for count in (2, 3, 5)]
    found = run(embed, [asking(picture, twice_the_sum) for picture in pictures])
    for picture, (known, gradients) in zip(pictures, found, strict=True):
        torch.testing.assert_close(known, embed(picture))
        total = known[:, 0][:, None, None, None]
        torch.testing.assert_close(gradients, 1 + total * 2 * picture)
    assert CALLS[:4] == [(5, False), (5, False), (5, True), (5, True)]  # 2 + 3 fit, 5 more do not


@pytest.mark.parametrize("count", [8, 20])
def test_no_batch_is_larger_than_a_chunk(count) -> None:
    picture = torch.rand(count, 3, 2, 2)
    weights = torch.tensor([[2.0, 1.0]]).expand(count, 2)
    for how in (weights, lambda embeddings: weights):
        CALLS.clear()
        ((_, gradients),) = run(embed, [asking(picture, how)])
        torch.testing.assert_close(gradients, 2 + 2 * picture)
        assert max(size for size, _ in CALLS) == 8
        with_graph = [size for size, graph in CALLS if graph]
        assert sum(with_graph) == count


def test_explanations_of_different_length_end_when_they_end() -> None:
    def long(rounds):
        total = torch.zeros(())
        for _ in range(rounds):
            total = total + (yield Pass(torch.ones(1, 3, 1, 1)))[0, 0]
        return float(total)

    assert run(embed, [long(rounds) for rounds in (3, 0, 1)]) == [9.0, 0.0, 3.0]
    assert [size for size, _ in CALLS] == [2, 1, 1]
    assert run(embed, []) == []
