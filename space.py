"""The page on a Hugging Face Space: `app_file: space.py`. ZeroGPU hardware lends it a GPU to explain."""

from __future__ import annotations

import os
from pathlib import Path

try:
    import spaces  # must come before torch, which it prepares for the borrowed GPU
except ImportError:
    spaces = None

from app.temporary import OwnFolder

folder = OwnFolder()  # before Gradio looks for one

from app.models import Models  # noqa: E402
from app.page import build, launch_options  # noqa: E402
from app.zero_gpu import BorrowingModels  # noqa: E402

# The package is there on every Gradio Space; this variable, which it reads itself, on ZeroGPU only.
_ZERO_GPU = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
# That a call may hold the GPU. A visitor who has less left today gets none: the shorter, the more
# calls a day. A call that would take longer is ended, and the processor explains.
_SECONDS = 10
_CHECKPOINTS = Path(__file__).parent / "checkpoints"

models = (
    BorrowingModels(_CHECKPOINTS, spaces.GPU(duration=_SECONDS))
    if spaces is not None and _ZERO_GPU
    else Models(_CHECKPOINTS)
)
if models.names:
    # Not in this thread: ZeroGPU watches each step that torch takes in it, which is many times slower.
    models.warm_up_meanwhile(models.default)
demo = build(models)

if __name__ == "__main__":
    try:
        demo.launch(**launch_options(models))
    finally:
        models.close()
        folder.close()
