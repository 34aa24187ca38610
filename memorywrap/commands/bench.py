"""`memorywrap bench`: time a model on this machine."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from memorywrap.commands.page import program
from memorywrap.commands.shared import add_checkpoint, load
from memorywrap.devices import use_threads
from memorywrap.measures.speed import bench


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")
    form.add_argument("--markdown", action="store_true", help="print the table for a document")
    parser.add_argument("--http", action="store_true", help="also time the page, started for it")
    parser.add_argument("--repeats", type=int, default=30, metavar="N", help="(default: 30)")
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[], metavar="N", help="also N images at once"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="(default: one per core)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    add_checkpoint(parser)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    for name, number in (
        ("--repeats", options.repeats),
        *(("--batches", n) for n in options.batches),
    ):
        if number < 1:
            raise ValueError(f"{name}: expected at least 1, received {number}")
    use_threads(options.threads)
    if options.http and not Path(options.checkpoint).is_dir():
        raise ValueError(f"--http: expected a checkpoint folder, received {options.checkpoint}")
    classifier = load(options, device=options.device)
    if classifier.frozen.has_cells:
        raise ValueError(
            "bench times models of pixels: for taught ones there is `python -m bench.teaching`"
        )
    print("Timing answers and explanations, which takes a minute or two …", file=sys.stderr)
    report = bench(classifier, repeats=options.repeats, batches=options.batches)
    if options.http:
        report.milliseconds |= _times_of_the_page(options.checkpoint, options.repeats)
    if options.json:
        print(json.dumps(report.to_dict()))
    else:
        print(report.markdown() if options.markdown else report.table())
    return 0


def _times_of_the_page(checkpoint: Path, repeats: int) -> dict[str, list[float]]:
    """Milliseconds as the page's own timing program measures them."""
    command, environment = program("app.timing", [str(checkpoint), "--repeats", str(repeats)])
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)
