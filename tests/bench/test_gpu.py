"""bench/gpu.sh: what is done is not done again, and nothing begins without time or without a GPU."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from bench.until import until
from memorywrap.data.sets import data_set

SCRIPT = Path(__file__).parents[2] / "bench/gpu.sh"


def run(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, **settings}
    return subprocess.run(
        ["bash", SCRIPT, folder], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def things(tmp_path, monkeypatch):
    """A thousand pictures in the place of CIFAR-10."""
    folder = tmp_path / "data"
    for name in data_set("cifar10").classes:
        for split, count in (("train", 100), ("test", 3)):
            (folder / "cifar10" / split / name).mkdir(parents=True)
            for number in range(count):
                colour = 20 * len(name), 2 * number, 200
                path = folder / "cifar10" / split / name / f"{number}.png"
                Image.new("RGB", (32, 32), colour).save(path)
    monkeypatch.setenv("MEMORYWRAP_DATA", str(folder))


def test_without_time_nothing_begins_and_what_is_done_is_summed_up(tmp_path):
    (tmp_path / "bench.done").touch()
    (tmp_path / "bench.txt").write_text("encoder, one image: 1 ms\n")
    done = run(tmp_path, DEVICE="cpu", QUICK="1", MINUTES="0")
    assert done.returncode == 0
    assert "tests: no time left" in done.stdout and "bench" not in done.stdout.split("summary")[0]
    assert "## bench\n\nencoder, one image: 1 ms" in (tmp_path / "summary.md").read_text()
    assert not (tmp_path / "tests.done").exists()


STEPS = ("tests", "bench", "encoders", "training",
         "row-1000-memory-wrap", "row-1000-std", "row-1000-baseline")  # fmt: skip


@pytest.mark.slow
def test_it_runs_through_and_another_machine_goes_on_from_its_results(tmp_path, things):
    here, there = tmp_path / "here", tmp_path / "there"
    done = run(here, DEVICE="cpu", QUICK="1", SLOW="10", MINUTES="60")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"{name}: done" in done.stdout for name in STEPS)
    told = (here / "summary.md").read_text()
    assert "passed" in told and "| memory-wrap |" in told and "94 % was not reached" in told
    assert (here / "results.tar.gz").stat().st_size < 2**20
    there.mkdir()
    shutil.copy(here / "results.tar.gz", there)
    assert run(there, DEVICE="cpu", QUICK="1").stdout.startswith("summary")
    assert "| memory-wrap |" in (there / "summary.md").read_text()


def test_a_step_that_fails_is_told_by_the_exit_code(tmp_path, monkeypatch):
    for name in STEPS[:-3]:
        (tmp_path / f"{name}.done").touch()
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path / "none"))
    done = run(tmp_path, DEVICE="cpu", QUICK="1", SLOW="10")
    assert done.returncode == 1 and "row-1000-memory-wrap: ended with code 1" in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 2 and "no GPU" in done.stderr and not list(tmp_path.glob("*.done"))


def test_the_first_second_at_an_accuracy(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "epoch,test_accuracy,seconds\n1,,10\n2,93.9,11\n3,94.1,12\n4,95,13\n"
    )
    assert until(tmp_path, 94) == "94 % of about 1,000 test images after 33 s (epoch 3)"
    assert until(tmp_path, 96) == "96 % was not reached in 46 s so far"
    (tmp_path / "result.json").write_text(
        '{"measured": {"a:test": {"accuracy": 95.5, "images": 9}}}'
    )
    assert until(tmp_path, 96) == "96 % was not reached in 46 s; a:test: 95.5 % of 9"
