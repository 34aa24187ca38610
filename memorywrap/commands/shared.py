"""Arguments that several commands have, and what they mean."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.images import Box, ImageError, check_inside, read_image, refuse_plain
from memorywrap.loading import load_classifier
from memorywrap.measures.pictures import Row, files_in, label_of
from memorywrap.prediction import Prediction


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        default=default_checkpoint(),
        metavar="FOLDER",
        help="checkpoint folder or Hub id (default: checkpoints/digits)",
    )
    add_download(parser)  # of what the model's bank is drawn from


def add_download(parser: argparse.ArgumentParser) -> None:
    """The argument `--download`, wherever a data set may be missing."""
    parser.add_argument(
        "--download", action="store_true", help="fetch the data set where it is missing"
    )


def add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--crop",
        type=int,
        nargs=4,
        metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"),
        help="the part to look at, in pixels (default: the first guess of the page)",
    )
    parser.add_argument(
        "--without",
        type=int,
        nargs="+",
        default=[],
        metavar="INDEX",
        help="memory samples to do without; after the image",
    )


def add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, help="processor cores to use (default: all)")


def add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting of the recipe, such as batch=256 or augment.flip=true",
    )


def at_least(least: int) -> Callable[[str], int]:
    """A type of arguments: whole numbers from `least`."""

    def number(text: str) -> int:
        try:
            found = int(text)
        except ValueError:
            found = least - 1
        if found < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number of at least {least}, received {text!r}"
            )
        return found

    return number


def setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set: expected NAME=VALUE, received {text!r}")
    return name, value


def default_checkpoint() -> Path:
    """checkpoints/digits of this folder or else of the repository that this package lies in."""
    local = Path("checkpoints/digits")
    beside = Path(__file__).parents[2] / local
    return beside if beside.is_dir() and not local.is_dir() else local


def load(options: argparse.Namespace, device: str = "auto") -> MemoryWrapClassifier:
    """The model that was asked for, with its bank."""
    if options.checkpoint == Path("checkpoints/digits") and not options.checkpoint.is_dir():
        raise ValueError(
            "there is no checkpoints/digits here: run this in a clone of the repository, "
            "or name a model with --checkpoint"
        )
    return load_classifier(options.checkpoint, device=device, fetch=options.download)


def model_name(options: argparse.Namespace) -> str:
    return Path(options.checkpoint).resolve().name


def predict(
    classifier: MemoryWrapClassifier, name: str, options: argparse.Namespace
) -> tuple[Prediction, Box]:
    """As the page and its endpoints answer; and the square that was looked at."""
    image = read_image(name)
    if options.crop:
        check_inside(options.crop, image)
    left, top, right, bottom = options.crop or classifier.suggest_box(image)
    box = (left, top, right, bottom)
    if options.without and not classifier.has_memory:
        raise ValueError("--without: this model has no memory samples to do without")
    try:
        prediction = classifier.predict(image, box=box, without=options.without)
    except IndexError as error:
        raise ValueError(f"--without: {error}") from error
    refuse_plain(prediction.pixels)
    return prediction, box


def answered(
    classifier: MemoryWrapClassifier, options: argparse.Namespace, *, hidden: bool = False
) -> Iterator[Row]:
    """The answers to `options.images`, which may be folders, with labels and with progress. What is no picture
    is said at once, and comes without an answer."""
    classes = classifier.config.classes
    found: list[tuple[str, str | None]] = []
    for name in options.images:
        if Path(name).is_dir():
            inside = [(str(file), label) for file, label in files_in(Path(name), classes)]
            if not inside:
                raise ValueError(f"{name}: there are no pictures in this folder")
            found += inside
        else:
            found.append((name, label_of(Path(name), classes)))
    for name, label in tqdm(found, unit=" pictures", leave=False, disable=hidden):
        try:
            prediction, crop = predict(classifier, name, options)
            yield Row(name, label, prediction, crop=crop)
        except ImageError as error:
            print(f"memorywrap {options.command}: {name}: {error}", file=sys.stderr)
            yield Row(name, label, None, str(error))
