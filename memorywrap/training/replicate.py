"""The paper's table, made from run folders: data set x variant x training samples, over seeds."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memorywrap.checkpoints.config import VARIANTS
from memorywrap.data.sets import DataError, describe, load_data
from memorywrap.training.few_shot import READERS, train_and_measure_few_shot
from memorywrap.training.loop import train_and_measure
from memorywrap.training.recipes import Recipe, Training, overridden, recipe_for
from memorywrap.training.runs import RunError, RunFolder, completed

SEEDS = 3

# MobileNetV2 in arXiv 2106.01440: mean accuracy in percent of 15 runs, with so many training samples. It has no rows
# of the baseline.
_PAPER_SIZES = (1000, 2000, 5000, None)
_PAPER_ROWS = {
    ("svhn", "std"): (42.71, 70.87, 85.52, 95.95),
    ("svhn", "memory-wrap"): (66.93, 81.44, 88.68, 95.63),
    ("cifar10", "std"): (38.57, 50.36, 72.77, 88.78),
    ("cifar10", "memory-wrap"): (43.87, 57.12, 75.33, 88.49),
    ("cinic10", "std"): (29.61, 36.40, 50.41, 78.85),
    ("cinic10", "memory-wrap"): (32.34, 39.48, 52.18, 78.88),
}
PAPER: dict[tuple[str, str, int | None], float] = {
    (data, variant, samples): accuracy
    for (data, variant), row in _PAPER_ROWS.items()
    for samples, accuracy in zip(_PAPER_SIZES, row, strict=True)
}

# Of `memorywrap.measures.reliance`, beside the accuracy where a run has them.
RATES = ("necessity", "follow_rate", "explanation_accuracy", "counterfactuals")


@dataclass(frozen=True)
class Row:
    """One row of a table: what is trained, once per seed. No `samples` is all of them. The variant is that of a
    model, or one of `few_shot.READERS` to compare with."""

    data: str
    variant: str
    samples: int | None
    recipe: str
    encoder: str
    settings: tuple[tuple[str, str], ...] = ()  # changes of the recipe, by name

    def folder(self, seed: int) -> str:
        """The name of a run folder."""
        size = "all" if self.samples is None else str(self.samples)
        changes = [f"{name}={value}" for name, value in self.settings]
        data = self.data.replace("/", "_").replace(":", "_")
        return "-".join(
            [data, size, self.variant, self.encoder, self.recipe, *changes, f"seed{seed}"]
        )


def _rows(data: str, recipe: str, encoder: str, sizes: tuple[int | None, ...]) -> tuple[Row, ...]:
    return tuple(
        Row(data, variant, size, recipe, encoder) for size in sizes for variant in VARIANTS
    )


# A memory that decides: one line more, of the recipe with counterfactual memories.
_DECIDES = (("counterfactual_memories", "0.25"),)


def _evidence(data: str, sizes: tuple[int | None, ...]) -> tuple[Row, ...]:
    return tuple(
        row
        for size in sizes
        for row in (
            *_rows(data, "fast", "whitened", (size,)),
            Row(data, "memory-wrap", size, "fast", "whitened", _DECIDES),
        )
    )


_MOBILENET = "mobilenet_v2_cifar"  # as the paper's repository has it
_OTHERS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("resnet18", ()),
    ("efficientnet_b0_320", ()),
    ("shufflenet_v2_x0_5", ()),
    ("densenet121_growth12", ()),
    ("googlenet", ()),
    ("wide_resnet28_10", ()),
    # Of its recipe, AutoAugment, CutMix, MixUp and label smoothing are not here.
    (
        "vit_7x384",
        (
            ("optimizer", "adamw"),
            ("learning_rate", "0.001"),
            ("schedule", "cosine"),
            ("warmup", "0.025"),
            ("epochs", "200"),
        ),
    ),
)
_PARTS = Row("cifar10", "memory-wrap", 2000, "fast", "whitened")

TABLES: dict[str, tuple[Row, ...]] = {
    "paper-cifar10": _rows("cifar10", "paper", _MOBILENET, _PAPER_SIZES),
    "paper-svhn": _rows("svhn", "paper", _MOBILENET, _PAPER_SIZES),
    "paper-cinic10": _rows("cinic10", "paper", _MOBILENET, _PAPER_SIZES),
    # What torchvision's network and its initial weights make of the same recipe.
    "paper-svhn-torchvision": _rows("svhn", "paper", "mobilenet_v2", (1000, 2000)),
    # The other networks of the paper and of its journal version, in the sizes that they have there.
    "paper-encoders": tuple(
        Row("svhn", variant, 1000, "paper", encoder, settings)
        for encoder, settings in _OTHERS
        for variant in ("std", "memory-wrap")
    )
    # Is it only more parameters? Plain networks that have more of them.
    + tuple(
        Row("svhn", "std", 1000, "paper", encoder) for encoder in ("resnet34", "shufflenet_v2")
    ),
    # Networks that answer by the labels of their memory, beside ours.
    "few-shot-svhn": tuple(
        Row("svhn", variant, size, "fast", "whitened")
        for size in (1000, 2000)
        for variant in ("memory-wrap", "baseline", *READERS)
    ),
    "paper-few-shot": tuple(
        Row("svhn", variant, size, "paper", _MOBILENET)
        for size in (1000, 2000)
        for variant in ("memory-wrap", *READERS)
    ),
    "fast-cifar10": _rows("cifar10", "fast", "whitened", (1000, 2000, 5000, None)),
    "fast-svhn": _rows("svhn", "fast", "whitened", (1000, 2000)),
    "evidence-cifar10": _evidence("cifar10", (1000, 2000, 5000)),
    "evidence-svhn": _evidence("svhn", (1000, 2000, None)),  # "all" are fewer than 5,000
    # The fast recipe, and what is left of it without each of its parts.
    "fast-parts": (
        _PARTS,
        *(
            replace(_PARTS, settings=((name, value),))
            for name, value in (
                ("augment.cutout", "0"),
                ("augment.translate", "0"),
                ("augment.flip", "false"),
                ("label_smoothing", "0"),
                ("average", "0"),
                ("warmup", "0"),
                ("memory", "20"),
            )
        ),
        replace(_PARTS, encoder="compact"),
    ),
}
TABLES["paper"] = (*TABLES["paper-svhn"], *TABLES["paper-cifar10"], *TABLES["paper-cinic10"])


def rows(
    table: str,
    *,
    variants: Sequence[str] | None = None,
    samples: Sequence[int | None] | None = None,
    encoder: str | None = None,
    recipe: str | None = None,
    settings: Sequence[tuple[str, str]] = (),
) -> list[Row]:
    """The rows of a named table, fewer of them or with another encoder or recipe where asked.

    Raises:
        ValueError: no such table, or no row left.
    """
    if table not in TABLES:
        raise ValueError(f"unknown table {table!r}: expected one of {', '.join(TABLES)}")
    found = [
        replace(
            row,
            recipe=recipe or row.recipe,
            encoder=encoder or row.encoder,
            settings=(*row.settings, *settings),
        )
        for row in TABLES[table]
        if (samples is None or row.samples in samples)
        and (variants is None or row.variant in variants)
    ]
    if not found:
        raise ValueError(f"table {table}: no row is left of what was asked for")
    return found


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
    for seed in seeds:
        for row in wanted:
            run = RunFolder(Path(folder) / row.folder(seed))
            if run.result is not None and _present_recipe(row, run.config):
                continue
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
    """What the paper reports of its MobileNetV2: beside its recipe with another encoder that is no
    measure."""
    if row.recipe == "paper" and not row.encoder.startswith("mobilenet_v2"):
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
