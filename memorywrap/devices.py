"""What a model runs on: the device by name, and how many processor cores."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


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


def use_threads(threads: int | None) -> None:
    """Compute with so many processor cores; with all when None.

    Raises:
        ValueError: fewer than one.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"--threads: expected at least 1, received {threads}")
    if threads is not None:
        torch.set_num_threads(threads)


def half_precision(device: torch.device, wanted: bool) -> AbstractContextManager:
    """Autocast to bfloat16 where wanted."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else nullcontext()


def bfloat16_pays(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and known is not None and bool(known())
