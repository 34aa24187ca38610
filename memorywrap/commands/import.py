"""`memorywrap import`: a checkpoint of the published training script as a checkpoint folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from memorywrap.checkpoints.card import write_card
from memorywrap.checkpoints.folder import CONFIG
from memorywrap.commands.shared import add_download
from memorywrap.data.sets import data_names, load_data
from memorywrap.imported import import_published


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("file", metavar="FILE.pt", help="what the published paper/train.py saved")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="the checkpoint folder")
    bank = parser.add_mutually_exclusive_group()
    bank.add_argument(
        "--run",
        dest="seed",
        type=int,
        metavar="SEED",
        help="seed of the run, one less than its file's number: the memory is drawn from the images that "
        "it was trained on",
    )
    bank.add_argument(
        "--data", metavar="NAME", help=f"where the memory is drawn from instead: {data_names()}"
    )
    parser.add_argument("--title", default="", help="what the page calls the model")
    add_download(parser)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    if options.seed is not None and options.seed < 0:
        raise ValueError(f"--run: expected 0 or more, received {options.seed}")
    out = Path(options.out)
    if (out / CONFIG).exists():
        raise ValueError(f"--out: {out} holds a checkpoint already")
    bank = None if options.data is None else load_data(options.data, fetch=options.download)
    classifier = import_published(
        options.file, run=options.seed, bank=bank, title=options.title, fetch=options.download
    )
    if bank is not None and not classifier.has_memory:
        raise ValueError("--data: this model (std) has no memory: leave it out")
    classifier.save_pretrained(out, half=False)
    write_card(out)
    print(f"model: {out}")
    return 0
