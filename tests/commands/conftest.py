"""What the tests of the commands share."""

from __future__ import annotations

import pytest

from memorywrap.commands import main as cli


@pytest.fixture
def run(tiny_checkpoint, capsys):
    """Runs a command with the tiny model: (exit code, standard output, standard error)."""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = cli.main([*arguments, "--checkpoint", str(tiny_checkpoint)])
        return code, *capsys.readouterr()

    return command
