"""The table of many pictures."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import replace

import numpy as np
import pytest
import tiny
from PIL import Image

from memorywrap.commands import main as cli
from memorywrap.measures.pictures import (
    COLUMNS,
    Row,
    as_csv,
    as_html,
    as_parquet,
    chosen,
    files_in,
    label_of,
)
from memorywrap.trust import SIGNALS, TrustGauge

MODEL = tiny.classifier()
CLASSES = MODEL.config.classes


@pytest.fixture
def folder(tmp_path):
    """Pictures in folders that are called like classes, one beside them, and one that is none."""
    for number, name in enumerate((CLASSES[0], CLASSES[1], "elsewhere")):
        (tmp_path / name).mkdir()
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name / "<b>.png")
    (tmp_path / CLASSES[1] / "broken.png").write_bytes(b"no picture")
    (tmp_path / ".hidden").write_bytes(b"")
    return tmp_path


def rows_of(folder):
    return [
        Row(str(file), label, None, "It is broken.") if file.name == "broken.png"
        else Row(str(file), label, MODEL.predict(file))
        for file, label in files_in(folder, CLASSES)
    ]  # fmt: skip


def test_labels_are_the_names_of_folders_that_are_classes(folder):
    found = {str(file.relative_to(folder)): label for file, label in files_in(folder, CLASSES)}
    assert found == {
        f"{CLASSES[0]}/<b>.png": CLASSES[0], f"{CLASSES[1]}/<b>.png": CLASSES[1],
        f"{CLASSES[1]}/broken.png": CLASSES[1], "elsewhere/<b>.png": None,
    }  # fmt: skip
    assert label_of(folder / CLASSES[0] / "a.png", CLASSES) == CLASSES[0]


def test_the_table_to_reckon_with_has_a_line_per_picture(folder):
    rows = rows_of(folder)
    told = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert tuple(told[0]) == COLUMNS and len(told) == 4
    for line, row in zip(told, rows, strict=True):
        if row.prediction is None:
            assert line["error"] == "It is broken." and line["predicted"] == ""
            continue
        seen = row.prediction
        assert float(line["probability"]) == pytest.approx(max(seen.probabilities))
        assert int(line["memory"]) == seen.used[0]
        assert line["predicted"] == CLASSES[seen.predicted]


def test_a_parquet_file_says_the_same_with_types(folder, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the package pyarrow")
    rows = rows_of(folder)
    table = parquet.read_table(io.BytesIO(as_parquet(rows)))
    assert table.to_pylist() == [row.values() for row in rows]
    assert (
        tuple(table.column_names) == COLUMNS and str(table.schema.field("label").type) == "string"
    )
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match="pip install pyarrow"):
        as_parquet(rows)


def test_the_page_counts_what_is_right_and_escapes_names(folder):
    rows = rows_of(folder)
    text = as_html(rows, CLASSES, "Tiny & <co>")
    right = sum(row.label == row.predicted for row in rows if row.label and row.prediction)
    assert f"{right} of 2 that have a label" in text
    assert "<b>.png" not in text and "&lt;b&gt;.png" in text and "Tiny &amp; &lt;co&gt;" in text
    assert "It is broken." in text and text.count("data:image/png;base64,") >= 6
    assert "http" not in text.replace("http-equiv", "")


def test_from_the_command_line(folder, tmp_path, capsys):
    MODEL.save_pretrained(tmp_path / "model")
    asked = ["classify", str(folder / CLASSES[0]), str(folder / "elsewhere" / "<b>.png")]
    model = ["--checkpoint", str(tmp_path / "model")]
    assert cli.main([*asked, *model, "--report", str(tmp_path / "a.csv")]) == 0
    assert "2 pictures" in capsys.readouterr().out
    assert cli.main([*asked, *model, "--report", str(tmp_path / "a.parquet")]) == 0
    assert (tmp_path / "a.parquet").read_bytes().startswith(b"PAR1")
    capsys.readouterr()
    assert len((tmp_path / "a.csv").read_text("utf-8").splitlines()) == 3
    assert (
        cli.main([*asked, str(folder / CLASSES[1]), *model, "--report", str(tmp_path / "b.html")])
        == 2
    )
    assert ", 1 not read: " in capsys.readouterr().out
    assert "<table" in (tmp_path / "b.html").read_text("utf-8")
    assert cli.main([*asked, *model, "--report", "a.txt"]) == 2
    assert "FILE.html, FILE.csv or FILE.parquet" in capsys.readouterr().err
    assert cli.main([*asked, *model]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_what_is_unlike_everything_known_comes_before_the_least_trusted():
    plain = MODEL.predict(tiny.picture())
    gauges = [TrustGauge(offset, (0.0,) * len(SIGNALS)) for offset in (1.0, -1.0, 2.0)]
    sure, doubtful, odd = (replace(plain, gauge=gauge, familiarity=1.0) for gauge in gauges)
    rows = [Row("sure", None, sure), Row("doubtful", None, doubtful)]
    rows.append(Row("odd", None, replace(odd, familiarity=-1.0)))
    assert [row.file for row in chosen(rows, sort="trust")] == ["odd", "doubtful", "sure"]
    with pytest.raises(ValueError, match="does not tell the trust"):
        chosen([*rows, Row("plain", None, plain)], sort="trust")
