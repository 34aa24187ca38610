"""`memorywrap replicate`: train the rows of a table of the paper and print it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from memorywrap.checkpoints.config import VARIANTS
from memorywrap.commands.shared import add_download, add_machine, add_set, at_least, setting
from memorywrap.devices import use_threads
from memorywrap.encoders import ENCODERS, PHOTO
from memorywrap.training import replicate
from memorywrap.training.few_shot import READERS
from memorywrap.training.loop import Interrupted
from memorywrap.training.replicate import SEEDS
from memorywrap.training.tables import TABLES, has_encoder, rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("table", metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help="run folders, TABLE.md and TABLE.csv"
    )
    add_download(parser)
    parser.add_argument(
        "--seeds", type=at_least(1), default=SEEDS, metavar="N", help="runs per row"
    )
    parser.add_argument(
        "--samples", nargs="+", type=_size, metavar="N", help="only these rows: 1000 ... all"
    )
    parser.add_argument("--variants", nargs="+", choices=(*VARIANTS, *READERS))
    parser.add_argument(
        "--encoder",
        choices=tuple(one for one in ENCODERS if one not in PHOTO),
        help="only these rows; one that the table does not have: instead of the table's",
    )
    parser.add_argument("--recipe", choices=("fast", "paper"), help="instead of the table's")
    add_set(parser)
    parser.add_argument(
        "--print", action="store_true", help="train nothing: the table of the runs there are"
    )
    add_machine(parser)


def _size(text: str) -> int:
    """A size of training sets; 0 for "all"."""
    return 0 if text == "all" else at_least(1)(text)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    use_threads(options.threads)
    sizes = None
    if options.samples is not None:
        sizes = [None if size == 0 else size for size in options.samples]
    changed = {
        "recipe": options.recipe,
        "settings": [setting(text) for text in options.set],
    }
    encoder = options.encoder
    wanted = rows(
        options.table, variants=options.variants, samples=sizes, encoder=encoder, **changed
    )
    # Those not asked for now may have runs.
    whole = None if has_encoder(options.table, encoder) else encoder
    table = rows(options.table, encoder=whole, **changed)
    folder = Path(options.out)

    left_out: list[str] = []

    def write(*_: Any) -> None:
        table_so_far()

    def table_so_far() -> list[dict[str, Any]]:
        lines = replicate.results(table, folder)
        # Without any run, the files that are there may be of other settings, such as those of --set.
        if any(line["runs"] for line in lines):
            texts = {".md": replicate.markdown(lines), ".csv": replicate.as_csv(lines)}
            for suffix, text in texts.items():
                (folder / f"{options.table}{suffix}").write_text(text, encoding="utf-8")
        return lines

    if not options.print:
        try:
            left_out = replicate.replicate(
                wanted,
                folder,
                range(options.seeds),
                device=options.device,
                fetch=options.download,
                after=write,
            )
            for sentence in left_out:
                print(f"memorywrap replicate: {sentence}", file=sys.stderr)
        except Interrupted as stop:
            print(f"memorywrap replicate: {stop}", file=sys.stderr)
            return 130
    lines = table_so_far()
    print(replicate.markdown(replicate.results(wanted, folder)), end="")
    if not any(line["runs"] for line in lines):
        print(
            f"memorywrap replicate: {folder} has no finished run of {options.table} with these "
            "settings, so no table was written",
            file=sys.stderr,
        )
    return 1 if left_out else 0
