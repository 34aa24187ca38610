"""`memorywrap demo`: the page, from the clone that this package lies in."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path

_CLONE = Path(__file__).parents[2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own: what follows it goes to the page as it is."""


def run(options: argparse.Namespace) -> int:
    """Becomes the page."""
    # By name only: the library knows nothing of the page.
    if not (_CLONE / "app" / "__main__.py").is_file():
        raise ValueError("the page is not installed: clone the repository and run make demo there")
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("the page needs gradio: run make demo in the clone of the repository")
    # Another program, because the clone is no place where this one looks for modules; -P, because
    # the folder that it is started in is none either and may have an `app` of its own.
    command = [sys.executable, "-P", "-m", "app", *options.rest]
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": str(_CLONE)})
