"""What tests share: a small untrained classifier, and the same as a checkpoint folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from memorywrap import MemoryWrapClassifier


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
