"""MemoryWrapClassifier: encoder + memory layer + memory bank + preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from memorywrap.bank import MemoryBank
from memorywrap.checkpoints import folder as checkpoint
from memorywrap.checkpoints.config import Config
from memorywrap.checkpoints.folder import CheckpointError
from memorywrap.crop import suggest_box
from memorywrap.devices import choose_device
from memorywrap.encoders import create_encoder, folded, mirrored
from memorywrap.explanation.baselines import BASELINES
from memorywrap.explanation.explanation import INTEGRATED_GRADIENTS, Explanation, explain
from memorywrap.explanation.path_cache import PathCache
from memorywrap.images import Box, ImageSource, read_image, to_input, to_unit
from memorywrap.layer import BaselineMemory, MemoryWrapLayer, similarity
from memorywrap.prediction import Prediction
from memorywrap.trust import TrustGauge

_CHUNK = 256  # images encoded at once


class MemoryWrapClassifier(nn.Module):
    """An image classifier that shows the training samples behind each prediction.

    >>> classifier = MemoryWrapClassifier.from_pretrained("checkpoints/digits")
    >>> prediction = classifier.predict("photo.jpg")
    >>> prediction.to_dict("digits")["predicted"]
    '7'
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.encoder = create_encoder(config.encoder)
        dim, classes = self.encoder.embedding_dim, len(config.classes)
        if config.variant == "std":
            self.head: nn.Module = nn.Linear(dim, classes)
        else:
            layer = MemoryWrapLayer if config.variant == "memory-wrap" else BaselineMemory
            self.head = layer(dim, classes, distance=config.distance)
        # Settings, not weights: they travel in config.json, so they stay out of the state dict.
        for name in ("mean", "std"):
            values = torch.tensor(getattr(config, name), dtype=torch.float32)[:, None, None]
            self.register_buffer(name, values, persistent=False)
        self._bank: MemoryBank | None = None
        self._paths: tuple[list[Any], list[Any], PathCache] | None = None

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, device: str | torch.device = "auto"
    ) -> MemoryWrapClassifier:
        """Load a checkpoint folder, or a model of the Hugging Face Hub by its id; ready to predict.

        The model is in evaluation mode, its weights frozen and its bank encoded. Where the bank is
        drawn from a data set (`config.bank`), `bank` is None until `set_bank`.

        Args:
            folder: a checkpoint folder or "owner/name".
            device: "auto" takes CUDA, then MPS, then CPU.

        Raises:
            CheckpointError: the folder is missing or does not hold a checkpoint of ours.
        """
        folder = checkpoint.find(folder)
        saved = checkpoint.read(folder)
        classifier = cls(saved.config)
        try:
            checkpoint.load_strictly(classifier, saved.weights)
            classifier.config = saved.config  # with the trust gauge, which goes with these weights
            classifier.eval().requires_grad_(False).to(choose_device(device))
            if classifier.has_memory and saved.bank is not None:
                classifier.set_bank(classifier.make_bank(*saved.bank))
        except ValueError as error:
            raise CheckpointError(f"{folder.name}: {error}") from error
        return classifier

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a checkpoint folder: config.json, model.safetensors and the bank if there is one."""
        bank = self._bank if self.config.bank is None else None
        checkpoint.write(folder, self.config, self.state_dict(), bank)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MemoryWrapClassifier:
        """What `to`, `half`, `cuda` and so on do: the bank's embeddings go along."""
        super()._apply(fn, recurse)
        if self._bank is not None:
            self._bank = replace(self._bank, embeddings=fn(self._bank.embeddings))
        return self

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As of `torch.nn.Module`; the bank is encoded anew by the new weights, and a trust gauge,
        which was fitted to the old ones, is dropped."""
        found = super().load_state_dict(*args, **kwargs)
        self.config = replace(self.config, trust=None)
        if self._bank is not None:
            embeddings = self.encode(self._bank.images)
            self.set_bank(replace(self._bank, embeddings=embeddings, predicted=None))
        return found

    @property
    def has_memory(self) -> bool:
        """Whether predictions read a memory bank (every variant but "std")."""
        return self.config.variant != "std"

    @property
    def device(self) -> torch.device:
        """Where the weights and the bank's embeddings are."""
        return self.mean.device

    @property
    def bank(self) -> MemoryBank | None:
        """The memory bank, with embeddings and predictions filled in."""
        return self._bank

    def set_bank(self, bank: MemoryBank) -> None:
        """Use this bank from now on; its predictions are computed here if an edit cleared them. A trust
        gauge that was fitted to another bank is dropped."""
        if self._bank is not None:
            self.config = replace(self.config, trust=None)
        self._bank = self.completed(bank.to(self.device))

    @torch.no_grad()
    def make_bank(self, images: Tensor, labels: Tensor) -> MemoryBank:
        """A bank of uint8 images (memory, 3, size, size) and int64 labels (memory,).

        Raises:
            ValueError: images or labels that do not fit the model.
        """
        size, classes = self.config.image_size, len(self.config.classes)
        if images.shape[1:] != (3, size, size) or images.dtype != torch.uint8:
            raise ValueError(
                f"bank images: expected uint8 (memory, 3, {size}, {size}), "
                f"received {images.dtype} {tuple(images.shape)}"
            )
        wrong = [label for label in labels.tolist() if not 0 <= label < classes]
        if wrong:
            raise ValueError(
                f"bank labels: expected labels from 0 to {classes - 1}, received {wrong[0]}"
            )
        return self.completed(MemoryBank(images, labels, self.encode(images)))

    @torch.no_grad()
    def completed(self, bank: MemoryBank) -> MemoryBank:
        """The bank with each sample's predicted class: the model's, with that sample masked out."""
        size = len(bank)
        predicted = torch.full((size,), -1) if bank.predicted is None else bank.predicted.clone()
        rows = (predicted < 0).nonzero()[:, 0]
        if not len(rows):
            return bank
        # (rows, memory): everyone may look at the samples left in the bank but not at themselves.
        mask = bank.available.repeat(len(rows), 1)
        mask[torch.arange(len(rows)), rows] = False
        # A lone sample cannot be masked out: it may look at itself.
        alone = ~mask.any(dim=1)
        mask[alone] = bank.available
        queries = bank.embeddings[rows.to(self.device)]
        weights = self.head.weights(queries, bank.embeddings, mask.to(self.device))
        predicted[rows] = self.head.read(queries, bank.embeddings, weights).argmax(dim=1).cpu()
        rests_on = torch.zeros(size, size, dtype=torch.bool)
        if bank.rests_on is not None:
            rests_on = bank.rests_on.clone()
        rests_on[rows] = (weights > 0).cpu()
        return replace(bank, predicted=predicted, rests_on=rests_on)

    def embed(self, pixels: Tensor) -> Tensor:
        """Embeddings (batch, dim) of images (batch, 3, height, width) in [0, 1]."""
        # The fast encoder is a copy: gradients that are to reach the weights need the original.
        wants_weight_gradients = torch.is_grad_enabled() and any(
            parameter.requires_grad for parameter in self.encoder.parameters()
        )
        if self.training:
            return self.encoder((pixels - self.mean) / self.std)
        if wants_weight_gradients:
            return self._embed_with(self.encoder, pixels)
        return self.paths().embed(pixels)

    def _embed_with(self, encoder: nn.Module, pixels: Tensor) -> Tensor:
        normalised = ((pixels - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return mirrored(encoder, normalised) if self.config.mirror else encoder(normalised)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Embeddings (n, dim) of uint8 images (n, 3, height, width), in chunks."""
        return torch.cat([self.embed(to_unit(part, self.device)) for part in images.split(_CHUNK)])

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

    @torch.no_grad()
    def classify(
        self, images: Tensor, bank: MemoryBank | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Classify uint8 images (n, 3, height, width).

        Args:
            images: what the model sees.
            bank: another bank than the classifier's own.

        Returns:
            logits (n, classes), memory weights (n, memory) and similarities (n, memory); the last
            two have no columns for the variant "std".
        """
        return self.read(self.encode(images), bank)

    @torch.no_grad()
    def read(
        self, queries: Tensor, bank: MemoryBank | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`classify` for queries (n, dim) that are encoded already: a small matrix product."""
        if not self.has_memory:
            none = queries.new_zeros(len(queries), 0)
            return self.head(queries), none, none
        bank = bank or self._required_bank()
        mask = bank.available.to(self.device).expand(len(queries), -1)
        weights = self.head.weights(queries, bank.embeddings, mask)
        logits = self.head.read(queries, bank.embeddings, weights)
        alike = similarity(queries, bank.embeddings, self.head.distance)
        return logits, weights, alike.masked_fill(~mask, float("-inf"))

    def predict(
        self,
        images: ImageSource | Prediction | Sequence[ImageSource | Prediction],
        *,
        box: Box | None = None,
        without: Sequence[int] = (),
        bank: MemoryBank | None = None,
    ) -> Prediction | list[Prediction]:
        """Predict an image, or a list of them, with the evidence for each.

        What if the memory were another? Given one of its predictions, the model reads the memory
        again for the same input, which is not encoded anew.

        Args:
            images: a PIL image, a path, encoded bytes, a uint8 array, a prediction, or a list of
                those.
            box: (left, top, right, bottom), the part to look at; the central square if not given.
                A prediction brings its own.
            without: bank indices of memory samples to do without, this once.
            bank: another bank than the classifier's own, or than that of a prediction, this once.

        Returns:
            A `Prediction` for one image, a list in the given order for a list. A prediction comes
            back as it is where nothing about its memory is to change.

        Raises:
            ImageError: an input that is not a usable image.
            IndexError: an index that is not in the bank.
            ValueError: no memory sample would be left.
        """
        many = isinstance(images, (list, tuple))
        items = list(images) if many else [images]
        unseen = [self.input(one, box) for one in items if not isinstance(one, Prediction)]
        new = iter(self.predict_inputs(unseen, self._edited(None, without, bank)) if unseen else [])
        predictions = []
        for one in items:
            if not isinstance(one, Prediction):
                one = next(new)
            elif len(without) or bank is not None:
                edited = self._edited(one.bank, without, bank)
                (one,) = self._predictions([one.pixels], self.query(one), edited)
            predictions.append(one)
        return predictions if many else predictions[0]

    def predict_inputs(
        self, inputs: Sequence[Tensor], bank: MemoryBank | None = None
    ) -> list[Prediction]:
        """`predict` for inputs uint8 (3, size, size) as the model sees them."""
        if not inputs:
            return []
        return self._predictions(inputs, self.encode(torch.stack(list(inputs))), bank)

    def query(self, prediction: Prediction) -> Tensor:
        """Embedding (1, dim) of a prediction's input; encoded anew only where the encoder is not the
        one that it was predicted with."""
        if prediction.query is not None and prediction.encoder is self._encoder_now():
            return prediction.query[None].to(self.device)
        return self.encode(prediction.pixels[None])

    def _encoder_now(self) -> object | None:
        """Stands for the encoder with its present weights; None in training mode, where the same
        input has other embeddings each time."""
        return None if self.training else self.paths().encoder

    def _edited(
        self, own: MemoryBank | None, without: Sequence[int], bank: MemoryBank | None
    ) -> MemoryBank | None:
        if bank is None and not len(without):
            return own
        return (bank or own or self._required_bank()).without(without)

    def _predictions(
        self, inputs: Sequence[Tensor], queries: Tensor, bank: MemoryBank | None
    ) -> list[Prediction]:
        bank = self._bank if bank is None else self.completed(bank)
        trust = self.config.trust if bank is self._bank else None
        gauge = None if trust is None else TrustGauge.from_dict(trust)
        parts = zip(*(part.cpu() for part in (*self.read(queries, bank), queries)), strict=True)
        encoder = self._encoder_now()
        return [
            Prediction(pixels, self.config.classes, *read, bank, gauge, query, encoder)
            for pixels, (*read, query) in zip(inputs, parts, strict=True)
        ]

    def input(self, image: ImageSource, box: Box | None = None) -> Tensor:
        """What the model sees of an image: uint8 (3, size, size)."""
        return to_input(read_image(image), self.config.image_size, box)

    def suggest_box(self, image: Image.Image) -> Box:
        """A first guess at the square (left, top, right, bottom) of an RGB image to classify: the
        one most similar to a memory sample or, without memory, with the highest probability."""

        def scores(inputs: Tensor) -> Tensor:
            logits, _, alike = self.classify(inputs)
            return (alike if self.has_memory else logits.softmax(dim=1)).amax(dim=1)

        return suggest_box(scores, image, self.config.image_size)

    def explain(
        self,
        image: ImageSource | Prediction | Sequence[ImageSource | Prediction],
        *,
        box: Box | None = None,
        method: str = INTEGRATED_GRADIENTS,
        baseline: str = "white",
        steps: int | None = None,
        against: int | None = None,
        without: Sequence[int] = (),
    ) -> Explanation | list[Explanation]:
        """Explain the prediction for an image, or for each of a list, all in common batches.

        Args:
            image: what `predict` takes, or a prediction it gave with its present weights, or a list
                of them.
            box: as for `predict`; a prediction brings its own.
            method: one of `explain.methods()`.
            baseline: a key of `baselines.BASELINES`, where the attribution's path starts.
            steps: path steps; chosen by the completeness error when not given.
            against: attribute how far the predicted class is above this class instead.
            without: bank indices of memory samples to do without, this once.

        Raises:
            ImageError: an input that is not a usable image.
            IndexError: an index that is not in the bank.
            ValueError: no memory bank, unknown method or baseline, fewer than one step, or no
                memory sample left.
        """
        classes = len(self.config.classes)
        if against is not None and not 0 <= against < classes:
            raise ValueError(
                f"against: expected a class from 0 to {classes - 1}, received {against}"
            )
        images = list(image) if isinstance(image, (list, tuple)) else [image]
        predictions = self.predict(images, box=box, without=without)
        if against in [prediction.predicted for prediction in predictions]:
            raise ValueError(
                f"against: expected another class than the predicted one, received {against}"
            )
        explanations = explain(
            predictions,
            self.head,
            self.paths(),
            method=method,
            baseline=baseline,
            steps=steps,
            against=against,
        )
        return explanations if isinstance(image, (list, tuple)) else explanations[0]

    def paths(self) -> PathCache:
        """The fastest embedding function in evaluation mode, with the cache of path embeddings;
        made anew when the encoder's weights have changed."""
        state = (*self.encoder.state_dict(keep_vars=True).values(), self.mean, self.std)
        # In-place updates raise a tensor's version; moves and replacements change its address.
        weights = [(tensor.data_ptr(), tensor._version) for tensor in state]
        if self._paths is None or self._paths[0] != weights:
            encoder = folded(self.encoder).to(memory_format=torch.channels_last)
            # Held on to: memory that was given back is soon another tensor's, at the same address.
            held = [tensor.untyped_storage() for tensor in state]
            self._paths = (weights, held, PathCache(partial(self._embed_with, encoder)))
        return self._paths[-1]

    def warm_paths(self, samples: Sequence[int] | None = None, *, baseline: str = "white") -> None:
        """Begin the paths of memory samples ahead of the first explanation, which comes sooner then.

        Args:
            samples: bank indices; all when not given, which takes some seconds on a CPU.
            baseline: as for `explain`.
        """
        bank = self._required_bank()
        chosen = list(range(len(bank)) if samples is None else samples)
        pixels = to_unit(bank.images[chosen], self.device)
        for start in BASELINES[baseline]:
            self.paths().warm([bank.keys[index] for index in chosen], pixels, start)

    def _required_bank(self) -> MemoryBank:
        if self._bank is None:
            raise ValueError("the classifier has no memory bank yet: call set_bank(make_bank(...))")
        return self._bank
