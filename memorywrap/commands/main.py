"""The command `memorywrap`: parses and prints; the library computes.

Each command has a function that adds its arguments and one that runs it. Bad input ends with one
sentence on standard error and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.commands import train as commands_training
from memorywrap.commands.demo import add_demo
from memorywrap.devices import use_threads
from memorywrap.explanation.baselines import BASELINES
from memorywrap.explanation.explanation import Explanation
from memorywrap.explanation.figures import enlarged, figure_parts, paper_figure
from memorywrap.explanation.methods import INTEGRATED_GRADIENTS, methods
from memorywrap.images import ImageError, read_image, refuse_plain
from memorywrap.loading import DRAWN_FROM, load_classifier, random_bank, training_images
from memorywrap.measures.speed import bench, time_page
from memorywrap.prediction import Prediction
from memorywrap.what_if import flip_set, stability


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="memorywrap", description="Image classifiers that show their evidence."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_classify(commands.add_parser("classify", help="predict images, one JSON line each"))
    _add_explain(
        commands.add_parser("explain", help="write the figure, the maps and the JSON of an image")
    )
    _add_what_if(commands.add_parser("whatif", help="which memory samples would change the answer"))
    commands_training.add_train(commands.add_parser("train", help="train a model in a run folder"))
    commands_training.add_evaluate(
        commands.add_parser("evaluate", help="measure a model on a data set")
    )
    commands_training.add_gauge(
        commands.add_parser("gauge", help="teach a model how likely its answers are right")
    )
    commands_training.add_replicate(
        commands.add_parser("replicate", help="train the rows of a table and print it")
    )
    _add_bench(commands.add_parser("bench", help="time a model on this machine"))
    add_demo(commands.add_parser("demo", help="start the page, as python -m app", add_help=False))
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command != "demo":
        commands.choices[options.command].error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        return options.run(options)
    except BrokenPipeError:  # whoever reads, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError) as error:
        sentence = f"{error.filename}: {error.strerror}" if _is_of_a_file(error) else str(error)
        print(f"memorywrap {options.command}: {sentence}", file=sys.stderr)
        return 2


def default_checkpoint() -> Path:
    """checkpoints/digits of this folder or else of the repository that this package lies in."""
    local = Path("checkpoints/digits")
    beside = Path(__file__).parents[2] / local
    return beside if beside.is_dir() and not local.is_dir() else local


def _add_classify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a file")
    _add_input(parser)
    _add_checkpoint(parser)
    parser.set_defaults(run=_classify)


def _classify(options: argparse.Namespace) -> int:
    classifier = _load(options)
    failed = False
    for name in options.images:
        try:
            prediction = _predict(classifier, name, options)
        except ImageError as error:
            print(f"memorywrap classify: {name}: {error}", file=sys.stderr)
            failed = True
            continue
        print(json.dumps(prediction.to_dict(_model_name(options))), flush=True)
    return 2 if failed else 0


def _add_input(parser: argparse.ArgumentParser) -> None:
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


def _predict(
    classifier: MemoryWrapClassifier, name: str, options: argparse.Namespace
) -> Prediction:
    """As the page and its endpoints answer."""
    image = read_image(name)
    box = tuple(options.crop or classifier.suggest_box(image))
    if options.without and not classifier.has_memory:
        raise ValueError("--without: this model has no memory samples to do without")
    try:
        prediction = classifier.predict(image, box=box, without=options.without)
    except IndexError as error:
        raise ValueError(f"--without: {error}") from error
    refuse_plain(prediction.pixels)
    return prediction


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="a file")
    _add_input(parser)
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the files go")
    parser.add_argument(
        "--method",
        default=INTEGRATED_GRADIENTS,
        choices=methods(),
        help=f"how the maps are made (default: {INTEGRATED_GRADIENTS})",
    )
    parser.add_argument(
        "--baseline",
        default="white",
        choices=tuple(BASELINES),
        help="where the attribution's path starts (default: white)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="path steps (default: as many as the completeness error asks for)",
    )
    _add_checkpoint(parser)
    parser.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> int:
    classifier = _load(options)
    try:
        explanation = classifier.explain(
            _predict(classifier, options.image, options),
            method=options.method,
            baseline=options.baseline,
            steps=options.steps,
        )
    except ImageError as error:
        raise ValueError(f"{options.image}: {error}") from error
    for path in _write(explanation, Path(options.out), _model_name(options)):
        print(path)
    return 0


def _write(explanation: Explanation, folder: Path, model: str) -> list[Path]:
    """The figure, each picture with its map, and the JSON; returns what was written."""
    pictures = {"figure": paper_figure(explanation, model=model)}
    for part in figure_parts(explanation):
        pictures[part.role] = enlarged(part.image)
        pictures[f"{part.role}-map"] = enlarged(part.map)
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")
    text = json.dumps(explanation.to_dict(model), indent=2) + "\n"
    (folder / "explanation.json").write_text(text, encoding="utf-8")
    return [*(folder / f"{name}.png" for name in pictures), folder / "explanation.json"]


def _add_what_if(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="a file")
    _add_input(parser)
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
    _add_checkpoint(parser)
    parser.set_defaults(run=_what_if)


def _what_if(options: argparse.Namespace) -> int:
    if options.redraws < 0:
        raise ValueError(f"--redraws: expected 0 or more, received {options.redraws}")
    classifier = _load(options)
    try:
        prediction = _predict(classifier, options.image, options)
    except ImageError as error:
        raise ValueError(f"{options.image}: {error}") from error
    flip = flip_set(classifier, prediction, limit=options.limit)
    answer = {
        "model": _model_name(options),
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


def _add_bench(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")
    form.add_argument("--markdown", action="store_true", help="print the table for a document")
    parser.add_argument("--http", action="store_true", help="also time the page, started for it")
    parser.add_argument("--repeats", type=int, default=30, metavar="N", help="(default: 30)")
    parser.add_argument("--threads", type=int, metavar="N", help="(default: one per core)")
    _add_checkpoint(parser)
    parser.set_defaults(run=_bench)


def _bench(options: argparse.Namespace) -> int:
    if options.repeats < 1:
        raise ValueError(f"--repeats: expected at least 1, received {options.repeats}")
    use_threads(options.threads)
    if options.http and not Path(options.checkpoint).is_dir():
        raise ValueError(f"--http: expected a checkpoint folder, received {options.checkpoint}")
    classifier = _load(options, device="cpu")
    report = bench(classifier, repeats=options.repeats)
    if options.http:
        image = classifier.bank.images[0]
        time_page(report, Path(options.checkpoint), image, repeats=options.repeats)
    if options.json:
        print(json.dumps(report.to_dict()))
    else:
        print(report.markdown() if options.markdown else report.table())
    return 0


def _load(options: argparse.Namespace, device: str = "auto") -> MemoryWrapClassifier:
    """The model that was asked for, with its bank."""
    if options.checkpoint == Path("checkpoints/digits") and not options.checkpoint.is_dir():
        raise ValueError(
            "there is no checkpoints/digits here: run this in a clone of the repository, "
            "or name a model with --checkpoint"
        )
    return load_classifier(options.checkpoint, device=device, fetch=options.download)


def _model_name(options: argparse.Namespace) -> str:
    return Path(options.checkpoint).resolve().name


def _is_of_a_file(error: Exception) -> bool:
    return isinstance(error, OSError) and error.filename is not None and error.strerror is not None


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        default=default_checkpoint(),
        metavar="FOLDER",
        help="checkpoint folder or Hub id (default: checkpoints/digits)",
    )
    commands_training.add_download(parser)  # of what the model's bank is drawn from


if __name__ == "__main__":
    sys.exit(main())
