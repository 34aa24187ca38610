"""Chance in training: it depends on the seed and the place in the training, and on nothing else.

Dropout and fresh weights draw from torch's own generators, which belong to whoever calls: they are
lent for the time of a training, and given back as they were.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import torch


def generator(seed: int, *place: int) -> torch.Generator:
    """A generator on the processor for a place in the training: (epoch, 0) for its order, (epoch, n)
    for its nth step. A place is as deep as the others: zeros at its end would not tell it apart."""
    entropy = np.random.SeedSequence((seed, *place)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(entropy[0] >> np.uint64(1)))


def own_chance(device: torch.device) -> AbstractContextManager[None]:
    """Within it, torch's generators of the processor and of this device may be seeded and drawn from:
    afterwards they are as before. MPS does not give its one back."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed torch's generators of the processor and of this device.

    `torch.manual_seed` would seed those of all GPUs, other processes' among them.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
