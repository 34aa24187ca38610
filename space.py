"""The page on a Hugging Face Space: `app_file: space.py`. On ZeroGPU hardware it borrows a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import spaces  # must come before torch, which it prepares for the borrowed GPU
except ImportError:
    spaces = None

from app.models import Models
from app.page import build, launch_options


def _accelerate(function: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a function on a borrowed GPU where there is one to borrow."""
    return function if spaces is None else spaces.GPU(duration=20)(function)


models = Models(Path(__file__).parent / "checkpoints")
if models.names:
    models.warm_up(models.default) if spaces is None else models.get(models.default)
demo = build(models, _accelerate)

if __name__ == "__main__":
    demo.launch(**launch_options())
