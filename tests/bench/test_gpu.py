"""bench/gpu.sh: what is done is not done again, and nothing begins without time or without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "bench/gpu.sh"


def run(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, **settings}
    return subprocess.run(
        ["bash", SCRIPT, folder], env=environment, capture_output=True, text=True, check=False
    )


def test_without_time_nothing_begins_and_what_is_done_is_summed_up(tmp_path):
    (tmp_path / "digits.done").touch()
    (tmp_path / "digits.txt").write_text("encoder, one image: 1 ms\n")
    done = run(tmp_path, DEVICE="cpu", QUICK="1", MINUTES="0")
    assert done.returncode == 0
    assert "tests: no time left" in done.stdout and "digits" not in done.stdout.split("summary")[0]
    assert "## digits\n\nencoder, one image: 1 ms" in (tmp_path / "summary.md").read_text()
    assert not (tmp_path / "tests.done").exists()


@pytest.mark.slow
def test_a_step_is_done_once(tmp_path):
    for name in (
        "digits",
        "encoders",
        "training",
        "row-1000-memory-wrap",
        "row-1000-std",
        "row-1000-baseline",
    ):
        (tmp_path / f"{name}.done").touch()
    done = run(tmp_path, DEVICE="cpu", QUICK="1")
    assert "tests: done" in done.stdout, done.stdout + done.stderr
    assert "passed" in (tmp_path / "summary.md").read_text()
    assert "tests" not in run(tmp_path, DEVICE="cpu", QUICK="1").stdout.split("summary")[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 2 and "no GPU" in done.stderr and not list(tmp_path.glob("*.done"))
