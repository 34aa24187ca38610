"""How many processor cores there are for a process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from memorywrap import devices


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Writes the share of a group, and of the groups around it, into a folder that stands for the system's."""
    root = tmp_path / "groups"
    own = root / "slice" / "page"
    own.mkdir(parents=True)
    (tmp_path / "own").write_text("4:memory:/old\n0::/slice/page\n")
    monkeypatch.setattr(devices, "_CGROUP", tmp_path / "own")
    monkeypatch.setattr(devices, "_CGROUPS", root)
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    def share(outer: str | None, inner: str | None) -> int:
        for folder, text in ((own.parent, outer), (own, inner)):
            if text is not None:
                (folder / "cpu.max").write_text(text)
        return devices.available_cores()

    return share


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        (None, None, 8),
        ("max 100000", "max 100000", 8),
        (None, "200000 100000", 2),
        ("300000 100000", "max 100000", 3),
        ("150000 100000", "400000 100000", 2),
        (None, "10000 100000", 1),
        (None, "6400000 100000", 8),
        (None, "nonsense", 8),
    ],
)
def test_cores_are_the_containers_share(container, outer, inner, expected):
    assert container(outer, inner) == expected


def test_without_groups_it_is_what_the_process_may_run_on(container, monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_CGROUP", tmp_path / "nothing")
    assert container(None, None) == 8


def test_threads_fit_the_share_and_stay_below_what_was_asked_for(container, monkeypatch):
    set_to = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    container(None, "300000 100000")
    devices.use_threads(None)
    devices.use_threads(5)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    devices.use_threads(None)
    assert set_to == [3, 5, 1]
    with pytest.raises(ValueError, match="at least 1"):
        devices.use_threads(0)


_ARENAS = """
import threading
from memorywrap import devices
{call}
barrier = threading.Barrier(8)
def work():
    kept = [bytearray(1000) for _ in range(1000)]
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
import ctypes
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_threads_share_two_arenas():
    def arenas(call: str) -> int:
        code = _ARENAS.format(call=call)
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        return told.stderr.count("Arena ")

    assert arenas("devices.share_arenas()") == 2 < arenas("")
