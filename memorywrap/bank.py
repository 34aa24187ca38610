"""The memory bank: the fixed training samples that a classifier looks at when it predicts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from PIL import Image
from torch import Tensor

from memorywrap.caching import cached_property
from memorywrap.images import to_pil


@dataclass(frozen=True, eq=False)
class MemoryBank:
    """Memory samples with what the classifier needs to read them. Edits return a new bank.

    An edit keeps every other sample at its index: a removed sample stays in place and cannot be
    used, so that "sample 17" means the same picture before and after.

    Attributes:
        images: uint8 (memory, 3, height, width).
        labels: int64 (memory,), the class each sample carries in the training set.
        embeddings: float (memory, dim), made by the encoder once.
        available: bool (memory,), false for removed samples; all true when not given.
        predicted: int64 (memory,), the model's own prediction for each sample with that sample
            masked out of the bank (leave one out). None until a classifier has filled it in: it
            depends on the whole bank, so an edit that changes the samples clears it. Removing
            samples only sets it to -1 where it rested on them.
        rests_on: bool (memory, memory), the samples used by the prediction for each sample; comes
            and goes with `predicted`.
        model: fingerprint of the model that made the embeddings and predictions, so that it notices
            when its weights are others now; None where they came from elsewhere.

    Raises:
        ValueError: parts that do not fit each other, or no sample that can be used.
    """

    images: Tensor
    labels: Tensor
    embeddings: Tensor
    available: Tensor = field(default_factory=lambda: torch.ones(0, dtype=torch.bool))
    predicted: Tensor | None = None
    rests_on: Tensor | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        size = len(self.images)
        if self.images.ndim != 4 or self.images.dtype != torch.uint8:
            raise ValueError(
                "bank images: expected uint8 (memory, 3, height, width), "
                f"received {self.images.dtype} {tuple(self.images.shape)}"
            )
        if not len(self.available):
            object.__setattr__(self, "available", torch.ones(size, dtype=torch.bool))
        for name in ("labels", "embeddings", "available", "predicted", "rests_on"):
            part = getattr(self, name)
            if part is not None and len(part) != size:
                raise ValueError(
                    f"bank of {size} images: expected as many {name}, received {len(part)}"
                )
        if not self.available.any():
            raise ValueError("at least one sample must stay in the memory bank")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        removed = len(self) - int(self.available.sum())
        of_them = f", {removed} of them removed" if removed else ""
        classes = len(self.labels.unique())
        height, width = self.images.shape[2:]
        return f"<MemoryBank: {len(self)} samples of {classes} classes, {height} x {width} pixels{of_them}>"

    @cached_property
    def keys(self) -> list[bytes]:
        """One short digest of the pixels per sample: what was computed for a sample alone can be
        kept under it through any edit, and can never be mistaken for another image's."""
        return [
            hashlib.blake2b(image.numpy().tobytes(), digest_size=12).digest()
            for image in self.images.cpu()
        ]

    def without(self, indices: Iterable[int]) -> MemoryBank:
        """The bank without the samples at these indices.

        Raises:
            IndexError: an index is not in the bank.
            ValueError: no sample would be left.
        """
        removed = [self._check(index) for index in indices]
        available = self.available.clone()
        available[removed] = False
        predicted = None
        if self.predicted is not None and self.rests_on is not None:
            # Sparsemax gives the same weights without a sample that had none.
            predicted = self.predicted.masked_fill(self.rests_on[:, removed].any(dim=1), -1)
        return replace(self, available=available, predicted=predicted)

    def restored(self, indices: Iterable[int]) -> MemoryBank:
        """The bank with samples that were removed from it.

        Raises:
            IndexError: an index is not in the bank.
        """
        available = self.available.clone()
        available[[self._check(index) for index in indices]] = True
        return replace(self, available=available, predicted=None, rests_on=None)

    def relabelled(self, index: int, label: int) -> MemoryBank:
        """The bank with another label on one sample.

        No prediction changes: the model reads a sample's pixels, never its label.

        Raises:
            IndexError: the index is not in the bank.
            ValueError: a label below 0.
        """
        labels = self.labels.clone()
        labels[self._check(index)] = _check_label(label)
        return replace(self, labels=labels)

    def swapped(self, index: int, image: Tensor, label: int, embedding: Tensor) -> MemoryBank:
        """The bank with another sample in the place of one: uint8 (3, height, width), its label and
        its embedding (dim,).

        Raises:
            IndexError: the index is not in the bank.
            ValueError: an image, label or embedding that is not like those of the bank.
        """
        self._check(index)
        _check_alike("image", image, self.images[index])
        _check_alike("embedding", embedding, self.embeddings[index])
        _check_label(label)
        images, labels, embeddings = (
            part.clone() for part in (self.images, self.labels, self.embeddings)
        )
        images[index], labels[index], embeddings[index] = image, label, embedding
        return MemoryBank(images, labels, embeddings, self.available, model=self.model)

    def added(self, images: Tensor, labels: Sequence[int], embeddings: Tensor) -> MemoryBank:
        """The bank with more samples at its end: uint8 (n, 3, height, width), n labels, (n, dim).

        Raises:
            ValueError: images, labels or embeddings that are not like those of the bank, or not as
                many of one as of another.
        """
        count = len(images)
        _check_alike("images", images, self.images[:1].expand(count, -1, -1, -1))
        _check_alike("embeddings", embeddings, self.embeddings[:1].expand(count, -1))
        if len(labels) != count:
            raise ValueError(f"labels: expected {count} as of images, received {len(labels)}")
        kept = [_check_label(int(label)) for label in labels]
        return MemoryBank(
            torch.cat([self.images, images.to(self.images.device)]),
            torch.cat([self.labels, torch.tensor(kept).to(self.labels)]),
            torch.cat([self.embeddings, embeddings.to(self.embeddings)]),
            torch.cat([self.available, torch.ones(count, dtype=torch.bool)]),
            model=self.model,
        )

    def to(self, device: torch.device | str) -> MemoryBank:
        """The bank with its embeddings on another device; images and labels stay where they are."""
        return replace(self, embeddings=self.embeddings.to(device))

    def _check(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"memory sample {index}: expected an index from 0 to {len(self) - 1}")
        return index


def bank_picture(bank: MemoryBank, columns: int = 20, *, removed: bool = False) -> Image.Image:
    """All memory samples in bank order, row by row; the removed ones only if asked for."""
    images = bank.images if removed else bank.images[bank.available]
    height, width = images.shape[2:]
    rows = -(-len(images) // columns)
    picture = Image.new("RGB", (columns * width, rows * height), "white")
    for index, image in enumerate(images):
        picture.paste(to_pil(image), ((index % columns) * width, (index // columns) * height))
    return picture


def _check_alike(what: str, given: Tensor, present: Tensor) -> None:
    if (given.shape, given.dtype) != (present.shape, present.dtype):
        raise ValueError(
            f"{what}: expected {present.dtype} {tuple(present.shape)}, "
            f"received {given.dtype} {tuple(given.shape)}"
        )


def _check_label(label: int) -> int:
    if label < 0:
        raise ValueError(f"label: expected one from 0, received {label}")
    return label
