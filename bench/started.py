"""The page, started on this machine for as long as a measurement takes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import httpx

ROOT = Path(__file__).parent.parent
_PATIENCE = 120  # seconds


class Page(NamedTuple):
    """Where it is, and which process."""

    url: str
    pid: int

    def memory(self, what: str = "VmRSS") -> float:
        """Megabytes of the page's process: those it has now, or the most it had ("VmHWM")."""
        return memory_of(self.pid, what)

    def metrics(self) -> str:
        """What it counts, as text."""
        return httpx.get(f"{self.url}/metrics").text

    def decoders(self) -> list[int]:
        """The processes that decode for it."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                text = (folder / "stat").read_text()
                # One that has just begun is still a copy of the page.
                is_decoder = b"app.decoder" in (folder / "cmdline").read_bytes()
                if is_decoder and int(text.rpartition(")")[2].split()[1]) == self.pid:
                    found.append(int(folder.name))
        return found


def memory_of(pid: int, what: str = "VmRSS") -> float:
    """Megabytes of a process; 0 where it has ended or the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) / 1000
    return 0.0


@contextlib.contextmanager
def started(port: int, log: IO | int = subprocess.DEVNULL) -> Iterator[Page]:
    """The page on a port of this machine, once it is ready and has prepared its memory.

    Args:
        port: to listen on.
        log: what takes what it prints.
    """
    server = subprocess.Popen(
        [sys.executable, "-m", "app", "--port", str(port)],
        cwd=ROOT, env=os.environ | {"MEMORYWRAP_AUTH": ""}, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        page = Page(f"http://127.0.0.1:{port}", server.pid)
        _wait_for(page)
        yield page
    finally:
        server.terminate()
        server.wait()


def _wait_for(page: Page) -> None:
    limit = time.monotonic() + _PATIENCE
    while time.monotonic() < limit:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{page.url}/healthz").status_code == 200:
                break
        time.sleep(0.5)
    else:
        raise SystemExit(f"the page is not ready after {_PATIENCE} seconds")
    before, now = "", page.metrics()
    while _batches(before) != _batches(now):  # it prepares the memory
        time.sleep(3)
        before, now = now, page.metrics()


def _batches(metrics: str) -> list[str]:
    return [
        line for line in metrics.splitlines() if line.startswith("memorywrap_batch_items_count")
    ]
