"""`python -m app` as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

REPOSITORY = Path(__file__).parent.parent.parent


def started(folder: Path) -> tuple[subprocess.Popen, str]:
    """The page in a process of its own, once it listens, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "--host", "127.0.0.1", "--port", port],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for line in process.stdout:
        if "Running on" in line:
            break
    return process, f"http://127.0.0.1:{port}"


@pytest.mark.slow
def test_stopped_while_it_prepares_the_memory_it_ends_without_a_crash(tmp_path):
    process, _ = started(tmp_path)
    try:
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "terminate called" not in rest
    assert process.returncode in (0, 130, -signal.SIGINT), rest


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_a_page_is_open_it_leaves_no_file(tmp_path, how):
    """A page that waits for an answer holds a connection that Gradio does not end in time."""
    process, url = started(tmp_path)
    try:
        files = {"files": ("a.png", b"not even a picture", "image/png")}
        assert httpx.post(f"{url}/gradio_api/upload", files=files, timeout=60).status_code == 200
        assert list(tmp_path.rglob("a.png"))
        with httpx.stream("GET", f"{url}/gradio_api/queue/data?session_hash=abc", timeout=60):
            process.send_signal(how)
            process.communicate(timeout=60)
    finally:
        process.kill()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_wrong_at_the_start_is_one_sentence(tmp_path):
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "app", "--host", "127.0.0.1", *arguments],
            cwd=REPOSITORY,
            env=os.environ | {"GRADIO_TEMP_DIR": str(tmp_path)} | variables,
            capture_output=True,
            text=True,
            timeout=120,
        )

    nobody = run(MEMORYWRAP_AUTH="secret")
    assert nobody.returncode == 2 and "name:password" in nobody.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        used = run("--port", port)
    assert used.returncode == 2 and f"port {port}" in used.stderr
    assert "Traceback" not in used.stderr
    for arguments, said in (
        (("--port", "99999"), "expected 1 to 65535"),
        (("--checkpoints", str(tmp_path / "none")), "there is no folder"),
    ):
        wrong = run(*arguments)
        assert wrong.returncode == 2 and said in wrong.stderr and "Loading" not in wrong.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_page_that_was_started_to_stay_outlives_its_terminal(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        process, url = started(tmp_path)
    finally:
        signal.signal(signal.SIGHUP, before)
    try:
        process.send_signal(signal.SIGHUP)
        time.sleep(3)  # in which it would close
        assert httpx.get(f"{url}/v1/models", timeout=60).status_code == 200
        assert process.poll() is None
        process.terminate()
        process.communicate(timeout=60)
    finally:
        process.kill()
