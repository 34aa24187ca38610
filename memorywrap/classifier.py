"""MemoryWrapClassifier: predictions and explanations of pictures, from a checkpoint or a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from PIL import Image
from torch import Tensor

from memorywrap.bank import MemoryBank
from memorywrap.checkpoints import folder as checkpoint
from memorywrap.checkpoints.folder import CheckpointError
from memorywrap.crop import enlarged, figure_box, is_settled, small_copy, suggest_box
from memorywrap.devices import choose_device
from memorywrap.encoders import FrozenEncoder, Projected, embedding_dim
from memorywrap.encoders.frozen import in_full_precision
from memorywrap.explanation.baselines import BASELINES, DEFAULT
from memorywrap.explanation.cells import OWN
from memorywrap.explanation.explanation import INTEGRATED_GRADIENTS, Explanation, explain
from memorywrap.explanation.path_cache import PathCache
from memorywrap.familiarity import from_tensors
from memorywrap.finder import Finder
from memorywrap.images import Box, ImageSource, read_image, to_input, to_unit
from memorywrap.network import MemoryWrapNetwork
from memorywrap.prediction import Prediction
from memorywrap.trust import TrustGauge

# What `predict` and `explain` take: for a list of these they give a list.
_Asked = TypeVar("_Asked", bound=ImageSource | Prediction)


class MemoryWrapClassifier(MemoryWrapNetwork):
    """An image classifier that shows the training samples behind each prediction.

    >>> classifier = MemoryWrapClassifier.from_pretrained("checkpoints/digits")
    >>> prediction = classifier.predict("photo.jpg")
    >>> prediction.to_dict("digits")["predicted"]
    '7'
    """

    _paths: tuple[FrozenEncoder, PathCache] | None = None  # with the encoder that they are of

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_paths": None}

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
        with torch.random.fork_rng(devices=[]):  # fresh weights draw from chance: nobody's loss
            classifier = cls(saved.config)
        try:
            checkpoint.load_strictly(classifier, saved.weights)
            classifier.config = saved.config  # with the trust gauge, which goes with these weights
            classifier.eval().requires_grad_(False).to(choose_device(device))
            learned = saved.learned.get(checkpoint.FAMILIARITY)
            if learned is not None:
                encoder = classifier.encoder
                seen = encoder.encoder if isinstance(encoder, Projected) else encoder
                classifier.set_familiarity(from_tensors(learned, embedding_dim(seen)))
            learned = saved.learned.get(checkpoint.FINDER)
            if learned is not None:
                finder = Finder().eval().requires_grad_(False)
                checkpoint.load_strictly(finder, learned, checkpoint.FINDER)
                classifier.set_finder(finder)
            if classifier.has_memory and saved.bank is not None:
                classifier.set_bank(classifier.make_bank(*saved.bank))
        except ValueError as error:
            raise CheckpointError(f"{folder.name}: {error}") from error
        return classifier

    def save_pretrained(self, folder: str | Path, *, half: bool = True) -> None:
        """Write a checkpoint folder: config.json, model.safetensors and the bank if there is one.

        Args:
            folder: where.
            half: whether weights are rounded to half precision, which halves what a clone downloads.
        """
        bank = self._bank if self.config.bank is None else None
        learned: checkpoint.Learned = {}
        if self.familiarity is not None:
            learned[checkpoint.FAMILIARITY] = self.familiarity.tensors()
        if self.finder is not None:
            learned[checkpoint.FINDER] = self.finder.state_dict()
        checkpoint.write(folder, self.config, self.state_dict(), bank, learned, half=half)

    @overload
    def predict(
        self,
        images: ImageSource | Prediction,
        *,
        box: Box | None = None,
        without: Sequence[int] = (),
        bank: MemoryBank | None = None,
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        images: list[_Asked] | tuple[_Asked, ...],
        *,
        box: Box | None = None,
        without: Sequence[int] = (),
        bank: MemoryBank | None = None,
    ) -> list[Prediction]: ...

    def predict(
        self,
        images: ImageSource | Prediction | list[_Asked] | tuple[_Asked, ...],
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
            back as it is where neither its memory is to change nor the weights have changed.

        Raises:
            ImageError: an input that is not a usable image.
            IndexError: an index that is not in the bank.
            ValueError: no memory sample would be left, or a model without memory is to do without.
        """
        if isinstance(images, (list, tuple)):
            return self._predict_all(images, box, without, bank)
        return self._predict_all([images], box, without, bank)[0]

    def _predict_all(
        self,
        items: Sequence[ImageSource | Prediction],
        box: Box | None,
        without: Sequence[int],
        bank: MemoryBank | None,
    ) -> list[Prediction]:
        unseen = [self.input(one, box) for one in items if not isinstance(one, Prediction)]
        new = iter(self.predict_inputs(unseen, self._edited(None, without, bank)) if unseen else [])
        predictions = []
        for one in items:
            if not isinstance(one, Prediction):
                one = next(new)
            elif len(without) or bank is not None or one.model != self.fingerprint:
                edited = self._edited(one.bank, without, bank)
                (one,) = self._again(one, edited)
            predictions.append(one)
        return predictions

    def predict_inputs(
        self, inputs: Sequence[Tensor], bank: MemoryBank | None = None
    ) -> list[Prediction]:
        """`predict` for inputs uint8 (3, size, size) as the model sees them."""
        if not inputs:
            return []
        features = self.features(torch.stack(list(inputs)))
        known = self.familiarity
        familiar = [None] * len(inputs) if known is None else known(features).tolist()
        return self._predictions(inputs, self.frozen.project(features), bank, familiar)

    def _again(self, prediction: Prediction, bank: MemoryBank | None) -> list[Prediction]:
        """The same input with another memory; encoded anew only where the weights have changed."""
        if prediction.query is None or prediction.model != self.fingerprint:
            return self.predict_inputs([prediction.pixels], bank)
        query, familiar = self.query(prediction), [prediction.familiarity]
        return self._predictions([prediction.pixels], query, bank, familiar)

    def query(self, prediction: Prediction) -> Tensor:
        """Embedding (1, dim) of a prediction's input; encoded anew only where the weights are not
        those that it was predicted with."""
        if prediction.query is not None and prediction.model == self.fingerprint:
            return prediction.query[None].to(self.device)
        return self.encode(prediction.pixels[None])

    def _edited(
        self, own: MemoryBank | None, without: Sequence[int], bank: MemoryBank | None
    ) -> MemoryBank | None:
        if bank is None and not len(without):
            return own
        self._require_memory()
        return (bank or own or self.require_bank()).without(without)

    @torch.no_grad()
    def _predictions(
        self,
        inputs: Sequence[Tensor],
        queries: Tensor,
        bank: MemoryBank | None,
        familiar: Sequence[float | None],
    ) -> list[Prediction]:
        own = self.bank
        bank = own if bank is None or bank is own else self.completed(bank)
        trust = self.config.trust if bank is own else None
        gauge = None if trust is None else TrustGauge.from_dict(trust)
        reading = self.read(queries, bank)
        without = self._without_their_class(queries, reading.logits.argmax(dim=1).cpu(), bank)
        parts = (part.cpu() for part in (*reading, queries))
        rows = zip(inputs, *parts, without, familiar, strict=True)
        return [
            Prediction(
                pixels=pixels,
                classes=self.config.classes,
                logits=logits,
                weights=weights,
                similarity=alike,
                bank=bank,
                gauge=gauge,
                query=query,
                model=self.fingerprint,
                logits_without_its_class=left,
                familiarity=known_by,
            )
            for pixels, logits, weights, alike, query, left, known_by in rows
        ]

    def _without_their_class(
        self, queries: Tensor, predicted: Tensor, bank: MemoryBank | None
    ) -> list[Tensor | None]:
        """Logits of each query without the memory samples that are predicted in its class."""
        if bank is None or bank.predicted is None:
            return [None] * len(queries)
        others = (bank.predicted != predicted[:, None]) & bank.available
        able = others.any(dim=1)
        found: list[Tensor | None] = [None] * len(queries)
        if able.any():
            logits = self.read(queries[able.to(queries.device)], bank, others[able]).logits.cpu()
            for row, one in zip(able.nonzero().flatten().tolist(), logits, strict=True):
                found[row] = one
        return found

    def input(self, image: ImageSource, box: Box | None = None) -> Tensor:
        """What the model sees of an image: uint8 (3, size, size)."""
        return to_input(read_image(image), self.config.image_size, box)

    def suggest_box(self, image: Image.Image) -> Box:
        """A first guess at the square (left, top, right, bottom) of an RGB image to classify."""
        return self.suggest_boxes(image)[0]

    def suggest_boxes(self, image: Image.Image) -> list[Box]:
        """Squares of an RGB image to classify, the first guess first: those that its `finder` finds, such
        as the digits of a number, judged by its `familiarity` too, where it has learned that. Without a
        finder, the square most similar to a memory sample or, without memory, that of the highest
        probability."""
        size = self.config.image_size
        if self.finder is not None and not is_settled(image, size):
            small, shrink = small_copy(image, size)
            figure = figure_box(small)
            known = self._known_in(small)
            squares = self.finder.squares(small, known) if figure is None else [figure]
            return [enlarged(square, shrink, image) for square in squares]

        def scores(inputs: Tensor) -> Tensor:
            logits, _, alike = self.classify(inputs)
            return (alike if self.has_memory else logits.softmax(dim=1)).amax(dim=1)

        return [suggest_box(scores, image, size)]

    def _known_in(self, image: Image.Image) -> Callable[[Sequence[Box]], Tensor] | None:
        """Log odds that squares of an image show anything known; None where the model cannot tell."""
        familiarity = self.familiarity
        if familiarity is None:
            return None

        def known(boxes: Sequence[Box]) -> Tensor:
            inputs = [to_input(image, self.config.image_size, box) for box in boxes]
            return familiarity(self.features(torch.stack(inputs)))

        return known

    @overload
    def explain(
        self,
        image: ImageSource | Prediction,
        *,
        box: Box | None = None,
        method: str = INTEGRATED_GRADIENTS,
        baseline: str = DEFAULT,
        steps: int | None = None,
        against: int | None = None,
        without: Sequence[int] = (),
        also: Sequence[int] = (),
    ) -> Explanation: ...

    @overload
    def explain(
        self,
        image: list[_Asked] | tuple[_Asked, ...],
        *,
        box: Box | None = None,
        method: str = INTEGRATED_GRADIENTS,
        baseline: str = DEFAULT,
        steps: int | None = None,
        against: int | None = None,
        without: Sequence[int] = (),
        also: Sequence[int] = (),
    ) -> list[Explanation]: ...

    @torch.inference_mode(mode=False)  # which knows no gradients
    def explain(
        self,
        image: ImageSource | Prediction | list[_Asked] | tuple[_Asked, ...],
        *,
        box: Box | None = None,
        method: str = INTEGRATED_GRADIENTS,
        baseline: str = DEFAULT,
        steps: int | None = None,
        against: int | None = None,
        without: Sequence[int] = (),
        also: Sequence[int] = (),
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
            also: bank indices of samples whose maps are wanted beside those of example, counterfactual
                and contrast; those that the prediction did not use have none.

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
        if baseline in BASELINES and baseline not in self.baselines:
            raise ValueError(
                f"baseline: explanations of this model start at {', '.join(self.baselines)}, "
                f"received {baseline}"
            )
        many = isinstance(image, (list, tuple))
        items = list(image) if isinstance(image, (list, tuple)) else [image]
        predictions = self._predict_all(items, box, without, None)
        if against in [prediction.predicted for prediction in predictions]:
            raise ValueError(
                f"against: expected another class than the predicted one, received {against}"
            )
        explanations = explain(
            predictions,
            in_full_precision(self.head),
            self.paths(),
            method=method,
            baseline=baseline,
            steps=steps,
            against=against,
            also=also,
        )
        return explanations if many else explanations[0]

    @property
    def baselines(self) -> tuple[str, ...]:
        """The baselines that its explanations can have: feature cells have only those of themselves."""
        return OWN if self.frozen.has_cells else tuple(BASELINES)

    def paths(self) -> PathCache:
        """What explanations know of memory samples along their paths; begun anew when weights have
        changed."""
        frozen = self.frozen
        if self._paths is None or self._paths[0] is not frozen:
            full = frozen.in_full_precision()
            view = full.cells if full.has_cells else None
            self._paths = (frozen, PathCache(full.embed_cells, view))
        return self._paths[1]

    @torch.inference_mode(mode=False)
    def warm_paths(self, samples: Sequence[int] | None = None, *, baseline: str = DEFAULT) -> None:
        """Begin the paths of memory samples ahead of the first explanation, which comes sooner then.

        Args:
            samples: bank indices; all when not given, which takes some seconds on a CPU.
            baseline: as for `explain`.
        """
        bank = self.require_bank()
        chosen = list(range(len(bank)) if samples is None else samples)
        pixels = to_unit(bank.images[chosen], self.device)
        keys = [bank.keys[index] for index in chosen]
        for start in BASELINES[baseline]:
            self.paths().warm(keys, self.paths().viewed(keys, pixels), start)
