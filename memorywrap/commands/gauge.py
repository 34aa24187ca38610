"""`memorywrap gauge`: teach a model how likely its answers are right."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from memorywrap import loading
from memorywrap.checkpoints import folder as checkpoint
from memorywrap.checkpoints.card import write_card
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.commands.shared import add_download, add_machine
from memorywrap.data.sets import data_set, load_data, load_test
from memorywrap.devices import use_threads
from memorywrap.images import ImageError, read_image
from memorywrap.measures import trust_report
from memorywrap.measures.reports import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("--checkpoint", required=True, metavar="FOLDER", help="a local folder")
    parser.add_argument(
        "--data", required=True, metavar="NAME", help="images it did not learn from: half to fit on"
    )
    parser.add_argument(
        "--exam",
        action="append",
        default=[],
        metavar="NAME",
        help="other such images, to compare on only",
    )
    parser.add_argument(
        "--unlike",
        action="append",
        default=[],
        metavar="FOLDER",
        help="pictures of none of its classes, to measure doubt on only",
    )
    add_download(parser)
    parser.add_argument("--out", metavar="FOLDER", help="also write trust.md, .json and .png there")
    parser.add_argument("--seed", type=int, default=0, help="of the halves")
    add_machine(parser)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    use_threads(options.threads)
    if not Path(options.checkpoint).is_dir():
        raise ValueError(f"there is no checkpoint folder {options.checkpoint} to write into")
    folder = checkpoint.find(options.checkpoint)
    if options.data in options.exam:
        raise ValueError("--exam: expected other images than those of --data")
    classifier = loading.load_classifier(folder, device=options.device, fetch=options.download)
    if classifier.frozen.has_cells:
        raise ValueError(
            "a taught model has no trust gauge to fit: what is unlike everything known it tells by itself"
        )
    sets = {
        name: load_test(
            name,
            classifier.config.classes,
            fetch=options.download,
            size=classifier.config.image_size,
        )[1]
        for name in (options.data, *options.exam)
    }
    held_out = sets.pop(options.data)
    record = data_set(options.data)
    # What is rendered makes as many images as are asked for.
    samples = trust_report.LEARNED if record.rendered else None
    known = None
    if record.strangers:
        known = load_data(
            options.data, samples=samples, test=False, size=classifier.config.image_size
        ).train.images
    gauge, report = trust_report.fit_gauge(
        classifier,
        held_out,
        sets,
        known=known,
        strangers=record.strangers,
        mosaics=record.mosaics,
        in_scenes=record.in_scenes,
        unlike={Path(folder).name: _pictures(classifier, folder) for folder in options.unlike},
        name=options.data,
        seed=options.seed,
    )
    text = trust_report.markdown(report)
    if options.out is not None:
        write_report(options.out, "trust", report, text, trust_report.draw(report))
    print(text)
    better = trust_report.is_better(report)
    classifier.config = replace(classifier.config, trust=gauge.to_dict() if better else None)
    classifier.save_pretrained(folder)
    write_card(folder)
    if better:
        print(f"{folder} now says with each answer how likely it is right")
    else:
        print(f"left out of {folder}: it does not judge better than plain confidence")
    return 0


def _pictures(classifier: MemoryWrapClassifier, folder: str) -> Tensor:
    """What the model sees of the pictures in a folder and those below it."""
    found = []
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        try:
            found.append(classifier.input(read_image(path)))
        except ImageError:  # a list, a licence
            continue
    if not found:
        raise ValueError(f"--unlike: there is no picture in {folder}")
    return torch.stack(found)
