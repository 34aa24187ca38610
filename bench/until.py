"""Print after how many seconds of training a run had an accuracy: python -m bench.until RUN PERCENT"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path


def until(run: Path, percent: float) -> str:
    """In a sentence. The accuracies on the way are of about 1,000 test images, so that the first which is high enough
    may be so by luck; the last one is of all."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    seconds, reached = 0.0, None
    for line in lines:
        seconds += float(line["seconds"])
        if reached is None and line["test_accuracy"] and float(line["test_accuracy"]) >= percent:
            reached = f"{percent:g} % of about 1,000 test images after {seconds:.0f} s (epoch {float(line['epoch']):g})"
    result = run / "result.json"
    so_far = "" if result.exists() else " so far"
    told = [reached or f"{percent:g} % was not reached in {seconds:.0f} s{so_far}"]
    if result.exists():
        measured = json.loads(result.read_text(encoding="utf-8"))["measured"]
        told += [f"{name}: {found['accuracy']} % of {found['images']}" for name, found in measured.items()]  # fmt: skip
    return "; ".join(told)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("percent", type=float)
    options = parser.parse_args()
    print(until(options.run, options.percent))
