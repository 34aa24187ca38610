"""The notebook runs from its first cell to its last, and what it says of the memory is so."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "docs" / "tutorial.ipynb"


def printed(notebook: nbformat.NotebookNode) -> str:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return "".join(output.text for output in outputs if output.output_type == "stream")


@pytest.mark.slow
def test_it_runs_and_the_memory_decides_where_it_was_taught_to(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    quick = [cell for cell in notebook.cells if "EPOCHS, BATCH = " in cell.source]
    assert len(quick) == 1
    quick[0].source = quick[0].source.replace("EPOCHS, BATCH = 24,", "EPOCHS, BATCH = 8,")
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    necessity = [float(found) for found in re.findall(r"necessity ([\d.]+) %", printed(notebook))]
    assert len(necessity) == 2 and necessity[1] > necessity[0] + 20


def test_it_is_kept_with_its_pictures_and_numbers():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4
    assert not any(
        output.output_type == "error" or output.get("name") == "stderr" for output in outputs
    )
    assert NOTEBOOK.stat().st_size < 600_000
