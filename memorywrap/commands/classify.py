"""`memorywrap classify`: predict images, one JSON line each, or all of them as one table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from memorywrap.commands.shared import add_checkpoint, add_input, answered, load, model_name
from memorywrap.measures.pictures import as_csv, as_html, as_parquet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="a file, or a folder whose files are all meant"
    )
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="write a table instead: FILE.html to look at, FILE.csv or FILE.parquet to reckon with; files in a folder "
        "that is called like a class have that label",
    )
    add_input(parser)
    add_checkpoint(parser)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    report = None if options.report is None else Path(options.report)
    if report is not None and report.suffix not in (".html", ".csv", ".parquet"):
        raise ValueError(
            f"--report: expected FILE.html, FILE.csv or FILE.parquet, received {report.name}"
        )
    if report is not None:  # what is wrong with it is better known before hours of work
        if report.suffix == ".parquet":
            as_parquet([])
        report.parent.mkdir(parents=True, exist_ok=True)
        report.open("a").close()
    classifier = load(options)
    classes = classifier.config.classes
    rows = []
    for row in answered(classifier, options, hidden=report is None):
        rows.append(row)
        if report is None and row.prediction is not None:
            said = row.prediction.to_dict(model_name(options))
            print(json.dumps({"file": row.file, **said}), flush=True)
    if report is not None:
        title = classifier.config.title
        if report.suffix == ".parquet":
            report.write_bytes(as_parquet(rows))
        else:
            text = as_csv(rows) if report.suffix == ".csv" else as_html(rows, classes, title)
            report.write_text(text, encoding="utf-8")
        read = sum(row.prediction is not None for row in rows)
        unread = f", {len(rows) - read} not read" if read < len(rows) else ""
        print(f"{read} {'picture' if read == 1 else 'pictures'}{unread}: {report}")
    return 2 if any(row.prediction is None for row in rows) else 0
