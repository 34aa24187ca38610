"""`memorywrap explain`: the figure, the maps and the numbers of an image, or of each of many."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from memorywrap.checkpoints.config import library_versions
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.commands.shared import (
    add_checkpoint,
    add_input,
    answered,
    load,
    model_name,
    predict,
)
from memorywrap.data.sets import data_names, load_test
from memorywrap.explanation.baselines import BASELINES, DEFAULT
from memorywrap.explanation.explanation import MOST_STEPS, Explanation
from memorywrap.explanation.figures import (
    enlarged,
    figure_parts,
    memory_figure,
    outlined,
    paper_figure,
)
from memorywrap.explanation.methods import INTEGRATED_GRADIENTS, methods
from memorywrap.images import ImageError, to_pil
from memorywrap.measures.explanations import random_order
from memorywrap.measures.pictures import Row, as_csv, as_html, chosen, label_of
from memorywrap.patches import patch_counterfactual, patch_counterfactuals
from memorywrap.prediction import PatchCounterfactual

_TOGETHER = 8  # explained in common batches
_NUMBERS = "explanation.json"
_FILES = [_NUMBERS, *(f"{name}.png" for name in ("figure", "memory", "patch-counterfactual", "patch-counterfactual-cells")),
          *(f"{role}{kind}.png" for role in ("input", "example", "counterfactual", "contrast") for kind in ("", "-map"))]  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", help="a file, or a folder whose files are all meant"
    )
    parser.add_argument(
        "--data", metavar="NAME", help=f"the test images of {data_names()}, instead of files"
    )
    add_input(parser)
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the files go")
    many = parser.add_argument_group("of many images")
    many.add_argument("--wrong", action="store_true", help="only those answered wrongly")
    many.add_argument("--label", metavar="CLASS", help="only those of this class")
    many.add_argument("--predicted", metavar="CLASS", help="only those answered so")
    many.add_argument(
        "--sort",
        choices=("trust", "probability"),
        help="the least first (default: files as they come, test images as they are drawn)",
    )
    many.add_argument(
        "--most", type=int, default=100, metavar="N", help="explain so many at most (default: 100)"
    )
    parser.add_argument(
        "--method",
        default=INTEGRATED_GRADIENTS,
        choices=methods(),
        help=f"how the maps are made (default: {INTEGRATED_GRADIENTS})",
    )
    parser.add_argument(
        "--baseline",
        default=DEFAULT,
        choices=tuple(BASELINES),
        help=f"where the attribution's path starts (default: {DEFAULT}; the paper: white)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="path steps (default: as many as the completeness error asks for)",
    )
    add_checkpoint(parser)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    if bool(options.images) == (options.data is not None):
        raise ValueError("expected images, or --data NAME")
    if options.most < 1:
        raise ValueError(f"--most: expected at least 1, received {options.most}")
    if options.steps is not None and not 1 <= options.steps <= MOST_STEPS:
        raise ValueError(f"--steps: expected 1 to {MOST_STEPS}, received {options.steps}")
    if options.steps is not None and options.method != INTEGRATED_GRADIENTS:
        raise ValueError(f"--steps: only the method {INTEGRATED_GRADIENTS} goes by steps")
    classifier = load(options)
    if not classifier.has_memory:
        raise ValueError("this model has no memory, so there is nothing to explain")
    folder = Path(options.out)
    chooses = options.wrong or options.label or options.predicted or options.sort
    if len(options.images) == 1 and not Path(options.images[0]).is_dir():
        if chooses:
            raise ValueError("--wrong, --label, --predicted and --sort choose among several images")
        return _explain_one(classifier, options, folder)
    classes = classifier.config.classes
    for name, class_ in (("--label", options.label), ("--predicted", options.predicted)):
        if class_ not in (None, *classes):
            raise ValueError(f"{name}: expected one of {', '.join(classes)}, received {class_}")
    if options.data is None:
        rows = list(answered(classifier, options))
    else:
        rows = _of_data(classifier, options)
    if options.wrong and all(row.label is None for row in rows):
        raise ValueError(
            "--wrong: no image has a label: expected folders that are called like a class"
        )
    told = [row for row in rows if row.prediction is not None]
    kept = chosen(
        told,
        wrong=options.wrong,
        label=options.label,
        predicted=options.predicted,
        sort=options.sort,
    )
    if not told:
        raise ValueError("there is nothing to explain: no file could be read as a picture")
    if not kept:
        raise ValueError(f"none of the {len(told)} images is so: ask for others")
    earlier = _explained_before(folder)
    explained = _explain_many(classifier, options, kept[: options.most], folder)
    for name in earlier - {row.explained for row in explained}:
        _remove((folder / name).parent)
    title = classifier.config.title
    (folder / "table.csv").write_text(as_csv(explained), encoding="utf-8")
    (folder / "index.html").write_text(as_html(explained, classes, title, told), encoding="utf-8")
    left = f" ({len(kept) - len(explained)} more with --most)" if len(kept) > len(explained) else ""
    unread = f", {len(rows) - len(told)} files not read" if len(told) < len(rows) else ""
    print(
        f"{len(explained)} of {len(told)} images explained{left}{unread}: {folder / 'index.html'}"
    )
    return 2 if len(told) < len(rows) else 0


def _explain_one(
    classifier: MemoryWrapClassifier, options: argparse.Namespace, folder: Path
) -> int:
    (name,) = options.images
    if sys.stderr.isatty():
        print("explaining, which takes a moment …", file=sys.stderr)
    try:
        prediction, crop = predict(classifier, name, options)
        explanation = classifier.explain(prediction, **_settings(options))
    except ImageError as error:
        raise ValueError(f"{name}: {error}") from error
    row = Row(name, label_of(Path(name), classifier.config.classes), prediction, crop=crop)
    patch = patch_counterfactual(classifier, prediction)
    for path in _write(row, explanation, patch, folder, options):
        print(path)
    return 0


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {"method": options.method, "baseline": options.baseline, "steps": options.steps}


def _of_data(classifier: MemoryWrapClassifier, options: argparse.Namespace) -> list[Row]:
    if options.crop is not None:
        raise ValueError("--crop: images of a data set are seen whole")
    config, classes = classifier.config, classifier.config.classes
    _, test = load_test(options.data, classes, fetch=options.download, size=config.image_size)
    try:
        bank = classifier.require_bank().without(options.without) if options.without else None
    except IndexError as error:
        raise ValueError(f"--without: {error}") from error
    order = random_order(len(test), 0)  # data sets may come class by class
    predictions = classifier.predict_inputs(list(test.images[order]), bank)
    return [
        Row(f"{options.data} {place}", classes[int(test.labels[place])], prediction)
        for place, prediction in zip(order.tolist(), predictions, strict=True)
    ]


def _explained_before(folder: Path) -> set[str]:
    """The figures that the table of an earlier call names; nothing outside the folder, whatever a table says."""
    try:
        with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
            named = [row.get("explained") or "" for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error):
        return set()
    return {name for name in named if re.fullmatch(r"\d{4,}/figure\.png", name)}


def _remove(folder: Path) -> None:
    """What an explanation left in a folder, and the folder where nothing else is in it."""
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _explain_many(
    classifier: MemoryWrapClassifier,
    options: argparse.Namespace,
    rows: Sequence[Row],
    folder: Path,
) -> list[Row]:
    """Writes a folder for each; returns the rows with where they are."""
    explained = []
    with tqdm(total=len(rows), unit=" images", leave=False) as progress:
        for start in range(0, len(rows), _TOGETHER):
            some = rows[start : start + _TOGETHER]
            explanations = classifier.explain(
                [row.prediction for row in some if row.prediction is not None],
                **_settings(options),
            )
            patches = patch_counterfactuals(classifier, [one.prediction for one in explanations])
            found = zip(some, explanations, patches, strict=True)
            for place, (row, explanation, patch) in enumerate(found, start):
                name = f"{place + 1:04d}"
                _write(row, explanation, patch, folder / name, options)
                explained.append(replace(row, explained=f"{name}/figure.png"))
                progress.update()
    return explained


def _write(
    row: Row,
    explanation: Explanation,
    patch: PatchCounterfactual | None,
    folder: Path,
    options: argparse.Namespace,
) -> list[Path]:
    """The figure, the input over its memory, each picture with its map, the patch counterfactual with its
    cells, and the JSON, with what was asked; returns what was written."""
    model = model_name(options)
    pictures = {
        "figure": paper_figure(explanation, patch, model=model, label=row.label),
        "memory": memory_figure(explanation.prediction, label=row.label),
    }
    for part in figure_parts(explanation):
        pictures[part.role] = enlarged(part.image)
        pictures[f"{part.role}-map"] = enlarged(part.map)
    if patch is not None:
        pictures["patch-counterfactual"] = enlarged(to_pil(patch.pixels))
        pictures["patch-counterfactual-cells"] = outlined(patch.pixels, patch.cells, patch.grid)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / _NUMBERS).exists():  # of another explanation, which may have had other pictures
        _remove(folder)
        folder.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")
    asked = {
        "file": row.file,
        "label": row.label,
        "crop": None if row.crop is None else list(row.crop),
        "without": options.without or [],
        "versions": library_versions(),
    }
    told = {**explanation.to_dict(model, patch), "asked": asked}
    text = json.dumps(told, indent=2) + "\n"
    (folder / _NUMBERS).write_text(text, encoding="utf-8")
    return [*(folder / f"{name}.png" for name in pictures), folder / _NUMBERS]
