"""The folder of a process: its own, swept while it runs, and gone when it ends, whatever way."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from app import temporary
from app.temporary import OwnFolder

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    own = OwnFolder(seconds=3600, most=1000)
    yield own
    own.close()


def file(folder: OwnFolder, name: str, *, age: float = 0, size: int = 100) -> Path:
    path = folder.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * size)
    for changed in (path, path.parent):
        os.utime(changed, (time.time() - age,) * 2)
    return path


def test_it_is_this_process_s_own_and_deleted_at_its_end(folder, tmp_path):
    assert folder.path.parent == tmp_path and stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert os.environ["GRADIO_TEMP_DIR"] == tempfile.gettempdir() == str(folder.path)
    file(folder, "a/b.png")
    folder.close()
    folder.close()  # twice does no harm
    assert list(tmp_path.iterdir()) == [] and os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)


def test_it_sweeps_what_is_old_broken_off_or_too_much(folder):
    old, new = file(folder, "a/old.png", age=3700), file(folder, "b/new.png")
    broken, arriving = file(folder, "tmp1", age=700), file(folder, "tmp2", age=60)
    folder.sweep()
    assert new.exists() and arriving.exists() and not old.exists() and not broken.exists()
    os.utime(old.parent, (time.time() - 60,) * 2)  # its own change was the deletion
    folder.sweep()
    assert not old.parent.exists() and new.parent.exists()
    many = [file(folder, f"c/{number}", age=100 - number) for number in range(10)]
    folder.sweep()  # 1,200 bytes where 1,000 may be
    assert [path.exists() for path in many] == [False, False, *[True] * 8]


def test_what_a_killed_process_left_is_deleted_by_the_next_and_nobody_else_s(tmp_path):
    code = (
        "from app.temporary import OwnFolder; import time\n"
        "own = OwnFolder(); (own.path / 'a').write_text('x'); print(own.path, flush=True)\n"
        "time.sleep(60)"
    )
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path)}

    def start() -> tuple[subprocess.Popen, Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        return process, Path(process.stdout.readline().strip())

    first, killed = start()
    second, running = start()
    try:
        assert killed.exists() and running.exists() and killed != running  # side by side
        first.send_signal(signal.SIGKILL)
        first.wait()
        third, newest = start()
        third.kill()
        third.wait()
        assert not killed.exists() and (running / "a").exists() and newest.exists()
    finally:
        first.kill()
        second.kill()
        second.wait()


def test_what_a_deletion_left_half_done_is_deleted_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    for name, files in (("half", ["a.png", ".in-use"]), ("nearly", [])):
        left = tmp_path / f"memory-wrap-{name}"
        left.mkdir(mode=0o700)
        for file in files:
            (left / file).write_bytes(b"x")
    inherits = tmp_path / "memory-wrap-setgid"
    inherits.mkdir()
    (inherits / ".in-use").write_bytes(b"")
    inherits.chmod(0o2700)  # as in a folder of a group
    OwnFolder().close()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_deleted_keeps_its_lock(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    left = tmp_path / "memory-wrap-left"
    (left / "busy").mkdir(parents=True)
    left.chmod(0o700)
    (left / ".in-use").write_bytes(b"")
    with monkeypatch.context() as patched:
        patched.setattr(temporary.shutil, "rmtree", lambda *_, **__: None)
        OwnFolder().close()
    assert (left / ".in-use").exists()  # by which the next one knows it
    OwnFolder().close()
    assert not left.exists()


def test_folders_of_others_stay_whatever_their_name(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    clone, elsewhere = tmp_path / "memory-wrap-demo", tmp_path / "documents"
    for folder in (clone, elsewhere):
        folder.mkdir(mode=0o700)
        (folder / "thesis.txt").write_text("x")
    (tmp_path / "memory-wrap-link").symlink_to(elsewhere)
    (elsewhere / ".in-use").write_text("")  # even one that looks like ours, behind a link
    OwnFolder().close()
    assert (clone / "thesis.txt").exists() and (elsewhere / "thesis.txt").exists()
