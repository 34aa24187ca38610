"""What every measured report is written with: a table, its numbers and a figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def blank_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that needs no display and leaves pyplot's state alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_report(
    folder: str | Path, name: str, report: dict[str, Any], text: str, figure: Figure
) -> None:
    """Write NAME.md (the text), NAME.json (the report) and NAME.png (the figure) into a folder, which
    is made where it is missing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    figure.savefig(folder / f"{name}.png")
