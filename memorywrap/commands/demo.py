"""`memorywrap demo`: the page, from the clone that this package lies in."""

from __future__ import annotations

import argparse
import os

from memorywrap.commands.page import program


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own: what follows it goes to the page as it is."""


def run(options: argparse.Namespace) -> int:
    """Becomes the page."""
    command, environment = program("app", options.rest)
    os.execve(command[0], command, environment)
