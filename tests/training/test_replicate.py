"""The table: made from run folders, continued where it stopped, with nothing typed by hand."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from memorywrap.checkpoints.config import VARIANTS
from memorywrap.commands import main as cli
from memorywrap.data.sets import DATA_SETS, DataSet, ImageData, Split
from memorywrap.encoders import ENCODERS
from memorywrap.training import replicate
from memorywrap.training.recipes import overridden, recipe_for
from memorywrap.training.replicate import as_csv, markdown, results
from memorywrap.training.runs import RunFolder
from memorywrap.training.tables import PAPER, TABLES, Row, rows

SETTINGS = ["--set", "batch=8", "--set", "memory=4", "--set", "epochs=1"]


def finished(folder, row, seed, redrawn=(), accuracy=50.0, version=None, recipe_was=()):
    """A run folder as training leaves it, with made-up numbers."""
    run = RunFolder(folder / row.folder(seed))
    version = version or {"name": row.data, "format": "png", "train": 9, "test": 5}
    recipe = overridden(recipe_for(row.recipe, row.data, row.samples or 9), dict(row.settings))
    config = {
        "data": {**version, "samples": row.samples, "seed": seed},
        "recipe": dataclasses.asdict(recipe) | dict(recipe_was),
    }
    run.prepare(config, 0)
    measured = {"accuracy": accuracy, "images": 5}
    if redrawn:
        measured["redrawn"] = list(redrawn)
    run.finish({"measured": {f"{row.data}:test": measured}, "seconds": 3.0, "device": "cpu"})
    return run


def test_a_row_averages_its_runs_and_a_run_its_evaluations(tmp_path):
    row = Row("svhn", "memory-wrap", 1000, "paper", "mobilenet_v2")
    finished(tmp_path, row, 0, redrawn=(60, 62), accuracy=99)
    finished(tmp_path, row, 1, redrawn=(64, 66), accuracy=99)
    other = dataclasses.replace(row, encoder="resnet18")
    assert replicate._line(other, [])["paper"] is None  # which the paper does not report of
    changed = dataclasses.replace(row, settings=(("epochs", "1"),))
    assert replicate._line(changed, [])["paper"] is None
    std = Row("svhn", "std", 1000, "paper", "mobilenet_v2")
    finished(tmp_path, std, 0, accuracy=41.5)
    line, std_line = results([row, std], tmp_path)
    assert (line["mean"], line["runs"], line["paper"]) == (63.0, 2, 66.93)
    assert line["deviation"] == pytest.approx(2.83)  # of 61 and 65: sqrt(8)
    assert (std_line["mean"], std_line["deviation"], std_line["paper"]) == (41.5, None, 42.71)
    text = markdown([line, std_line])
    assert "| memory-wrap | 66.93 | 63.00 ± 2.83 | 2 | mobilenet_v2 | paper | cpu |" in text
    assert "| std | 42.71 | 41.50 | 1 |" in text
    assert "SVHN (9 training and 5 test images)" in text


def test_what_the_memory_decides_stands_beside_the_accuracy_where_it_was_measured(tmp_path):
    *_, plain, decides = rows("evidence-svhn", samples=[1000])
    assert plain.settings == () and decides.settings == (("counterfactual_memories", "0.25"),)
    for seed, percent in enumerate((96.0, 98.0)):
        run = finished(tmp_path, decides, seed, accuracy=50)
        result = run.result
        result["measured"]["svhn:test"]["necessity"] = {"percent": percent, "images": 5}
        run.finish(result)
    finished(tmp_path, plain, 0, accuracy=60)
    lines = results([plain, decides], tmp_path)
    assert [line["necessity"] for line in lines] == [None, 97.0]
    assert "| ours | necessity | runs |" in markdown(lines)
    assert (
        "| 50.00 ± 0.00 | 97.00 | 2 | whitened | fast counterfactual_memories=0.25 |"
        in markdown(lines)
    )
    assert "necessity" not in markdown(lines[:1])


def test_versions_of_the_data_are_never_mixed_in_one_line(tmp_path):
    row = Row("cifar10", "std", None, "fast", "compact")
    sizes = {"train": 50_000, "test": 10_000}
    finished(tmp_path, row, 0, accuracy=80, version={"name": "cifar10", "format": "jpg", **sizes})
    finished(tmp_path, row, 1, accuracy=90, version={"name": "cifar10", "format": "png", **sizes})
    lines = results([row], tmp_path)
    assert [(line["data_version"], line["mean"]) for line in lines] == [
        ("CIFAR-10 (JPEG copy)", 80),
        ("CIFAR-10", 90),
    ]


def test_runs_of_a_recipe_as_it_was_are_a_line_of_their_own_and_not_taken_for_finished(tmp_path):
    row = Row("svhn", "memory-wrap", 1000, "paper", "mobilenet_v2")
    finished(tmp_path, row, 0, accuracy=60)
    finished(tmp_path, row, 1, accuracy=40, recipe_was={"apart": False})
    lines = results([row], tmp_path)
    assert [(line["recipe"], line["mean"], line["runs"]) for line in lines] == [
        ("paper", 60, 1),
        ("paper (as it was before)", 40, 1),
    ]
    # A setting that was not there yet had its default.
    path = tmp_path / row.folder(1) / "config.json"
    config = json.loads(path.read_text())
    del config["recipe"]["apart"]
    path.write_text(json.dumps(config))
    assert [line["mean"] for line in results([row], tmp_path)] == [60, 40]


def test_a_plain_network_does_not_mind_how_memories_are_encoded(tmp_path):
    row = Row("svhn", "std", 1000, "paper", "mobilenet_v2")
    finished(tmp_path, row, 0)
    finished(tmp_path, row, 1, recipe_was={"apart": False, "memory": 7})
    assert [line["runs"] for line in results([row], tmp_path)] == [2]


def test_copies_of_a_data_set_are_told_apart_by_their_digest(tmp_path):
    row = Row("cifar10", "std", None, "fast", "compact")
    for seed, digest in enumerate("ab"):
        version = {"name": "cifar10", "format": "jpg", "train": 9, "test": 5, "digest": digest}
        finished(tmp_path, row, seed, version=version)
    assert [line["runs"] for line in results([row], tmp_path)] == [1, 1]


def test_rows_that_cannot_be_run_are_left_out_with_a_reason(
    tmp_path, tiny_table, monkeypatch, capsys
):
    (first, *_) = TABLES["tiny"]
    monkeypatch.setitem(TABLES, "tiny", (dataclasses.replace(first, samples=99), first))
    command = ["replicate", "tiny", "--out", str(tmp_path), *SETTINGS, "--seeds", "2"]
    assert cli.main(command) == 1
    printed = capsys.readouterr()
    assert "[1/4] noise-99-std-tiny-fast-batch=8-memory=4-epochs=1-seed0\n" in printed.err
    assert printed.err.count("was left out: noise: expected 1 to 16 training samples") == 2
    assert "| noise | 99 | std |  |  | 0 |" in printed.out
    assert len(list(tmp_path.glob("*/result.json"))) == 2  # the other row, over both seeds

    # A finished run of other settings under the same name is neither replaced nor passed over.
    path = next(tmp_path.glob("*seed0/config.json"))
    config = json.loads(path.read_text())
    config["recipe"]["warmup"] = 0.7
    path.write_text(json.dumps(config))
    assert cli.main(command) == 1
    assert "recipe.warmup is 0.7 there and 0.2 here" in capsys.readouterr().err


def test_rows_without_a_run_stay_empty_and_similar_names_are_not_taken_for_theirs(tmp_path):
    row = Row("cifar10", "std", None, "fast", "compact")
    finished(tmp_path, Row("cifar10", "std", None, "fast", "compact", (("batch", "8"),)), 0)
    RunFolder(tmp_path / row.folder(3)).prepare({"data": {"name": "cifar10"}}, 0)  # not finished
    (line,) = results([row], tmp_path)
    assert (line["mean"], line["runs"]) == (None, 0)
    assert "| CIFAR" not in markdown([line]) and "| cifar10 | all | std |" in markdown([line])


def test_tables_hold_what_the_issue_asks_for():
    paper = rows("paper")
    assert {row.data for row in paper} == {"cifar10", "svhn", "cinic10"}
    assert {(row.recipe, row.encoder) for row in paper} == {("paper", "mobilenet_v2_cifar")}
    wanted = {(data, "memory-wrap", size) for data, _, size in PAPER}
    assert wanted <= {(row.data, row.variant, row.samples) for row in paper}
    fewer = rows("fast-cifar10", variants=["std"], samples=[1000, None], encoder="vit")
    assert [(row.samples, row.encoder) for row in fewer] == [(1000, "vit"), (None, "vit")]
    # Where a table has several encoders, one of them asks for its rows, each with its own settings.
    (plain, with_memory) = rows("paper-encoders", encoder="vit_7x384")
    assert (plain.variant, with_memory.variant) == ("std", "memory-wrap")
    assert plain.settings and plain.encoder == with_memory.encoder == "vit_7x384"
    with pytest.raises(ValueError, match="unknown table 'all'"):
        rows("all")
    with pytest.raises(ValueError, match="no row is left"):
        rows("fast-cifar10", samples=[3])


@pytest.fixture
def tiny_table(monkeypatch):
    """A table of one data set of noise that trains in a moment."""

    def encoder():
        network = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.Flatten())
        network.embedding_dim = 64
        return network

    class Noise(DataSet):
        def load(self, wanted):
            chance = torch.Generator().manual_seed(wanted.seed)
            images = torch.randint(0, 256, (16, 3, 32, 32), generator=chance, dtype=torch.uint8)
            split = Split(images, torch.arange(16) % 2)
            version = {"name": self.name, "format": "png", "train": 16, "test": 16}
            return ImageData(self.name, ("a", "b"), split, split, version)

    monkeypatch.setitem(ENCODERS, "tiny", encoder)
    noise = tuple(Row("noise", variant, None, "fast", "tiny") for variant in VARIANTS)
    monkeypatch.setitem(TABLES, "tiny", noise)
    monkeypatch.setitem(DATA_SETS, "noise", Noise(name="noise"))


@pytest.mark.slow
def test_replicate_makes_what_is_missing_and_writes_both_tables(tmp_path, tiny_table, capsys):
    command = ["replicate", "tiny", "--out", str(tmp_path), *SETTINGS]
    assert cli.main([*command, "--seeds", "1", "--variants", "std"]) == 0
    assert "| noise | all | memory-wrap |" in (tmp_path / "tiny.md").read_text()  # empty as yet
    first = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/result.json")}
    assert len(first) == 1
    assert cli.main([*command, "--seeds", "2"]) == 0
    assert len(list(tmp_path.glob("*/result.json"))) == 6
    assert all(path.stat().st_mtime_ns == time for path, time in first.items())
    printed = capsys.readouterr().out
    assert printed.endswith((tmp_path / "tiny.md").read_text())
    assert "the paper's all of the published set" in printed
    with (tmp_path / "tiny.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["variant"] for line in lines] == ["std", "baseline", "memory-wrap"]
    assert {line["runs"] for line in lines} == {"2"}
    assert {line["recipe"] for line in lines} == {"fast batch=8 memory=4 epochs=1"}
    # Each number is that of the run folders.
    runs = sorted(tmp_path.glob("noise-all-std-*/result.json"))
    accuracies = [json.loads(run.read_text())["measured"]["noise:test"]["accuracy"] for run in runs]
    assert float(lines[0]["mean"]) == pytest.approx(sum(accuracies) / 2, abs=0.01)


def test_asking_for_one_encoder_of_several_prints_its_rows_and_leaves_the_others_in_the_table(
    tmp_path, tiny_table, monkeypatch, capsys
):
    several = (*TABLES["tiny"], dataclasses.replace(TABLES["tiny"][0], encoder="whitened"))
    monkeypatch.setitem(TABLES, "tiny", several)
    finished(tmp_path, several[0], 0)
    command = ["replicate", "tiny", "--out", str(tmp_path), "--print", "--encoder"]
    assert cli.main([*command, "whitened"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| whitened |") == 1 and "| tiny |" not in printed
    assert (tmp_path / "tiny.md").read_text().count("| tiny |") == len(VARIANTS)
    assert cli.main([*command, "compact"]) == 0  # of no row: in the place of all
    printed = capsys.readouterr().out
    assert "| tiny |" not in printed and printed.count("| compact |") == len(several)


def test_printing_trains_nothing(tmp_path, tiny_table, monkeypatch, capsys):
    monkeypatch.setattr(replicate, "train_and_measure", lambda *_, **__: pytest.fail("trained"))
    assert cli.main(["replicate", "tiny", "--out", str(tmp_path), "--print"]) == 0
    printed = capsys.readouterr()
    assert "| noise | all | std |  |  | 0 | tiny | fast |  |" in printed.out
    assert "no finished run of tiny" in printed.err


def test_a_table_without_runs_replaces_none(tmp_path, tiny_table, capsys):
    (tmp_path / "tiny.md").write_text("of other settings")
    assert cli.main(["replicate", "tiny", "--out", str(tmp_path), "--print"]) == 0
    assert cli.main(["replicate", "tiny", "--out", str(tmp_path / "no"), "--print"]) == 0
    assert (tmp_path / "tiny.md").read_text() == "of other settings"
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("name", ["replicate", "evidence"])
def test_the_tables_in_the_docs_are_those_of_their_run_folders(name):
    folder = Path(__file__).parents[2] / "docs" / "measured" / name
    tables = sorted(folder.glob("*.md"))
    assert tables
    for path in tables:
        lines = results(rows(path.stem), folder)
        assert any(line["runs"] for line in lines)
        assert path.read_text(encoding="utf-8") == markdown(lines)
        assert path.with_suffix(".csv").read_text(encoding="utf-8") == as_csv(lines)


def test_a_table_of_parts_has_one_row_per_part_and_all_differ():
    parts = rows("fast-parts")
    assert len({row.folder(0) for row in parts}) == len(parts) > 5
    assert parts[0].settings == () and all(len(row.settings) <= 1 for row in parts)
    for row in parts:  # each names a setting that there is
        overridden(recipe_for(row.recipe, row.data, row.samples), dict(row.settings))
    shorter = rows("fast-parts", settings=[("epochs", "1")])
    assert shorter[1].settings == (*parts[1].settings, ("epochs", "1"))
