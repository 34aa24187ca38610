"""The paper's table, made from run folders: data set x variant x training samples, over seeds."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from memorywrap.data.sets import DataError, describe, load_data
from memorywrap.training.few_shot import READERS, train_and_measure_few_shot
from memorywrap.training.loop import train_and_measure
from memorywrap.training.recipes import Recipe, Training, overridden, recipe_for
from memorywrap.training.runs import RunError, RunFolder, completed
from memorywrap.training.tables import PAPER, Row

SEEDS = 3

# Of `memorywrap.measures.reliance`, beside the accuracy where a run has them.
RATES = ("necessity", "follow_rate", "explanation_accuracy", "counterfactuals")


def replicate(
    wanted: Sequence[Row],
    folder: str | Path,
    seeds: Sequence[int],
    *,
    device: str = "auto",
    progress: bool = True,
    fetch: bool = False,
    after: Callable[[Row, int], None] | None = None,
) -> list[str]:
    """Make the runs that are missing; those begun are resumed, those finished left alone.

    A row whose data is missing or too small, or whose run folder holds other settings, is left out.

    Args:
        wanted: the rows.
        folder: holds one run folder per row and seed.
        seeds: one run each.
        device: as for `train`.
        progress: show bars.
        fetch: download data sets that are missing.
        after: called after each new run.

    Returns:
        Why rows were left out, a sentence each.
    """
    left_out = []
    # Seed by seed, so that an early stop leaves every row with a number, not one with all.
    runs = [(row, seed) for seed in seeds for row in wanted]
    for number, (row, seed) in enumerate(runs, 1):
        run = RunFolder(Path(folder) / row.folder(seed))
        if run.result is not None and _present_recipe(row, run.config):
            continue
        if progress:
            print(f"[{number}/{len(runs)}] {row.folder(seed)}", file=sys.stderr)
        try:
            data = load_data(row.data, samples=row.samples, seed=seed, fetch=fetch)
            is_few_shot = row.variant in READERS
            training = Training(
                data=data,
                recipe=_recipe(row, len(data.train)),
                encoder=row.encoder,
                variant="memory-wrap" if is_few_shot else row.variant,
                seed=seed,
            )
            if is_few_shot:
                train_and_measure_few_shot(
                    training, row.variant, run.path, device=device, progress=progress
                )
            else:
                train_and_measure(training, run.path, device=device, progress=progress)
        except (DataError, RunError) as error:
            left_out.append(f"{row.folder(seed)} was left out: {error}")
            continue
        if after is not None:
            after(row, seed)
    return left_out


def results(wanted: Sequence[Row], folder: str | Path) -> list[dict[str, Any]]:
    """What the run folders say about the rows; a row without a finished run has no numbers.

    Runs of a row on different versions of the data, or made when its recipe was another one, are never
    averaged: each is a line.
    """
    lines = []
    for row in wanted:
        groups: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
        for config, result in _finished(row, Path(folder)):
            recipe = _settings(row, completed(config).get("recipe", {}))
            key = json.dumps([_full(config["data"]), recipe], sort_keys=True)
            groups.setdefault(key, []).append((config, result))
        lines += [_line(row, found) for found in groups.values() or [[]]]
    return lines


def markdown(lines: Sequence[dict[str, Any]]) -> str:
    """The table for people."""
    rates = [name for name in RATES if any(line[name] is not None for line in lines)]
    head = [
        "data",
        "samples",
        "variant",
        "paper",
        "ours",
        *(name.replace("_", " ") for name in rates),
    ]
    head += ["runs", "encoder", "recipe", "device"]
    rows = [
        (
            line["data_version"] or line["data"],
            "all" if line["samples"] is None else f"{line['samples']:,}",
            line["variant"],
            _number(line["paper"]),
            _number(line["mean"])
            + ("" if line["deviation"] is None else f" ± {line['deviation']:.2f}"),
            *(_number(line[name]) for name in rates),
            str(line["runs"]),
            line["encoder"],
            line["recipe"],
            line["device"] or "",
        )
        for line in lines
    ]
    text = io.StringIO()
    text.write(f"| {' | '.join(head)} |\n| {' | '.join('---' for _ in head)} |\n")
    for row in rows:
        text.write(f"| {' | '.join(row)} |\n")
    text.write(
        "\nAccuracy in percent: mean and sample standard deviation over the runs. Where a memory is read, "
        "a run's accuracy is the mean of evaluations with different memories, 500 test images "
        "sharing one. Paper: MobileNetV2 on the original images, mean of 15 runs; no baseline is given.\n"
    )
    if any(line["samples"] is None for line in lines):
        text.write(
            "\nRows of all samples: ours are all of the copy that is named, the paper's all of the published set.\n"
        )
    if rates:
        text.write(
            "\nNecessity, follow rate, explanation accuracy and how many answers have a counterfactual "
            "in memory, in percent, are of the bank that a model is saved with.\n"
        )
    return text.getvalue()


def as_csv(lines: Sequence[dict[str, Any]]) -> str:
    """The table for programs."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _finished(row: Row, folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    start = row.folder(0).removesuffix("0")
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not path.name.startswith(start) or not path.name.removeprefix(start).isdigit():
            continue
        run = RunFolder(path)
        config, result = run.config, run.result
        if config is not None and result is not None:
            yield config, result


def _recipe(row: Row, samples: int) -> Recipe:
    return overridden(recipe_for(row.recipe, row.data, samples), dict(row.settings))


def _present_recipe(row: Row, config: dict[str, Any] | None) -> bool:
    """Whether a run was made with what the row's recipe is now."""
    if config is None or "recipe" not in config:
        return False
    data = config["data"]
    recipe = dataclasses.asdict(_recipe(row, data.get("samples") or data["train"]))
    present = json.loads(json.dumps(recipe))  # lists for tuples, as in the file
    return _settings(row, completed(config)["recipe"]) == _settings(row, present)


def _settings(row: Row, recipe: dict[str, Any]) -> dict[str, Any]:
    """The settings that the row's variant reads: a plain network knows nothing of memories."""
    of_memory = ("memory", "apart", "test_memories") if row.variant == "std" else ()
    return {name: value for name, value in recipe.items() if name not in of_memory}


def _full(version: dict[str, Any]) -> dict[str, Any]:
    """A data version without what the row says anyway."""
    return {name: value for name, value in version.items() if name not in ("samples", "seed")}


def _line(row: Row, runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    found = [result for _, result in runs]
    accuracies = [_accuracy(result, row.data) for result in found]
    devices = sorted({result["device"] for result in found})
    settings = "".join(f" {name}={value}" for name, value in row.settings)
    if runs and not _present_recipe(row, runs[0][0]):
        settings += " (as it was before)"
    return {
        "data": row.data,
        "data_version": describe(_full(runs[0][0]["data"])) if runs else "",
        "samples": row.samples,
        "variant": row.variant,
        "encoder": row.encoder,
        "recipe": row.recipe + settings,
        "paper": _published(row),
        "mean": round(statistics.fmean(accuracies), 2) if accuracies else None,
        "deviation": round(statistics.stdev(accuracies), 2) if len(accuracies) > 1 else None,
        **{name: _rate(found, row.data, name) for name in RATES},
        "runs": len(accuracies),
        "seconds": round(statistics.fmean(result["seconds"] for result in found), 1)
        if found
        else None,
        "device": ", ".join(devices),
    }


def _published(row: Row) -> float | None:
    """What the paper reports of its MobileNetV2: beside its recipe with another encoder, or a recipe that
    was changed, that is no measure."""
    if row.settings or (row.recipe == "paper" and not row.encoder.startswith("mobilenet_v2")):
        return None
    return PAPER.get((row.data, row.variant, row.samples))


def _accuracy(result: dict[str, Any], data: str) -> float:
    measured = result["measured"][f"{data}:test"]
    redrawn = measured.get("redrawn")
    return statistics.fmean(redrawn) if redrawn else measured["accuracy"]


def _rate(found: list[dict[str, Any]], data: str, name: str) -> float | None:
    """The mean of one of `RATES` over the runs; None for a plain network, or runs that lack it."""
    rates = [result["measured"][f"{data}:test"].get(name, {}).get("percent") for result in found]
    known = [rate for rate in rates if rate is not None]
    return round(statistics.fmean(known), 2) if known and len(known) == len(rates) else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
