"""Which samples are drawn: a smaller training set, or as many of each class."""

from __future__ import annotations

import torch
from torch import Tensor


def reduced(labels: Tensor, samples: int, seed: int, held_out: int = 0) -> Tensor:
    """Indices of `samples` random training samples, the same for the same seed.

    Args:
        labels: of all.
        samples: how many.
        seed: of the choice.
        held_out: samples that are never drawn, by the rule of the paper's published script, which then takes
            all others where they are fewer than `samples`.

    Raises:
        ValueError: none, or more than there are.
    """
    left = len(labels) - held_out
    if samples < 1 or left < 1 or (samples > left and not held_out):
        raise ValueError(f"expected 1 to {left} training samples, received {samples}")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    if held_out:  # a split of a split, both with the same seed
        order = order[:left][torch.randperm(left, generator=torch.Generator().manual_seed(seed))]
    return order[:samples]


def balanced(labels: Tensor, size: int, seed: int) -> Tensor:
    """Indices of `size` samples, spread over the classes as evenly as possible, drawn by seed; of all
    where there are fewer.

    Raises:
        ValueError: none wanted, or none there.
    """
    if size < 1:
        raise ValueError(f"expected at least 1 sample to draw, received {size}")
    if not len(labels):
        raise ValueError("there is no sample to draw from")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return order[interleaved(labels[order])[:size]]


def interleaved(labels: Tensor) -> Tensor:
    """Indices that take one sample of each class in turn, in the given order within a class."""
    ranks = torch.zeros_like(labels)
    for label in labels.unique():
        mine = labels == label
        ranks[mine] = torch.arange(int(mine.sum()))
    return (ranks * (int(labels.max()) + 1) + labels).argsort()
