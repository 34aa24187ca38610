"""`memorywrap whatif`: which memory samples would change the answer."""

from __future__ import annotations

import argparse
import json

from memorywrap.commands.shared import add_checkpoint, add_input, load, model_name, predict
from memorywrap.images import ImageError
from memorywrap.loading import DRAWN_FROM, random_bank, training_images
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
    add_checkpoint(parser)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    if options.redraws < 0:
        raise ValueError(f"--redraws: expected 0 or more, received {options.redraws}")
    classifier = load(options)
    try:
        prediction = predict(classifier, options.image, options)
    except ImageError as error:
        raise ValueError(f"{options.image}: {error}") from error
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
