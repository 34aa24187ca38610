"""The command `memorywrap`: parses and prints; the library computes.

Each command has a function that adds its arguments and one that runs it. Bad input ends with one
sentence on standard error and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from memorywrap import commands_training
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.images import ImageError, read_image


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="memorywrap", description="Image classifiers that show their evidence."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_classify(commands.add_parser("classify", help="predict images, one JSON line each"))
    commands_training.add_train(commands.add_parser("train", help="train a model in a run folder"))
    commands_training.add_evaluate(
        commands.add_parser("evaluate", help="measure a model on a data set")
    )
    commands_training.add_replicate(
        commands.add_parser("replicate", help="train the rows of a table and print it")
    )
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError) as error:
        print(f"memorywrap {options.command}: {error}", file=sys.stderr)
        return 2


def default_checkpoint() -> Path:
    """checkpoints/digits of this folder or else of the repository that this package lies in."""
    local = Path("checkpoints/digits")
    return local if local.is_dir() else Path(__file__).parent.parent / local


def _add_classify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a file")
    _add_checkpoint(parser)
    parser.set_defaults(run=_classify)


def _classify(options: argparse.Namespace) -> int:
    classifier = MemoryWrapClassifier.from_pretrained(options.checkpoint)
    failed = False
    for name in options.images:
        try:
            prediction = classifier.predict(read_image(name))
        except ImageError as error:
            print(f"memorywrap classify: {name}: {error}", file=sys.stderr)
            failed = True
            continue
        print(json.dumps(prediction.to_dict(Path(options.checkpoint).name)))
    return 2 if failed else 0


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        default=default_checkpoint(),
        metavar="FOLDER",
        help="checkpoint folder or Hub id (default: checkpoints/digits)",
    )


if __name__ == "__main__":
    sys.exit(main())
