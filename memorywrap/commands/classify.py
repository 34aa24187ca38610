"""`memorywrap classify`: predict images, one JSON line each."""

from __future__ import annotations

import argparse
import json
import sys

from memorywrap.commands.shared import add_checkpoint, add_input, load, model_name, predict
from memorywrap.images import ImageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a file")
    add_input(parser)
    add_checkpoint(parser)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    classifier = load(options)
    failed = False
    for name in options.images:
        try:
            prediction = predict(classifier, name, options)
        except ImageError as error:
            print(f"memorywrap classify: {name}: {error}", file=sys.stderr)
            failed = True
            continue
        print(json.dumps(prediction.to_dict(model_name(options))), flush=True)
    return 2 if failed else 0
