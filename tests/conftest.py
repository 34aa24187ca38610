"""What tests share: a small untrained classifier, and the same as a checkpoint folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import colours
import pytest
import tiny
import torch

from memorywrap import MemoryWrapClassifier
from memorywrap.encoders import ENCODERS


@pytest.fixture
def tiny_classifier() -> MemoryWrapClassifier:
    """A fresh one: tests may change it."""
    return tiny.classifier()


@pytest.fixture
def tiny_checkpoint(tmp_path: Path, tiny_classifier: MemoryWrapClassifier) -> Path:
    """A checkpoint folder named "tiny" with its bank inside."""
    folder = tmp_path / "tiny"
    tiny_classifier.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_training(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A tiny encoder in the registry, and one thread: more cost time on so little work."""
    monkeypatch.setitem(ENCODERS, "tiny", colours.tiny_encoder)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
