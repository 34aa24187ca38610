"""What tests of data sets share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$MEMORYWRAP_DATA of each test's own, so that nobody's data or cache is touched."""
    folder = tmp_path / "data"
    monkeypatch.setenv("MEMORYWRAP_DATA", str(folder))
    return folder
