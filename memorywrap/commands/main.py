"""The command `memorywrap`: finds the command that was named, and says in one sentence what failed.

Each command is a module beside this one, with `add_arguments(parser)` and `run(options)`: it parses and
prints, the library computes. It is imported when it is named, so that the list of commands is there
at once. Bad input ends with one sentence on standard error and exit code 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "classify": "predict images, one JSON line each",
    "explain": "write the figure, the maps and the JSON of images",
    "whatif": "which memory samples would change the answer",
    "train": "train a model in a run folder",
    "import": "make a checkpoint folder of what the paper's published script saved",
    "evaluate": "measure a model on a data set",
    "gauge": "teach a model how likely its answers are right",
    "finder": "teach a model of digits where in a photograph to look",
    "replicate": "train the rows of a table and print it",
    "bench": "time a model on this machine",
    "demo": "start the page, as python -m app",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="memorywrap", description="Image classifiers that show their evidence."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in COMMANDS.items():
        # The page has a --help of its own.
        command = commands.add_parser(name, help=what, add_help=name != "demo")
        if name in given[:1]:
            module = import_module(f"memorywrap.commands.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    options, rest = parser.parse_known_args(given)
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
        print(f"memorywrap {options.command}: {_sentence(error)}", file=sys.stderr)
        return 2


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
