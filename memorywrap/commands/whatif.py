"""`memorywrap whatif`: which memory samples would change the answer, and what an edited memory does."""

from __future__ import annotations

import argparse
import json
from typing import Any

from torch import Tensor

from memorywrap.bank import MemoryBank
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.commands.shared import (
    add_checkpoint,
    add_input,
    load,
    model_name,
    predict,
)
from memorywrap.edits import KINDS, edited, parsed
from memorywrap.images import ImageError
from memorywrap.loading import DRAWN_FROM, random_bank, training_images
from memorywrap.prediction import Prediction
from memorywrap.what_if import flip_set, stability


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("image", metavar="IMAGE", help="a file")
    add_input(parser)
    parser.add_argument(
        "--limit", type=int, default=10, metavar="N", help="samples to take away at most"
    )
    parser.add_argument(
        "--redraws",
        type=int,
        default=0,
        metavar="N",
        help="also answer with N banks drawn anew from the training data",
    )
    parser.add_argument("--seed", type=int, default=0, help="of these banks")
    parser.add_argument(
        "--edit",
        action="append",
        default=[],
        metavar="KIND=VALUE",
        help="instead, answer with an edited memory: remove=INDEX, restore=INDEX, only_class=CLASS, "
        "no_class=CLASS, add=FILE=CLASS or redraw=SEED; again for more, applied in order",
    )
    add_checkpoint(parser)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    if options.redraws < 0:
        raise ValueError(f"--redraws: expected 0 or more, received {options.redraws}")
    if options.edit and options.redraws:
        raise ValueError("--redraws: not with --edit, which has redraw=SEED")
    classifier = load(options)
    try:
        prediction, _ = predict(classifier, options.image, options)
    except ImageError as error:
        raise ValueError(f"{options.image}: {error}") from error
    if options.edit:
        print(json.dumps(_edited(classifier, prediction, options)))
        return 0
    flip = flip_set(classifier, prediction, limit=options.limit)
    answer = {
        "model": model_name(options),
        "predicted": prediction.classes[prediction.predicted],
        "flip": flip.to_dict(prediction),
    }
    if options.redraws:
        train = training_images(classifier.config, DRAWN_FROM, fetch=options.download)
        seeds = range(options.seed * 1009, options.seed * 1009 + options.redraws)
        banks = (random_bank(classifier, train, seed) for seed in seeds)
        answer["redrawn"] = stability(classifier, prediction, banks).to_dict(prediction)
    print(json.dumps(answer))
    return 0


def _edited(
    classifier: MemoryWrapClassifier, prediction: Prediction, options: argparse.Namespace
) -> dict[str, Any]:
    """{before, after}, as `/whatif`."""

    def read(path: str) -> Tensor:
        try:
            return classifier.input(path)
        except ImageError as error:
            raise ValueError(f"{path}: {error}") from error

    def redraw(seed: int) -> MemoryBank:
        train = training_images(classifier.config, DRAWN_FROM, fetch=options.download)
        return random_bank(classifier, train, seed)

    edits = parsed([_edit(text) for text in options.edit], classifier, read)
    after = classifier.predict(prediction, bank=edited(classifier, edits, redraw))
    model = model_name(options)
    return {"before": prediction.to_dict(model), "after": after.to_dict(model)}


def _edit(text: str) -> dict[str, Any]:
    kind, equals, value = text.partition("=")
    if not equals or kind not in KINDS:
        kinds = ", ".join(KINDS)
        raise ValueError(f"--edit: expected KIND=VALUE with one of {kinds}, received {text!r}")
    if kind == "add":
        file, _, label = value.rpartition("=")
        return {kind: {"image": file, "label": label}}
    return {kind: int(value) if value.isdecimal() and not kind.endswith("class") else value}
