"""A task that a few training steps solve: telling noisy squares of three colours apart."""

from __future__ import annotations

import torch
from torch import nn

from memorywrap.data.sets import ImageData, Split
from memorywrap.training.recipes import Recipe, Training

COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200))
SHORT = Recipe("test", epochs=2, batch=16, memory=8, learning_rate=0.05, test_memories=2)


def coloured(count, seed):
    """So many squares and their colours."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    noise = torch.randint(-50, 50, (count, 3, 32, 32), generator=generator)
    images = (torch.tensor(COLOURS)[labels][:, :, None, None] + noise).clamp(0, 255)
    return Split(images.to(torch.uint8), labels)


DATA = ImageData(
    "colours",
    ("red", "green", "blue"),
    coloured(48, 0),
    coloured(30, 1),
    {"name": "colours", "train": 48},
)
TINY = Training(DATA, SHORT, encoder="tiny", bank=6, precision="float32")


def tiny_encoder():
    """All that training must carry along (running statistics, dropout), in milliseconds."""
    encoder = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4, bias=False),
        nn.BatchNorm2d(8),
        nn.SiLU(),
        nn.Conv2d(8, 16, 3, bias=False),
        nn.BatchNorm2d(16),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
    )
    encoder.embedding_dim = 16
    return encoder


def assert_same(first, second, **tolerance):
    """The same names with the same tensors, within a tolerance if one is given."""
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(
            value, second[name], **tolerance or {"rtol": 0, "atol": 0}, msg=lambda m, n=name: n + m
        )
