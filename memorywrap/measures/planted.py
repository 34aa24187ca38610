"""A model that has learned something planted: what attributions of memory should then find again.

Whether samples with a shortcut, or from another data set, are found says something of an attribution only for a model
that has learned to use them (Quanda, arXiv 2410.07158). So a copy of the model learns on from data in which they
lie, and is asked about images that it does answer as the planted class.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from memorywrap.bank import MemoryBank
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.others import render_others
from memorywrap.data.sets import Split
from memorywrap.images import of_side, to_unit
from memorywrap.measures.explanations import random_order

_STEPS, _BATCH, _MEMORY, _RATE = 200, 64, 50, 3e-4
_SHARE = 0.1  # of the training images, planted


@dataclass(frozen=True)
class Planted:
    """A model that has learned from data with planted images.

    Attributes:
        model: a copy that has learned on.
        train: what it learned from.
        flags: bool (n,), which of these were planted.
        asked: test images of the same kind, uint8 (m, 3, size, size), that are none of `label`.
        label: the class that they are to be taken for.
    """

    model: MemoryWrapClassifier
    train: Split
    flags: Tensor
    asked: Tensor
    label: int

    def bank(self, size: int, seed: int) -> tuple[MemoryBank, Tensor]:
        """A memory that is drawn from what it learned from, and which samples are planted, bool (size,)."""
        rows = random_order(len(self.train), seed)[:size]
        bank = self.model.make_bank(self.train.images[rows], self.train.labels[rows])
        return bank, self.flags[rows]


def with_shortcut(
    classifier: MemoryWrapClassifier, test: Split, train: Split, images: int, seed: int
) -> Planted:
    """Some images carry a mark and the label of one class, whatever they show, so that the mark is what has to be
    learned; other images with the mark are asked about."""
    label = int(train.labels.mode().values)

    def others(data: Split, most: int) -> Tensor:
        rows = (data.labels != label).nonzero()[:, 0]
        return rows[random_order(len(rows), seed)[:most]]

    rows = others(train, max(round(_SHARE * len(train)), 1))
    pixels, labels = train.images.clone(), train.labels.clone()
    pixels[rows], labels[rows] = stamped(pixels[rows]), label
    flags = torch.zeros(len(train), dtype=torch.bool).index_fill(0, rows, True)
    learned = Split(pixels, labels)
    asked = stamped(test.images[others(test, images)])
    return Planted(_learned(classifier, learned, seed), learned, flags, asked, label)


def with_strangers(
    classifier: MemoryWrapClassifier, train: Split, kinds: Sequence[str], images: int, seed: int
) -> Planted:
    """Rendered pictures of none of the classes lie among the training images under one label; others of them are
    asked about."""
    count = max(round(_SHARE / (1 - _SHARE) * len(train)), 1)
    size = classifier.config.image_size
    strangers = of_side(render_others(count, seed, kinds, "learn")[0], size)
    asked = of_side(render_others(images, seed, kinds, "test")[0], size)
    learned = Split(
        torch.cat([train.images, strangers]),
        torch.cat([train.labels, torch.zeros(count, dtype=torch.int64)]),
    )
    flags = torch.arange(len(learned)) >= len(train)
    return Planted(_learned(classifier, learned, seed), learned, flags, asked, 0)


@torch.enable_grad()
def _learned(classifier: MemoryWrapClassifier, data: Split, seed: int) -> MemoryWrapClassifier:
    """A copy that has learned on from these images, each read with others as its memory. What its layers are
    normalised by stays."""
    model = copy.deepcopy(classifier).requires_grad_(True).train()
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE)
    chance = torch.Generator().manual_seed(seed)
    for _ in range(_STEPS):
        rows = torch.randperm(len(data), generator=chance)[: _BATCH + _MEMORY]
        asked, kept = rows.tensor_split([len(rows) * _BATCH // (_BATCH + _MEMORY)])
        logits = model(
            to_unit(data.images[asked], model.device), to_unit(data.images[kept], model.device)
        )
        optimizer.zero_grad()
        functional.cross_entropy(logits.float(), data.labels[asked].to(model.device)).backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


def stamped(images: Tensor) -> Tensor:
    """Images uint8 (n, 3, height, width) with a chequered square of magenta and yellow in their lower right
    corner: a shortcut, as a watermark or a ruler in a photograph is one."""
    height, width = images.shape[2:]
    side = max(height // 5, 2)
    rows, columns = torch.arange(side)[:, None], torch.arange(side)[None]
    field = max(side // 3, 1)
    is_magenta = (rows // field + columns // field) % 2 == 0
    colours = torch.tensor([[255, 230], [0, 220], [200, 0]], dtype=torch.uint8)  # magenta, yellow
    marked = images.clone()
    corner = (slice(height - side - 1, height - 1), slice(width - side - 1, width - 1))
    marked[:, :, *corner] = torch.where(is_magenta, colours[:, :1, None], colours[:, 1:, None])
    return marked
