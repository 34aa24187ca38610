"""Which samples are drawn: a smaller training set, or as many of each class."""

from __future__ import annotations

import torch
from torch import Tensor


def reduced(labels: Tensor, samples: int, seed: int) -> Tensor:
    """Indices of `samples` random training samples, the same for the same seed.

    Raises:
        ValueError: none, or more than there are.
    """
    if not 0 < samples <= len(labels):
        raise ValueError(f"expected 1 to {len(labels)} training samples, received {samples}")
    return torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:samples]


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
