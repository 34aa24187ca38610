"""MemoryWrapNetwork: encoder + memory layer + memory bank, from pixels to logits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from memorywrap.bank import MemoryBank
from memorywrap.checkpoints.config import Config
from memorywrap.encoders import FrozenEncoder, Projected, create_encoder, embedding_dim
from memorywrap.encoders.frozen import Weights, embed, tensors_of
from memorywrap.familiarity import Familiarity, Nearest
from memorywrap.finder import Finder
from memorywrap.images import to_unit
from memorywrap.layer import BaselineMemory, MemoryWrapLayer, similarity

_log = logging.getLogger(__name__)

_PIXELS = 256 * 32 * 32  # of images encoded at once, or 16 images


class Reading(NamedTuple):
    """What a model reads from its memory for n queries.

    Attributes:
        logits: (n, classes).
        weights: memory weights (n, memory); without columns for the variant "std".
        similarity: (n, memory), -inf where a sample may not be used; likewise.
    """

    logits: Tensor
    weights: Tensor
    similarity: Tensor


class MemoryWrapNetwork(nn.Module):
    """The network of a classifier, with its bank: embeddings, memory weights and logits.

    Called as a module, it is a network to train. All that reads the bank answers as in evaluation
    mode with the present weights, whatever the mode, and leaves no trace in them. The bank is encoded
    anew when it was encoded by other weights.
    """

    mean: Tensor
    std: Tensor

    @torch.inference_mode(mode=False)  # weights made under it could never be explained
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.encoder = create_encoder(config.encoder)
        if config.projection:
            self.encoder = Projected(self.encoder, config.projection)
        dim, classes = embedding_dim(self.encoder), len(config.classes)
        if config.variant == "std":
            self.head: Any = nn.Linear(dim, classes)
        else:
            layer = MemoryWrapLayer if config.variant == "memory-wrap" else BaselineMemory
            self.head = layer(dim, classes, distance=config.distance)
        # Settings, not weights: they travel in config.json, so they stay out of the state dict.
        for name in ("mean", "std"):
            values = torch.tensor(getattr(config, name), dtype=torch.float32)[:, None, None]
            self.register_buffer(name, values, persistent=False)
        self._bank: MemoryBank | None = None
        self._frozen: tuple[Weights, FrozenEncoder] | None = None
        self._finder: tuple[Finder | None] = (
            None,
        )  # not a part of the network: it keeps its weights
        self._familiarity: tuple[str, Familiarity | Nearest] | None = (
            None  # with the weights that it is of
        )

    @torch.inference_mode(mode=False)
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What `to`, `half`, `cuda` and so on do: the bank's embeddings go along."""
        super()._apply(fn, recurse)
        if self._bank is not None:
            self._bank = replace(self._bank, embeddings=fn(self._bank.embeddings))
        return self

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: without what is made anew when it is asked for."""
        return {**self.__dict__, "_frozen": None}

    @property
    def has_memory(self) -> bool:
        """Whether predictions read a memory bank (every variant but "std")."""
        return self.config.variant != "std"

    @property
    def finder(self) -> Finder | None:
        """What looks for something to classify in a photograph; None where that was not learned."""
        return self._finder[0]

    def set_finder(self, finder: Finder | None) -> None:
        """Let this one look for something to classify."""
        self._finder = (finder,)

    @property
    def familiarity(self) -> Familiarity | Nearest | None:
        """How to tell what the model knows from what it does not; None where it has not learned that,
        or its weights have changed since."""
        if self._familiarity is None or self._familiarity[0] != self.fingerprint:
            return None
        return self._familiarity[1]

    def set_familiarity(self, familiarity: Familiarity | Nearest | None) -> None:
        """Judge by this one what is known, as long as the weights stay as they are."""
        self._familiarity = None if familiarity is None else (self.fingerprint, familiarity)

    @property
    def device(self) -> torch.device:
        """Where the weights and the bank's embeddings are."""
        return self.mean.device

    @property
    def bank(self) -> MemoryBank | None:
        """The memory bank, with embeddings and predictions filled in by the present weights."""
        if self._bank is not None and self._bank.model != self.fingerprint:
            _log.info("the weights have changed: the memory bank is encoded anew")
            self.config = replace(self.config, trust=None)  # it was fitted to the old ones
            self._bank = self.completed(self._bank)
        return self._bank

    def set_bank(self, bank: MemoryBank) -> None:
        """Use this bank from now on; its predictions are computed here if an edit cleared them. A trust
        gauge that was fitted to another bank is dropped.

        Raises:
            ValueError: a bank that does not fit the model, or a model without memory.
        """
        bank = self.completed(bank)
        if self._bank is not None:
            self.config = replace(self.config, trust=None)
        self._bank = bank

    @torch.no_grad()
    def make_bank(self, images: Tensor, labels: Tensor) -> MemoryBank:
        """A bank of uint8 images (memory, 3, size, size) and int64 labels (memory,).

        Raises:
            ValueError: images or labels that do not fit the model.
        """
        self._require_memory()
        size = self.config.image_size
        if images.shape[1:] != (3, size, size) or images.dtype != torch.uint8:
            raise ValueError(
                f"bank images: expected uint8 (memory, 3, {size}, {size}), "
                f"received {images.dtype} {tuple(images.shape)}"
            )
        if labels.ndim != 1 or labels.dtype != torch.int64:
            raise ValueError(
                f"bank labels: expected int64 (memory,), received {labels.dtype} {tuple(labels.shape)}"
            )
        return self.completed(MemoryBank(images, labels, self.encode(images)))

    @torch.no_grad()
    def completed(self, bank: MemoryBank) -> MemoryBank:
        """The bank with each sample's predicted class: the model's, with that sample masked out. Where
        other weights made its embeddings, they are made anew.

        Raises:
            ValueError: labels that are no class of the model, or a model without memory.
        """
        self._require_memory()
        classes = len(self.config.classes)
        wrong = [label for label in bank.labels.tolist() if not 0 <= label < classes]
        if wrong:
            raise ValueError(
                f"bank labels: expected labels from 0 to {classes - 1}, received {wrong[0]}"
            )
        bank = bank.to(self.device)
        if bank.model not in (None, self.fingerprint):
            bank = replace(bank, embeddings=self.encode(bank.images), predicted=None, rests_on=None)
        bank = replace(bank, model=self.fingerprint)
        size = len(bank)
        predicted = torch.full((size,), -1) if bank.predicted is None else bank.predicted.clone()
        rows = (predicted < 0).nonzero()[:, 0]
        if not len(rows):
            return bank
        # (rows, memory): everyone may look at the samples left in the bank but not at themselves.
        mask = bank.available.repeat(len(rows), 1)
        mask[torch.arange(len(rows)), rows] = False
        # A lone sample cannot be masked out: it may look at itself.
        mask[~mask.any(dim=1)] = bank.available
        logits, weights, _ = self.read(bank.embeddings[rows.to(self.device)], bank, mask)
        predicted[rows] = logits.argmax(dim=1).cpu()
        rests_on = torch.zeros(size, size, dtype=torch.bool)
        if bank.rests_on is not None:
            rests_on = bank.rests_on.clone()
        rests_on[rows] = (weights > 0).cpu()
        return replace(bank, predicted=predicted, rests_on=rests_on)

    def embed(self, pixels: Tensor) -> Tensor:
        """Embeddings (batch, dim) of images (batch, 3, height, width) in [0, 1]; gradients reach the
        weights."""
        mirror = self.config.mirror and not self.training
        return embed(self.encoder, pixels, self.mean, self.std, mirror=mirror)

    def encode(self, images: Tensor) -> Tensor:
        """Embeddings (n, dim) of uint8 images (n, 3, size, size), in chunks; as in evaluation mode.

        Raises:
            ValueError: images of another size than the model sees.
        """
        return self.frozen.project(self.features(images))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """What the embeddings of `encode` are a projection of, (n, features)."""
        size = self.config.image_size
        if images.shape[2:] != (size, size):
            found = " x ".join(map(str, images.shape[2:]))
            raise ValueError(f"images: expected {size} x {size} pixels, received {found}")
        fast = self.frozen.features
        chunk = max(16, _PIXELS // (images.shape[2] * images.shape[3]))
        return torch.cat([fast(to_unit(part, self.device)) for part in images.split(chunk)])

    def forward(
        self, images: Tensor, memory: Tensor | None = None, *, apart: bool = False
    ) -> Tensor:
        """Logits (batch, classes), as for training, with both encoded.

        Args:
            images: (batch, 3, height, width) in [0, 1].
            memory: (memory, 3, height, width) in [0, 1]; not read by the variant "std".
            apart: see `embed_both`.
        """
        if not self.has_memory:
            return self.head(self.embed(images))
        if memory is None:
            raise ValueError(f"variant {self.config.variant!r} needs memory samples")
        return self.head(*self.embed_both(images, memory, apart=apart))

    def embed_both(self, images: Tensor, memory: Tensor, *, apart: bool) -> tuple[Tensor, Tensor]:
        """Embeddings of images and of memory samples, encoded in one pass or apart: then, in training
        mode, each is normalised by the statistics of its own batch."""
        if apart:
            return self.embed(images), self.embed(memory)
        embeddings = self.embed(torch.cat([images, memory]))
        return embeddings[: len(images)], embeddings[len(images) :]

    def classify(self, images: Tensor, bank: MemoryBank | None = None) -> Reading:
        """Classify uint8 images (n, 3, height, width).

        Args:
            images: what the model sees.
            bank: another bank than the classifier's own.
        """
        return self.read(self.encode(images), bank)

    @torch.no_grad()
    def read(
        self, queries: Tensor, bank: MemoryBank | None = None, mask: Tensor | None = None
    ) -> Reading:
        """`classify` for queries (n, dim) that are encoded already: a small matrix product.

        Args:
            queries: embeddings by the present weights.
            bank: another bank than the classifier's own.
            mask: bool (n, memory), true where a query may use a sample; every row needs one that the
                bank has not removed. All samples where it is not given.
        """
        if not self.has_memory:
            none = queries.new_zeros(len(queries), 0)
            return Reading(self.head(queries), none, none)
        bank = bank or self.require_bank()
        usable = bank.available.expand(len(queries), -1)
        usable = (usable if mask is None else usable & mask.cpu()).to(self.device)
        weights = self.head.weights(queries, bank.embeddings, usable)
        logits = self.head.read(queries, bank.embeddings, weights)
        alike = similarity(queries, bank.embeddings, self.head.distance)
        return Reading(logits, weights, alike.masked_fill(~usable, float("-inf")))

    @property
    def fingerprint(self) -> str:
        """Tells the model with its present weights and preprocessing from others."""
        return self._now()[0].fingerprint

    @property
    def frozen(self) -> FrozenEncoder:
        """The encoder with its present weights, in evaluation mode: for all but training."""
        return self._now()[1]

    def _now(self) -> tuple[Weights, FrozenEncoder]:
        """Made anew when weights have changed, whoever changed them."""
        tensors = tensors_of(self)
        if self._frozen is None or not self._frozen[0].still(tensors):
            frozen = FrozenEncoder(self.encoder, self.mean, self.std, mirror=self.config.mirror)
            self._frozen = (Weights(tensors), frozen)
        return self._frozen

    def require_bank(self) -> MemoryBank:
        """`bank`, where there must be one.

        Raises:
            ValueError: there is none, or the model has no memory.
        """
        self._require_memory()
        bank = self.bank
        if bank is None:
            raise ValueError("the classifier has no memory bank yet: call set_bank(make_bank(...))")
        return bank

    def _require_memory(self) -> None:
        if not self.has_memory:
            raise ValueError(
                "this model is a plain network (variant std) without memory: expected variant "
                "memory-wrap or baseline"
            )
