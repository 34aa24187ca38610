"""`memorywrap bench`: what it times, compares and prints."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest
import tiny
import torch

from app import timing
from memorywrap.commands import bench as bench_command
from memorywrap.images import to_unit
from memorywrap.measures import speed as bench


@pytest.mark.slow
def test_bench_times_every_part_and_compares(run, monkeypatch):
    monkeypatch.setattr(bench, "_INPUTS", 1)
    monkeypatch.setattr(bench, "_TOGETHER", 2)
    monkeypatch.setattr(bench, "PUBLISHED_STEPS", 4)
    code, out, _ = run("bench", "--repeats", "1", "--json")
    report = json.loads(out)
    assert code == 0 and len(report["median_ms"]) == 12
    assert all(value > 0 for value in report["median_ms"].values())
    assert set(report["completeness_error"]) == {"ours", "published procedure"}
    assert len(report["ratios"]) == 2


def test_half_precision_on_a_gpu_gives_the_same_embeddings_up_to_its_rounding():
    frozen = tiny.classifier().frozen
    images = to_unit(tiny.images(4)[0])
    forms = bench._faster(frozen)
    assert set(forms) == {"in bfloat16", "compiled", "in bfloat16 and compiled"}
    half = forms["in bfloat16"](images)
    assert half.dtype == torch.bfloat16 and frozen.embed(images).dtype == torch.float32
    torch.testing.assert_close(half.float(), frozen.embed(images), rtol=0.1, atol=0.1)


def test_bench_times_images_at_once(run, monkeypatch):
    monkeypatch.setattr(bench, "_INPUTS", 1)
    monkeypatch.setattr(bench, "_TOGETHER", 2)
    monkeypatch.setattr(bench, "PUBLISHED_STEPS", 4)
    code, out, _ = run("bench", "--repeats", "1", "--batches", "2", "--json")
    named = [name for name in json.loads(out)["median_ms"] if "2 at once, per image" in name]
    assert code == 0 and [name.split(",")[0] for name in named] == [
        "encoder", "classification", "explanation",
    ]  # fmt: skip
    code, _, told = run("bench", "--batches", "0")
    assert code == 2 and "--batches: expected at least 1, received 0" in told


@pytest.mark.parametrize(
    ("form", "row"),
    [
        ([], r"reading +3\.00 +2\.00 +2\n"),
        (["--markdown"], r"\| reading \| 3\.00 \| 2\.00 \| 2 \|\n"),
    ],
)
def test_bench_prints_medians_and_ratios(run, monkeypatch, form, row):
    report = bench.Report({"cores": 2}, {"model": "Tiny"}, {"reading": [2.0, 4.0]})
    report.milliseconds |= {bench._WARM: [10.0], bench._PUBLISHED: [25.0]}
    report.completeness_errors = {"ours": [0.001, 0.003]}
    monkeypatch.setattr(bench_command, "bench", lambda *_, **__: report)
    code, out, _ = run("bench", *form)
    assert code == 0 and re.search(row, out)
    assert "takes 2.5 times as long as our explanation, paths of the memory prepared" in out
    assert "completeness error, ours: median 0.20 %, worst 0.30 %, of 2" in out


@pytest.mark.parametrize("works", [True, False])
def test_bench_adds_what_the_page_says_of_its_own_times(run, monkeypatch, works):
    report = bench.Report({"cores": 2}, {"model": "Tiny"}, {"reading": [2.0, 4.0]})
    code = "print('{\"page\": [3.0, 5.0]}')" if works else "import sys; sys.exit('no page today')"

    def program(module, arguments):
        assert module == "app.timing" and arguments[1:] == ["--repeats", "2"]
        return [sys.executable, "-c", code], dict(os.environ)

    monkeypatch.setattr(bench_command, "bench", lambda *_, **__: report)
    monkeypatch.setattr(bench_command, "program", program)
    code, out, err = run("bench", "--repeats", "2", "--http", "--json")
    if works:
        assert code == 0 and json.loads(out)["median_ms"] == {"reading": 3.0, "page": 4.0}
    else:
        assert (code, out) == (2, "") and err.endswith("\nmemorywrap bench: no page today\n")


def test_a_page_that_does_not_start_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(timing, "_START_LIMIT", 0)
    with pytest.raises(ValueError, match="the page did not start within 0 s: try python -m app"):
        timing.time_page(tmp_path)
