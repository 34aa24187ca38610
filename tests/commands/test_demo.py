"""`memorywrap demo` starts the page of the clone, wherever it is called."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memorywrap.commands import page
from memorywrap.commands.main import main

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_it_hands_its_arguments_to_the_page_and_to_no_other_app(tmp_path):
    (tmp_path / "app.py").write_text("raise SystemExit('a program of somebody else')")
    code = (
        "import sys; sys.path.append(sys.argv.pop(1)); "
        "from memorywrap.commands.main import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), "demo", "--port", "none"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "usage: python -m app" in done.stderr
    assert "--port: invalid int value: 'none'" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("missing", ["page", "gradio"])
def test_without_the_page_it_says_where_that_is(monkeypatch, capsys, tmp_path, missing):
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("it would be started"))
    if missing == "page":
        monkeypatch.setattr(page, "_CLONE", tmp_path)
    else:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert main(["demo"]) == 2
    error = capsys.readouterr().err
    assert f"the {missing} is not installed" in error or f"the page needs {missing}" in error
    assert "make demo" in error and error.count("\n") == 1
