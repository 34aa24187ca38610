"""The page's programs, as the commands start them: by name, from the clone this package lies in."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

_CLONE = Path(__file__).parents[2]


def program(module: str, arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """A command line and environment that run a module of the page.

    Another program, because the clone is no place where this one looks for modules; -P, because the
    folder that it is started in is none either and may have an `app` of its own.

    Raises:
        ValueError: there is no page here, or nothing to run it with.
    """
    if not (_CLONE / "app" / "__main__.py").is_file():
        raise ValueError("the page is not installed: clone the repository and run make demo there")
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("the page needs gradio: run make demo in the clone of the repository")
    command = [sys.executable, "-P", "-m", module, *arguments]
    return command, {**os.environ, "PYTHONPATH": str(_CLONE)}
