"""The page on a Hugging Face Space: `app_file: space.py`. On ZeroGPU hardware it borrows a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import spaces  # must come before torch, which it prepares for the borrowed GPU
except ImportError:
    spaces = None

from app.models import Models
from app.page import build, launch_options

# The package is there on every Gradio Space; this variable, which it reads itself, on ZeroGPU only.
_ZERO_GPU = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
_SECONDS = 20  # that a call may hold the GPU: the shorter, the sooner it is lent


def _accelerate(function: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a function on a borrowed GPU where there is one to borrow."""
    return function if spaces is None else spaces.GPU(duration=_SECONDS)(function)


models = Models(Path(__file__).parent / "checkpoints")
# ZeroGPU runs each call in a process of its own, with the GPU that this one does not have: models
# are loaded there.
if models.names and not _ZERO_GPU:
    models.warm_up(models.default)
demo = build(models, _accelerate)

if __name__ == "__main__":
    demo.launch(**launch_options())
