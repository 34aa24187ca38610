"""Run folders: one run each, whole after a crash, and a sentence where one cannot be used."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace

import pytest
import torch
from colours import DATA, TINY

from memorywrap.training.runs import COLUMNS, RunError, RunFolder, stop_on_interrupt

CONFIG = TINY.config()


def row(epoch, loss=1.0):
    return {**dict.fromkeys(COLUMNS, 0.5), "epoch": epoch, "loss": loss, "test_accuracy": None}


@pytest.mark.parametrize(
    ("setting", "differing"),
    [
        ({"seed": 5}, "seed is 0 there and 5 here"),
        (
            {"data": replace(DATA, version={**DATA.version, "samples": 20})},
            r"\(data\.samples is None there and 20 here\)",
        ),
        (
            {"recipe": replace(TINY.recipe, batch=17)},
            r"\(recipe\.batch is 16 there and 17 here\)",
        ),
    ],
)
def test_a_run_folder_of_other_settings_is_refused_by_what_differs(tmp_path, setting, differing):
    run = RunFolder(tmp_path / "run")
    assert run.config is None
    run.prepare(CONFIG, 0)
    run.prepare(CONFIG, 0)  # the same run goes on
    assert run.config["recipe"]["batch"] == 16
    with pytest.raises(RunError, match=differing):
        run.prepare(replace(TINY, **setting).config(), 0)
    assert run.config == json.loads(json.dumps(CONFIG))


def test_a_disk_that_is_nearly_full_is_told(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000_000))
    with pytest.raises(RunError, match="has 10 MB free: a run needs 53 MB"):
        RunFolder(tmp_path / "run").prepare(CONFIG, 3_000_000)


def test_state_is_read_as_it_was_written_and_damage_says_what_to_do(tmp_path):
    run = RunFolder(tmp_path)
    assert run.load_state() is None
    run.save_state({"step": torch.tensor(7), "sums": torch.arange(3.0)})
    state = run.load_state()
    assert int(state["step"]) == 7 and state["sums"].tolist() == [0, 1, 2]
    (tmp_path / "state.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(RunError, match=r"is damaged .* remove it to start again"):
        run.load_state()


def test_lines_of_a_run_cut_short_are_written_again(tmp_path):
    run = RunFolder(tmp_path)
    assert run.metrics() == []
    for epoch in (1, 2, 3):
        run.add_metrics(row(epoch))
    run.add_metrics(row(2, loss=0.25))  # resumed from before its end
    assert [(line["epoch"], line["loss"]) for line in run.metrics()] == [(1, 1.0), (2, 0.25)]
    assert run.metrics()[0]["test_accuracy"] is None


def test_files_of_a_run_that_are_damaged_are_named(tmp_path):
    run = RunFolder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json is not valid JSON"):
        run.prepare(CONFIG, 0)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(RunError, match=r"config\.json: expected an object of settings"):
        run.prepare(CONFIG, 0)
    for text in ("epoch,loss\nmany,1\n", "epoch,loss\n1,2,3\n"):
        (tmp_path / "metrics.csv").write_text(text)
        with pytest.raises(RunError, match=r"metrics\.csv is damaged .* start again"):
            run.metrics()


def test_outside_the_main_thread_nobody_presses_ctrl_c():
    wishes = []

    def work():
        with stop_on_interrupt() as wished:
            wishes.append(wished())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert wishes == [False]
