"""What a model runs on: the device by name, and how many processor cores."""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import torch

_M_ARENA_MAX = -8  # of malloc.h
_HERE = threading.local()
_CGROUP, _CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """The device by name; "auto" takes CUDA, then MPS, then CPU.

    Raises:
        ValueError: an unknown device, or one that is not there.
    """
    if device != "auto":
        try:
            chosen = torch.device(device)
        except RuntimeError as error:
            raise ValueError(
                f"device: expected auto, cpu, cuda or mps, received {device}"
            ) from error
        absent = (chosen.type == "cuda" and not torch.cuda.is_available()) or (
            chosen.type == "mps" and not torch.backends.mps.is_available()
        )
        if absent:
            raise ValueError(f"device {device}: there is none on this machine, try cpu")
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def available_cores() -> int:
    """Processor cores that this process may use: those it may run on, or its container's share of them
    (`cpu.max` of cgroup v2, its own and of the groups around it) where that is smaller. At least 1."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        allowed = os.cpu_count() or 1
    try:
        lines = _CGROUP.read_text().splitlines()
        own = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
    except (OSError, StopIteration):
        return allowed
    group = _CGROUPS / own
    for folder in (group, *group.parents):
        try:
            quota, period = (folder / "cpu.max").read_text().split()
            allowed = min(allowed, round(int(quota) / int(period)))
        except (OSError, ValueError):  # not there, or "max"
            pass
        if folder == _CGROUPS:
            break
    return max(allowed, 1)


def use_threads(threads: int | None) -> None:
    """Compute with so many processor cores; when None with as many as there are for this process, or
    fewer where $OMP_NUM_THREADS says so.

    Raises:
        ValueError: fewer than one.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"--threads: expected at least 1, received {threads}")
    torch.set_num_threads(threads or min(torch.get_num_threads(), available_cores()))


def use_threads_here(threads: int, others: int) -> None:
    """Compute with so many processor cores in the calling thread alone. torch gives a thread that begins to
    compute as many as were asked for last, by whichever thread: `others` is what those are to have."""
    if getattr(_HERE, "threads", None) == threads:
        return
    torch.get_num_threads()  # takes what a thread begins with, which would else come over it later
    torch.set_num_threads(threads)
    _HERE.threads = threads
    after = threading.Thread(target=torch.set_num_threads, args=(others,))
    after.start()
    after.join()


def share_arenas() -> None:
    """Let all threads take memory from two arenas of glibc, where that is the system's library: by default
    each thread may have one of its own, which keeps what was freed in it."""
    with suppress(AttributeError, OSError, TypeError):  # another system
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def half_precision(device: torch.device, wanted: bool) -> AbstractContextManager:
    """Autocast to bfloat16 where wanted."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else nullcontext()


def bfloat16_pays(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and known is not None and bool(known())
