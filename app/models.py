"""The models of the page: one per folder under checkpoints/, loaded on first use and once."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image

from app import metrics
from app.lanes import Lane, NotNow
from memorywrap import (
    Explanation,
    MemoryBank,
    MemoryWrapClassifier,
    PatchCounterfactual,
    Prediction,
    patch_counterfactual,
)
from memorywrap.checkpoints.config import Config
from memorywrap.checkpoints.folder import CONFIG, CheckpointError, bank_size, read_config
from memorywrap.data.banks import bank_at_hand, draw_bank
from memorywrap.data.sets import DataError, Split, data_title
from memorywrap.devices import share_arenas, use_threads
from memorywrap.edits import Edit, edited
from memorywrap.images import Box
from memorywrap.loading import load_classifier, random_bank, training_images

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# Done together at most, and waiting at most: of answers and of maps, which take ten times as long.
_TOGETHER, _ANSWERS = 64, 1000
_EXPLAINED, _MAPS = 8, 300
_LENT = 40  # models of visitors, of some 60 MB each once they have explained something
_CHECKED = 20  # samples that a model is asked about before it counts as ready
_LOST = "The server has just lost its accelerator and goes on without it: please ask again."
_DRAWN_FROM = 500  # rendered digits that a memory is drawn from anew: a few seconds' work


class ModelError(ValueError):
    """A model that cannot answer; the message is one sentence for the person who asked."""


def reads_digits(config: Config) -> bool:
    """Whether a model's classes are digits, so that the page's examples and its pad suit it."""
    return config.data.get("name") == "digits" or all(
        len(name) == 1 and name.isdigit() for name in config.classes
    )


@dataclass
class _Entry:
    """One checkpoint folder. `loading` keeps two requests from loading the model at once, `fetching`
    from downloading its data set at once; who asks for the model meanwhile is told so."""

    folder: Path
    config: Config
    classifier: MemoryWrapClassifier | None = None
    damaged: bool = False
    loading: threading.Lock = field(default_factory=threading.Lock)
    fetching: threading.Lock = field(default_factory=threading.Lock)
    lent: bool = False
    train: Split | None = None
    drawing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def needed(self) -> dict[str, Any] | None:
        """The recipe of the bank, where the bank does not travel inside the checkpoint."""
        return None if self.config.variant == "std" else self.config.bank


class Models:
    """The checkpoints in a folder, by name; thread-safe.

    Args:
        folder: its subfolders with a config.json are the models. One that cannot be read is left
            out, with a line in the log.
        device: what they run on; "auto" takes CUDA, then MPS, then CPU.
    """

    def __init__(self, folder: str | Path, device: str = "auto"):
        use_threads(None)
        share_arenas()
        self._device = device
        self._entries: dict[str, _Entry] = {}
        self.answers = self._lane("answers", self._predict_together, _TOGETHER, _ANSWERS)
        self.maps = self._lane("maps", self._explain_together, _EXPLAINED, _MAPS)
        self.patches = self._lane("patches", self._patch_each, 1, _MAPS)
        # Whether the default model answers as it should.
        self.is_ready = False
        # Found once, for the page as for the files that a person saves. Used by the lane's thread alone.
        self._patches: weakref.WeakKeyDictionary[Prediction, PatchCounterfactual | None]
        self._patches = weakref.WeakKeyDictionary()
        self._closed = threading.Event()
        self._warming: threading.Thread | None = None
        for config_file in sorted(Path(folder).glob(f"*/{CONFIG}")):
            try:
                config = read_config(config_file.parent)
            except CheckpointError as error:
                _log.warning("left out: %s", error)
                continue
            self._entries[config_file.parent.name] = _Entry(config_file.parent, config)

    @property
    def names(self) -> list[str]:
        """Names of the models, the one that ships with the repository first."""
        own = [name for name, entry in list(self._entries.items()) if not entry.lent]
        return sorted(own, key=lambda name: (name != "digits", name))

    @property
    def default(self) -> str:
        """The first model that can answer; an empty name where there is none."""
        ready = (name for name in self.names if self.available(name))
        return next(ready, next(iter(self.names), ""))

    def title(self, name: str) -> str:
        """What a model is called, and whether it lacks its memory."""
        title = self.config(name).title
        return title if self.available(name) else f"{title} (no memory yet)"

    def lend(self, name: str, classifier: MemoryWrapClassifier) -> None:
        """Answer with this model, too, where it is asked for by its name; it is listed nowhere.

        Raises:
            ModelError: so many are lent that there is no room.
        """
        self.require_room()
        self._entries[name] = _Entry(Path(), classifier.config, classifier, lent=True)

    def require_room(self) -> None:
        """Raises ModelError where no more models can be lent."""
        if sum(entry.lent for entry in list(self._entries.values())) >= _LENT:
            raise ModelError(
                "Many people have taught models right now: please try again in some minutes."
            )

    def take_back(self, name: str) -> None:
        """Forget a model that was lent."""
        self._entries.pop(name, None)

    def config(self, name: str) -> Config:
        """The configuration of a model, without loading it."""
        return self._entry(name).config

    def available(self, name: str) -> bool:
        """Whether the model can answer now: its bank is here, not only a recipe for it."""
        entry = self._entry(name)
        if entry.classifier is not None or entry.damaged:
            return entry.classifier is not None
        return entry.needed is None or bank_at_hand(entry.needed)

    def missing(self, name: str) -> str | None:
        """The data set that a model lacks its memory for; None where it can answer."""
        needed = self._entry(name).needed
        return None if needed is None or self.available(name) else needed["dataset"]

    def describe(self) -> list[dict[str, Any]]:
        """The list of `/models`."""
        return [
            {
                "name": name,
                "title": self.config(name).title,
                "classes": list(self.config(name).classes),
                "bank_size": self._bank_size(name),
                "available": self.available(name),
            }
            for name in self.names
        ]

    def get(self, name: str) -> MemoryWrapClassifier:
        """The model, ready to predict; the first call loads it.

        Raises:
            ModelError: unknown, not readable, or without its memory bank.
        """
        entry = self._entry(name)
        with entry.loading:
            if entry.classifier is not None and self._is_lost(entry.classifier):
                entry.classifier = None
            if entry.classifier is None:
                if entry.needed is not None and not bank_at_hand(entry.needed):
                    wanted = (
                        "is being downloaded, please try again in a minute."
                        if entry.fetching.locked()
                        else "has to be downloaded first."
                    )
                    raise ModelError(
                        f"The model {name} has no memory bank yet: its data set {wanted}"
                    )
                try:
                    entry.classifier = self._loaded(entry.folder)
                except DataError as error:
                    _log.error("the bank of %s cannot be drawn: %s", name, error)
                    raise ModelError(
                        f"The memory bank of the model {name} cannot be drawn: its data set is "
                        "damaged."
                    ) from error
                except ValueError as error:
                    entry.damaged = True
                    _log.error("%s cannot be loaded: %s", name, error)
                    raise ModelError(
                        f"The model {name} cannot be loaded: its checkpoint is damaged."
                    ) from error
            return entry.classifier

    def predict(self, name: str, image: Image.Image, box: Box | None) -> Prediction:
        """The prediction for a part of an image, made together with those that others wait for.

        Raises:
            ModelError: as `get`.
            NotNow: too many wait, or a page that is being closed.
        """
        return self.answers.submit(name, self.get(name).input(image, box)).result()

    def suggest_boxes(self, name: str, image: Image.Image) -> list[Box]:
        """Squares of an image to classify, the first guess first.

        Raises:
            ModelError: as `get`.
        """
        return self._surely(name, lambda classifier: classifier.suggest_boxes(image))

    def explain(
        self, classifier: MemoryWrapClassifier, prediction: Prediction, **settings: Any
    ) -> Explanation:
        """The explanation of a prediction of one of these models, made together with those that others
        wait for.

        Raises:
            ModelError: a model without memory.
            NotNow: too many wait, or a page that is being closed.
        """
        return self.explain_meanwhile(classifier, prediction, **settings).result()

    def explain_meanwhile(
        self, classifier: MemoryWrapClassifier, prediction: Prediction, **settings: Any
    ) -> Future[Explanation]:
        """`explain`, begun beside what is done next; cancelling it frees its place in the line."""
        if not classifier.has_memory:
            raise ModelError(
                "This model has no memory, so there is nothing to explain by examples."
            )
        kind = ("explain", classifier, tuple(sorted(settings.items())))
        return self.maps.submit(kind, _readable(classifier, prediction))

    def patch(
        self, classifier: MemoryWrapClassifier, prediction: Prediction
    ) -> PatchCounterfactual | None:
        """The patch counterfactual of a prediction of one of these models.

        Raises:
            NotNow: too many wait, or a page that is being closed.
        """
        return self.patch_meanwhile(classifier, prediction).result()

    def patch_meanwhile(
        self, classifier: MemoryWrapClassifier, prediction: Prediction
    ) -> Future[PatchCounterfactual | None]:
        """`patch`, begun beside what is done next."""
        return self.patches.submit(classifier, _readable(classifier, prediction))

    @staticmethod
    def _lane(name: str, work: Callable[..., Sequence[Any]], most: int, room: int) -> Lane:
        lane = Lane(name, work, most=most, room=room, seen=metrics.of_lane(name))
        metrics.WAITING.labels(name).set_function(partial(len, lane))
        return lane

    def _predict_together(self, name: str, inputs: list[torch.Tensor]) -> Sequence[Any]:
        return self._surely(name, lambda classifier: classifier.predict_inputs(inputs))

    def _explain_together(
        self, kind: tuple[str, MemoryWrapClassifier, Any], asked: list[Any]
    ) -> Sequence[Any]:
        what, classifier, settings = kind
        try:
            if what == "explain":
                return classifier.explain(asked, **dict(settings))
            classifier.warm_paths(asked)
        except torch.AcceleratorError as error:
            self._lose(error)
            raise NotNow(_LOST) from error
        return asked

    def _patch_each(
        self, classifier: MemoryWrapClassifier, asked: list[Prediction]
    ) -> list[PatchCounterfactual | None]:
        try:
            for prediction in asked:
                if prediction not in self._patches:
                    self._patches[prediction] = patch_counterfactual(classifier, prediction)
        except torch.AcceleratorError as error:
            self._lose(error)
            raise NotNow(_LOST) from error
        return [self._patches[prediction] for prediction in asked]

    def _surely(self, name: str, work: Callable[[MemoryWrapClassifier], _Result]) -> _Result:
        """The work of a model, on the processor where the accelerator is lost."""
        try:
            return work(self.get(name))
        except torch.AcceleratorError as error:
            self._lose(error)
            return work(self.get(name))

    def _loaded(self, folder: Path) -> MemoryWrapClassifier:
        try:
            return load_classifier(folder, device=self._device)
        except torch.AcceleratorError as error:
            self._lose(error)
            return load_classifier(folder, device=self._device)

    def _lose(self, error: Exception) -> None:
        """The accelerator is lost, and this process cannot get it back: all models run on the processor from
        now on, as those do that visitors taught."""
        if self._device != "cpu":
            _log.error("the accelerator is lost, the processor answers now: %.200s", error)
            self._device = "cpu"

    def _is_lost(self, classifier: MemoryWrapClassifier) -> bool:
        return self._device == "cpu" and classifier.device.type != "cpu"

    def edited(self, name: str, edits: Sequence[Edit]) -> MemoryBank:
        """The bank of a model with edits. The model's own stays as it is.

        Raises:
            ModelError: an unknown model, or an edit that cannot be made.
        """
        try:
            return edited(self.get(name), edits, lambda seed: self._redrawn(name, seed))
        except DataError as error:
            raise ModelError(f"The memory cannot be drawn anew: {error}.") from error
        except ValueError as error:
            raise ModelError(str(error)) from error

    def _redrawn(self, name: str, seed: int) -> MemoryBank:
        """A bank of random training samples; the first call loads, or renders, what it is drawn from."""
        entry = self._entry(name)
        with entry.drawing:
            if entry.train is None:
                entry.train = training_images(entry.config, _DRAWN_FROM)
        return random_bank(self.get(name), entry.train, seed)

    def download(self, name: str) -> None:
        """Fetch the data set of a model's bank, with a tqdm bar, and draw the bank from it.

        Raises:
            ModelError: unknown model, or a data set that could not be fetched.
        """
        entry = self._entry(name)
        # Not the lock of loading: that takes minutes. A second download waits, and finds it there.
        with entry.fetching:
            if entry.needed is not None and not bank_at_hand(entry.needed):
                try:
                    draw_bank(entry.needed, fetch=True)
                except DataError as error:
                    _log.error("%s", error)
                    raise ModelError(
                        f"{data_title(entry.needed['dataset'])} could not be downloaded: check "
                        "that this server is online and has room on its disk, then try again."
                    ) from error

    def warm_up(self, name: str) -> None:
        """Load a model and run it once, so that the first person does not wait for it."""
        try:
            classifier = self.get(name)
            if name == self.default:
                self.is_ready = _answers_rightly(classifier)
            if classifier.bank is not None:
                for index in range(len(classifier.bank)):
                    self.maps.submit(("warm", classifier, index), index).result()
                    if self._closed.wait(0.01):  # whoever asks meanwhile goes first
                        return
        except Exception:  # a model that fails here says so when it is asked
            if not self._closed.is_set():
                _log.warning("warming up %s failed", name, exc_info=True)

    def warm_up_meanwhile(self, name: str) -> None:
        """`warm_up` in a thread of its own, until `close`."""
        self._warming = threading.Thread(target=self.warm_up, args=(name,), daemon=True)
        self._warming.start()

    def close(self) -> None:
        """Begin no explanation any more, and wait for what is under way: an explanation, or the
        memory sample that is being warmed up. Python aborts where it ends while a thread is still
        inside torch."""
        self._closed.set()
        for lane in (self.maps, self.patches, self.answers):
            lane.close()
        if self._warming is not None:
            self._warming.join()

    def _entry(self, name: str) -> _Entry:
        if not self._entries:
            raise ModelError("There is no model yet: put a checkpoint folder under checkpoints/.")
        if not isinstance(name, str) or name not in self._entries:
            raise ModelError(f"Unknown model: expected one of {', '.join(self.names)}.")
        return self._entries[name]

    def _bank_size(self, name: str) -> int:
        entry = self._entry(name)
        if entry.config.variant == "std":
            return 0
        if entry.classifier is not None and entry.classifier.bank is not None:
            return len(entry.classifier.bank)
        if entry.needed is not None:
            return int(entry.needed.get("size", 0))
        return bank_size(entry.folder)


def _readable(classifier: MemoryWrapClassifier, prediction: Prediction) -> Prediction:
    """The prediction, made anew where its memory lies on an accelerator that the model left."""
    bank = prediction.bank
    if bank is None or bank.embeddings.device.type == classifier.device.type:
        return prediction
    return classifier.predict_inputs([prediction.pixels])[0]


def _answers_rightly(classifier: MemoryWrapClassifier) -> bool:
    """Whether a model reads images of its own bank as they were read when the bank was made, but for a
    few, since each finds itself in the memory now; without a bank, whether it reads at all."""
    bank, size = classifier.bank, classifier.config.image_size
    if bank is None or bank.predicted is None:
        grey = torch.full((3, size, size), 128, dtype=torch.uint8)
        return bool(classifier.predict_inputs([grey])[0].logits.isfinite().all())
    found = classifier.predict_inputs(list(bank.images[:_CHECKED]))
    expected = bank.predicted[:_CHECKED].tolist()
    right = sum(one.predicted == wanted for one, wanted in zip(found, expected, strict=True))
    return right >= 0.8 * len(expected)
