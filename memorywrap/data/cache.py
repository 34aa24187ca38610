"""Where data sets lie, and tensors that are computed from them once and then kept."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

Tensors = dict[str, Tensor]


def data_folder() -> Path:
    """$MEMORYWRAP_DATA, or the user's cache folder."""
    chosen = os.environ.get("MEMORYWRAP_DATA")
    if chosen:
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "memorywrap"


def cache_file(key: str) -> Path:
    """The file that keeps what belongs to a key; slashes in it make folders."""
    return data_folder() / "cache" / f"{re.sub(r'[^A-Za-z0-9/_.-]', '_', key)}.safetensors"


def kept(key: str) -> Tensors | None:
    """The tensors that were kept under a key; None where there are none that can be read."""
    try:
        return load_file(cache_file(key))
    except (OSError, SafetensorError):
        return None


def keep(key: str, tensors: Tensors) -> None:
    """Keep tensors under a key, in place of those that are there, where the cache can be written."""
    path = cache_file(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        save_file(tensors, partial)
        partial.replace(path)
    except (OSError, SafetensorError):  # a cache that cannot be written costs time, not the result
        pass


def cached(key: str, make: Callable[[], Tensors]) -> Tensors:
    """The tensors kept under a key; made, and kept from then on, where there are none."""
    tensors = kept(key)
    if tensors is None:
        tensors = make()
        keep(key, tensors)
    return tensors
