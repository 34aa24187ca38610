"""How long the page takes: starts it, sends it a small picture, prints milliseconds as JSON.

`memorywrap bench --http` runs this: python -m app.timing CHECKPOINT [--repeats N]
"""

from __future__ import annotations

import argparse
import io
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx  # comes with Gradio, whose own client adds waits of some 0.1 s to each call
from PIL import Image

_START_LIMIT = 120  # seconds that the page may take to start
_SETTLING = 10  # seconds in which a page that has started begins the memory's paths


def main() -> int:
    """Reads the arguments and prints; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m app.timing")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint folder")
    parser.add_argument("--repeats", type=int, default=30, metavar="N", help="(default: 30)")
    options = parser.parse_args()
    try:
        print(json.dumps(time_page(options.checkpoint.resolve(), repeats=options.repeats)))
    except (ValueError, httpx.HTTPError) as error:
        print(f"app.timing: {error}", file=sys.stderr)
        return 2
    return 0


def time_page(checkpoint: Path, *, repeats: int = 30) -> dict[str, list[float]]:
    """Start the page in a process of its own and time its answers to a picture of 32 x 32 pixels.

    Args:
        checkpoint: a checkpoint folder.
        repeats: how many answers are timed.

    Returns:
        Milliseconds of every run, by what was run.

    Raises:
        ValueError: the page does not start, or does not answer.
    """
    file = io.BytesIO()
    with Image.open(min((Path(__file__).parent / "examples").glob("*.png"))) as example:
        example.resize((32, 32)).save(file, "PNG")
    picture = file.getvalue()
    port = _free_port()
    command = [sys.executable, "-m", "app", "--port", str(port)]
    command += ["--checkpoints", str(checkpoint.parent)]
    started = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(server, port)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/gradio_api", timeout=60) as client:
            _ask(client, picture, checkpoint.name)
            first = time.perf_counter() - started
            time.sleep(_SETTLING)
            asked: dict[str, list[float]] = {}
            for what, edits in (
                ("classification through HTTP, upload included", None),
                ("what if through HTTP, upload included", [{"remove": 0}]),
            ):
                times = asked.setdefault(what, [])
                for _ in range(repeats):
                    begun = time.perf_counter()
                    _ask(client, picture, checkpoint.name, edits)
                    times.append(1000 * (time.perf_counter() - begun))
    finally:
        server.terminate()
        server.wait()
    return {"page, from start to first answer": [1000 * first], **asked}


def _ask(client: httpx.Client, picture: bytes, model: str, edits: Any = None) -> None:
    """/classify or, with edits, /whatif."""
    endpoint = "classify" if edits is None else "whatif"
    files = {"files": ("image.png", picture, "image/png")}
    path = client.post("/upload", files=files).raise_for_status().json()[0]
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, model]
    data += [] if edits is None else [edits]
    called = client.post(f"/call/{endpoint}", json={"data": data}).raise_for_status()
    answer = client.get(f"/call/{endpoint}/{called.json()['event_id']}")
    if "event: complete" not in answer.text:
        raise ValueError(f"the page did not answer: {answer.text.strip()}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_for(server: subprocess.Popen, port: int) -> None:
    limit = time.monotonic() + _START_LIMIT
    while time.monotonic() < limit and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise ValueError(f"the page did not start within {_START_LIMIT} s: try python -m app")


if __name__ == "__main__":
    sys.exit(main())
