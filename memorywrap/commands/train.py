"""`memorywrap train`: train a model in a run folder."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from memorywrap.checkpoints import folder as checkpoint
from memorywrap.checkpoints.card import write_card
from memorywrap.checkpoints.config import VARIANTS
from memorywrap.commands.shared import add_download, add_machine, add_set, setting
from memorywrap.data.sets import data_names, data_title, load_data, load_test
from memorywrap.devices import use_threads
from memorywrap.encoders import ENCODERS, PHOTO
from memorywrap.training import distributed
from memorywrap.training.loop import Interrupted, epochs_within, train_and_measure
from memorywrap.training.recipes import Training, overridden, recipe_for
from memorywrap.training.runs import RunFolder

_CHECKPOINT = 150_000_000  # bytes of the largest of a taught model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("--data", required=True, metavar="NAME", help=data_names())
    add_download(parser)
    parser.add_argument("--samples", type=int, metavar="N", help="training samples (default: all)")
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help="run folder; resumed if there"
    )
    parser.add_argument("--recipe", default="fast", choices=("fast", "paper"))
    parser.add_argument("--encoder", default="compact", choices=tuple(ENCODERS))
    parser.add_argument("--variant", default="memory-wrap", choices=VARIANTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--title", default="", help="what the page calls the model")
    parser.add_argument(
        "--start",
        metavar="FOLDER",
        help="a checkpoint of the same network whose weights to begin with (default: fresh ones)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, help="instead of the recipe's")
    length.add_argument("--minutes", type=float, help="as many epochs as fit here")
    add_set(parser)
    parser.add_argument(
        "--exam",
        action="append",
        default=[],
        metavar="NAME",
        help="also measure on another data set with the same classes, such as svhn",
    )
    parser.add_argument("--precision", default="auto", choices=("auto", "bfloat16", "float32"))
    add_machine(parser)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    use_threads(options.threads)
    if options.encoder in PHOTO:
        return _teach(options)
    changes = dict(setting(text) for text in options.set)
    processes, _ = distributed.join(options.device)
    if not processes.first:
        processes.wait()  # the first one fetches, decodes or renders; the others find it cached
    data = load_data(
        options.data, samples=options.samples, seed=options.seed, fetch=options.download
    )
    for name in options.exam:  # what is wrong with it is better known before the training
        size = data.train.images.shape[-1]
        load_test(name, data.classes, fetch=options.download, size=size)
    if processes.first:
        processes.wait()
    recipe = overridden(recipe_for(options.recipe, options.data, len(data.train)), changes)
    if options.epochs is not None:
        recipe = recipe.lasting(options.epochs)
    training = Training(
        data=data,
        recipe=recipe,
        encoder=options.encoder,
        variant=options.variant,
        seed=options.seed,
        title=options.title,
        precision=options.precision,
        start=None if options.start is None else checkpoint.read(checkpoint.find(options.start)),
    )
    run = RunFolder(options.out)
    if options.minutes is not None:
        if processes.count > 1:
            raise ValueError("--minutes is for one process: give --epochs under torchrun")
        begun = run.config
        epochs = (
            begun["recipe"]["epochs"]
            if begun and isinstance(begun["recipe"], dict)
            else epochs_within(training, options.minutes, options.device)
        )
        training = replace(training, recipe=recipe.lasting(epochs))
        print(f"{epochs} epochs in about {options.minutes:g} minutes", file=sys.stderr)
    try:
        result = train_and_measure(training, run.path, options.exam, device=options.device)
    except Interrupted as stop:
        print(f"memorywrap train: {stop}", file=sys.stderr)
        return 130
    if result is not None:
        for name, found in result["measured"].items():
            print(f"{name}: {found['accuracy']:.2f} % of {found['images']} images")
        print(f"model: {run.checkpoint}")
    return 0


def _teach(options: argparse.Namespace) -> int:
    """Encoders for photographs come trained: what is learned is a head, from few pictures, in seconds."""
    from memorywrap.training.teaching import teach_from

    if options.variant != "memory-wrap":
        raise ValueError(f"--encoder {options.encoder}: expected the variant memory-wrap")
    unused = ("start", "epochs", "minutes", "set", "exam")
    given = [f"--{name}" for name in unused if getattr(options, name) not in (None, [])]
    defaults = {"recipe": ("fast",), "precision": ("auto", "float32"), "device": ("auto", "cpu")}
    given += [
        f"--{name}" for name, known in defaults.items() if getattr(options, name) not in known
    ]
    if given:
        raise ValueError(f"--encoder {options.encoder}: has no use for {', '.join(given)}")
    data = load_data(
        options.data,
        samples=options.samples,
        seed=options.seed,
        fetch=options.download,
        size=PHOTO[options.encoder].image_size,
    )
    title = options.title or Path(options.data.partition(":")[2]).name or data_title(options.data)
    run = RunFolder(options.out)
    run.prepare(
        {
            "recipe": "taught",
            "encoder": options.encoder,
            "data": data.version,
            "seed": options.seed,
            "title": title,
        },
        _CHECKPOINT,
    )
    taught = teach_from(data, title=title, encoder=options.encoder, seed=options.seed)
    made = run.checkpoint
    taught.classifier.save_pretrained(made)
    write_card(made)
    unseen = (taught.unseen == data.train.labels).float().mean()
    print(f"left out in turn: {100 * float(unseen):.2f} % of {len(taught.unseen)} images")
    for name, found in taught.classifier.config.measured.items():
        print(f"{name}: {found['accuracy']:.2f} % of {found['images']} images")
    print(f"model: {made}")
    return 0
