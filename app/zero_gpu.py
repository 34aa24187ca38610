"""Explanations on a GPU that a ZeroGPU Space lends for the length of a call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from app.models import Models
from app.shelf import ModelError
from memorywrap import Explanation, MemoryWrapClassifier, Prediction
from memorywrap.loading import load_classifier

_log = logging.getLogger(__name__)

Lend = Callable[[Callable[..., Any]], Callable[..., Any]]


class BorrowingModels(Models):
    """Models that predict on the processor, which takes milliseconds, and borrow a GPU to explain.

    A lent call runs in a process forked for it, the only one that has the GPU. Where no GPU is
    lent, as when a visitor's daily share is used up, the processor explains.

    Args:
        folder: as for `Models`.
        lend: wraps a function so that each call of it has a GPU.
    """

    def __init__(self, folder: str | Path, lend: Lend):
        # Not "auto": torch is made to say there that the GPU is always at hand.
        super().__init__(folder, device="cpu")
        # A model that is damaged, or whose bank is still to be downloaded, is not among them.
        self._names = {self.get(name): name for name in self.names if self._loads(name)}
        # ZeroGPU asks for models on the GPU before the page starts, and keeps them ready to be
        # moved there.
        self._lent = {
            name: load_classifier(Path(folder) / name, device="cpu").to("cuda")
            for name in self._names.values()
        }
        self._explain_on_gpu = lend(self._explain_lent)

    def explain_meanwhile(
        self, classifier: MemoryWrapClassifier, prediction: Prediction, **settings: Any
    ) -> Future[Explanation]:
        """As that of `Models`; on a borrowed GPU where one is lent, and then at once."""
        name = self._names.get(classifier)
        if name is not None and classifier.has_memory and prediction.bank is classifier.bank:
            # The bank, the largest part of it, is there already.
            evidence = replace(prediction, bank=None, gauge=None)
            try:
                found = _unpacked(self._explain_on_gpu(name, _packed(evidence), settings))
                done: Future[Explanation] = Future()
                done.set_result(replace(found, prediction=prediction))
                return done
            except Exception as error:  # used up, none free, taken away: the answer is the same
                _log.warning("no GPU was lent, so the processor explains: %s", error)
        return super().explain_meanwhile(classifier, prediction, **settings)

    def _loads(self, name: str) -> bool:
        try:
            self.get(name)
        except ModelError as error:
            _log.warning("%s is not on the GPU: %s", name, error)
            return False
        return True

    def _explain_lent(self, name: str, packed: Any, settings: dict[str, Any]) -> Any:
        """What runs in the forked process: its copies of the locks may be held for ever."""
        classifier, evidence = self._lent[name], _unpacked(packed)
        found = classifier.explain(replace(evidence, bank=classifier.bank), **settings)
        assert not isinstance(found, list)
        return _packed(replace(found, prediction=evidence))


class _Packed(NamedTuple):
    """A dataclass, by the values of its fields."""

    kind: type
    parts: dict[str, Any]


def _packed(value: Any) -> Any:
    """With arrays for tensors: between processes a tensor is shared memory, which ends with the
    process that made it, and a GPU's tensor cannot leave its process."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, dict):
        return {key: _packed(part) for key, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        return _Packed(type(value), _packed(parts))
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, dict):
        return {key: _unpacked(part) for key, part in value.items()}
    if isinstance(value, _Packed):
        return value.kind(**_unpacked(value.parts))
    return value
