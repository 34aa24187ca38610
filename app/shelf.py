"""Which models there are: one per folder under checkpoints/, loaded on first use and once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from memorywrap import MemoryBank, MemoryWrapClassifier
from memorywrap.checkpoints.config import Config
from memorywrap.checkpoints.folder import CONFIG, CheckpointError, bank_size, read_config
from memorywrap.data.banks import bank_at_hand, draw_bank
from memorywrap.data.sets import DataError, Split, data_title
from memorywrap.edits import Edit, edited
from memorywrap.loading import load_classifier, random_bank, training_images

_log = logging.getLogger(__name__)

LENT = "yours-"  # how the names of lent models begin
_FORGOTTEN = "Your model was forgotten, an hour after your last action: please choose another, or press Teach again."
_LENT = 40  # models of visitors, of some 60 MB each once they have explained something
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


class Shelf:
    """The checkpoints in a folder, by name; thread-safe.

    Args:
        folder: its subfolders with a config.json are the models. One that cannot be read is left
            out, with a line in the log.
        device: what they run on; "auto" takes CUDA, then MPS, then CPU.
    """

    def __init__(self, folder: str | Path, device: str = "auto"):
        self._device = device
        self._folder = Path(folder).name
        self._entries: dict[str, _Entry] = {}
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
                        else "has to be downloaded first, with the button at the top of the page."
                    )
                    raise ModelError(
                        f"The model {self.config(name).title} has no memory yet: its data set {wanted}"
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

    def _entry(self, name: str) -> _Entry:
        if not self._entries:
            raise ModelError(
                f"There is no model yet: put a checkpoint folder into the folder {self._folder}."
            )
        if not isinstance(name, str) or name not in self._entries:
            if isinstance(name, str) and name.startswith(LENT):
                raise ModelError(_FORGOTTEN)
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
