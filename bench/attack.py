"""What bad files and bad requests do to the page: python -m bench.attack [--count 20000] [--out docs/security.md]

Starts the page on this machine and sends it what `bench.hostile` makes, while another visitor asks about an
ordinary picture again and again; then requests that make no sense, to every route. Each has to be answered
in a sentence, in time, without a trace in the log; and no picture may show what lay in memory before it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import platform
import random
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from jinja2 import Template
from PIL import Image

from app.cage import Cage
from bench import hostile
from bench.started import Page, memory_of, started
from memorywrap.decoding import ImageError
from memorywrap.devices import available_cores

_AT_ONCE = available_cores()  # senders: more would wait for each other
_ANSWERED = (200, 400, 413)  # what a bad file may be answered with
_REFUSED = (*_ANSWERED, 202, 401, 403, 404, 405, 408, 411, 414, 422, 429, 431, 501, 503, 505)
_SECRETS = (b"\xa7", b"\x5c")  # what other visitors' pictures are made of
_ROUTES = (
    "/", "/v1/models", "/v1/classify", "/v1/explain", "/v1/whatif", "/v1/docs", "/v1/openapi.json", "/mcp",
    "/healthz", "/metrics", "/config", "/gradio_api/info", "/gradio_api/upload", "/gradio_api/queue/join",
    "/gradio_api/queue/data", "/gradio_api/call/classify", "/gradio_api/call/explain", "/gradio_api/cancel",
    "/gradio_api/call/whatif", "/gradio_api/run/predict", "/gradio_api/file=/etc/passwd", "/assets/a.js",
    "/gradio_api/heartbeat/a", "/gradio_api/file=http://127.0.0.1/", "/proxy=http://127.0.0.1/", "/login",
    "/gradio_api/component_server", "/gradio_api/process_recording", "/gradio_api/stream/a/b/c", "/unknown",
    "/v1/memory", "/v1/memory/0", "/v1/memory/-1", "/phone", "/phone/a", "/phone/a/classes", "/phone/a/fetch",
)  # fmt: skip


@dataclass
class Row:
    """What came of one kind of thing."""

    tried: int = 0
    answered: int = 0
    refused: int = 0
    wrong: int = 0
    leaks: int = 0
    seconds: float = 0.0

    def add(self, status: int, seconds: float, allowed: tuple[int, ...]) -> None:
        """Count one answer; status 0 is a connection that was closed."""
        self.tried += 1
        self.answered += status in (200, 202)
        self.refused += status not in (200, 202) and status in allowed
        self.wrong += status not in allowed
        self.seconds = max(self.seconds, seconds)


@dataclass
class Result:
    """All that was found."""

    files: dict[str, Row] = field(default_factory=lambda: defaultdict(Row))
    requests: dict[str, Row] = field(default_factory=lambda: defaultdict(Row))
    waits: list[float] = field(default_factory=list)
    calm: list[float] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    tracebacks: int = 0
    processor: str = f"{available_cores()} cores, {platform.machine()}"


def main() -> None:
    """Reads the arguments, attacks, and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="files (default: 20,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a Markdown file to write")
    parser.add_argument("--port", type=int, default=7991)
    options = parser.parse_args()
    result = Result()
    look_for_leaks(options.count, options.seed, result)
    with tempfile.TemporaryFile() as log:
        with started(options.port, log) as page:
            attack(page, options.count, options.seed, result)
        log.seek(0)
        result.tracebacks = log.read().count(b"Traceback")
    for (what, status), times in sorted(result.statuses.items()):
        print(f"{what}: {status}, {times} times")
    text = report(result)
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


def look_for_leaks(count: int, seed: int, result: Result) -> None:
    """Decodes every file in the process that decoded another visitor's picture just before, and again after
    another picture of another: what it shows must be the same.

    Args:
        count: of files.
        seed: of the chance that makes them.
        result: is added to.
    """
    cage, secrets = Cage(1), [_picture_of(value) for value in _SECRETS]
    for one in hostile.files(count, seed):
        shown: set[bytes] = set()
        for secret in secrets:
            cage.decoded(secret)
            # Refused, perhaps at one time and not at the other: some take nearly too long.
            with contextlib.suppress(ImageError):
                shown.add(cage.decoded(one.data).tobytes())
        result.files[one.kind].leaks += len(shown) > 1


def _picture_of(value: bytes) -> bytes:
    """What another visitor sent: a picture of one byte alone."""
    file = io.BytesIO()
    Image.frombytes("RGB", (300, 300), value * (3 * 300 * 300)).save(file, "BMP")
    return file.getvalue()


def attack(page: Page, count: int, seed: int, result: Result) -> None:
    """Sends files, then requests, to the page.

    Args:
        page: the page.
        count: of files; a tenth as many requests of each kind.
        seed: of the chance that makes them.
        result: is added to.
    """
    result.memory["before"] = page.memory()
    watching = threading.Event()
    visitor = threading.Thread(target=_visit, args=(page, watching, result))
    good = hostile.picture(random.Random(0), "PNG")

    def send_file(client: httpx.Client, one: hostile.Hostile) -> tuple[str, int]:
        endpoint = "classify" if one.name == "picture.png" else "whatif"
        if endpoint == "classify":
            answer = client.post("/v1/classify", content=one.data)
        else:
            answer = client.post(
                "/v1/whatif", files={"image": (one.name, one.data)}, data={"edits": "[]"}
            )
        return one.kind, _outcome(answer)

    def send_payload(client: httpx.Client, payload: tuple[str, bytes]) -> tuple[str, int]:
        path, body = payload
        if path.startswith("/v1/"):
            answer = client.post(
                path, files={"image": ("a.png", good)}, data={"edits": body, "crop": body, "model": body}
            )  # fmt: skip
        else:
            accept = {
                "Accept": "application/json, text/event-stream",
                "Content-Type": "application/json",
            }
            answer = client.post(path, content=body, headers=accept)
        return "payloads of the endpoints", _outcome(answer)

    _visit_for(page, 3.0, result.calm)
    visitor.start()
    most, stop = [0.0], threading.Event()
    sampling = threading.Thread(target=_sample, args=(page, most, stop))
    sampling.start()
    _send(page, hostile.files(count, seed), send_file, result.files, _ANSWERED, result.statuses)
    payloads = _payloads(count // 10, seed)
    _send(page, payloads, send_payload, result.requests, _REFUSED, result.statuses)
    for number in range(count // 10):
        begun = time.monotonic()
        status = _raw(page, _request(random.Random(f"{seed} {number}")))
        taken = time.monotonic() - begun
        result.requests["raw HTTP"].add(status, taken, (*_REFUSED, 0))
        result.statuses["raw HTTP", status] += 1
    watching.set()
    stop.set()
    visitor.join()
    sampling.join()
    result.memory |= {"after": page.memory(), "most": page.memory("VmHWM"), "decoder": most[0]}


def _send(
    page: Page, what: Iterable[Any], send: Any, rows: dict[str, Row], allowed: tuple[int, ...],
    statuses: Counter[tuple[str, int]],
) -> None:  # fmt: skip
    lock, waiting = threading.Lock(), iter(what)

    def sender() -> None:
        with httpx.Client(base_url=page.url, timeout=60) as client:
            while True:
                with lock:
                    one = next(waiting, None)
                if one is None:
                    return
                begun = time.monotonic()
                kind, status = send(client, one)
                with lock:
                    rows[kind].add(status, time.monotonic() - begun, allowed)
                    statuses[kind, status] += 1

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in [pool.submit(sender) for _ in range(_AT_ONCE)]:
            done.result()


def _outcome(answer: httpx.Response) -> int:
    """The status of an answer; less than zero for a refusal that says nothing in a sentence."""
    if answer.status_code < 400:
        return answer.status_code
    try:
        told = answer.json()
        said = told["error"]["message"] if "error" in told else told["detail"]
    except (ValueError, KeyError, TypeError):
        said = None
    return answer.status_code if isinstance(said, str) and said else -answer.status_code


def _visit(page: Page, done: threading.Event, result: Result) -> None:
    while not done.is_set():
        _visit_for(page, 1.0, result.waits)


def _visit_for(page: Page, seconds: float, waits: list[float]) -> None:
    """Somebody who asks about a picture again and again, and is answered."""
    picture = io.BytesIO()
    Image.effect_noise((64, 64), 60).save(picture, "PNG")
    end = time.monotonic() + seconds
    with httpx.Client(base_url=page.url, timeout=60) as client:
        while time.monotonic() < end:
            begun = time.monotonic()
            client.post("/v1/classify", content=picture.getvalue()).raise_for_status()
            waits.append(time.monotonic() - begun)
            time.sleep(0.05)


def _sample(page: Page, most: list[float], stop: threading.Event) -> None:
    """The most memory that a decoder has."""
    while not stop.wait(0.05):
        most[0] = max([most[0], *(memory_of(one, "VmHWM") for one in page.decoders())])


def _payloads(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    paths = (
        "/v1/classify", "/v1/whatif", "/v1/explain", "/mcp", "/gradio_api/call/classify",
        "/gradio_api/call/whatif", "/gradio_api/call/explain", "/gradio_api/queue/join", "/gradio_api/cancel",
        "/phone", "/phone/a?class=a", "/phone/a/fetch",
    )  # fmt: skip
    for number, path in zip(range(count), itertools.cycle(paths), strict=False):
        chance = random.Random(f"payload {seed} {number}")
        body: Any = nonsense(chance)
        if path == "/mcp":
            name = chance.choice(["classify", "explain", "whatif", "list_models", nonsense(chance)])
            body = {"jsonrpc": "2.0", "id": nonsense(chance), "method": "tools/call",
                    "params": {"name": name, "arguments": nonsense(chance)}}  # fmt: skip
        elif path.startswith("/gradio_api/call"):
            body = {"data": [nonsense(chance) for _ in range(chance.randrange(5))]}
        elif path.startswith("/phone"):
            body = {"address": nonsense(chance), "classes": nonsense(chance)}
        elif "queue" in path:
            body = {
                "data": nonsense(chance),
                "fn_index": nonsense(chance),
                "session_hash": nonsense(chance),
            }
        text = json.dumps(body).encode()
        if chance.random() < 0.1:
            text = text[: chance.randrange(len(text) + 1)]
        yield path, text


def nonsense(chance: random.Random, depth: int = 0) -> Any:
    """A value of any type that JSON has, some of them with names that endpoints know."""
    simple: list[Any] = [None, True, 0, -1, 2**63, 1e308, float("nan"), "", "digits", "\0\n\u202e", "x" * 1000, "../a",
              "http://127.0.0.1/", "data:image/png;base64,AAAA", 0.5, [], {}]  # fmt: skip
    if depth > 3 or chance.random() < 0.5:
        return chance.choice(simple)
    if chance.random() < 0.5:
        return [nonsense(chance, depth + 1) for _ in range(chance.randrange(6))]
    names = ("remove", "restore", "only_class", "no_class", "add", "redraw", "image", "label", "path", "url",
             "meta", "_type", "data", "a", "__class__")  # fmt: skip
    return {chance.choice(names): nonsense(chance, depth + 1) for _ in range(chance.randrange(4))}


def _request(chance: random.Random) -> bytes:
    """The bytes of a request, most of them wrong."""
    method = chance.choice(
        ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "\0"]
    )
    path = chance.choice(_ROUTES) + chance.choice(
        ["", "?a=" + "b" * 3000, "/..%2f..%2f", "%00", "?crop=[", "//"]
    )
    body = chance.choice([b"", b"{}", b"[" * 1000, b"\xff" * 100, chance.randbytes(50)])
    headers = [chance.choice(extra) for extra in (
        (f"Content-Length: {len(body)}", "Content-Length: -1", "Content-Length: 99999999999", "Content-Length: a",
         "Transfer-Encoding: chunked", f"Content-Length: {len(body)}\r\nContent-Length: 5"),
        ("Content-Type: application/json", "Content-Type: multipart/form-data; boundary=", "Content-Type: \xff",
         "Content-Type: multipart/form-data; boundary=a", "Content-Type: image/png"),
        ("X: y", "Range: bytes=0-1,2-3", "Range: bytes=-1", "Origin: null", "Authorization: Basic %%%",
         "X-Forwarded-For: 1.2.3.4\tevil", "Host: evil.host", "Cookie: " + "a=b;" * 2000, "Expect: 100-continue"),
    )]  # fmt: skip
    version = chance.choice(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/9", ""])
    text = f"{method} {path} {version}\r\nHost: 127.0.0.1\r\n" + "\r\n".join(headers) + "\r\n"
    whole = text.encode("latin-1") + b"Connection: close\r\n\r\n" + body
    return whole if chance.random() < 0.9 else whole[: chance.randrange(1, len(whole))]


def _raw(page: Page, data: bytes) -> int:
    """The status of the answer to bytes; 0 where there is none, -1 where it does not come."""
    host, port = page.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(100)
            while answer.startswith(b"HTTP/1.1 100 "):  # go on, to what expects that
                answer = answer.partition(b"\r\n\r\n")[2] or connection.recv(100)
        except TimeoutError:
            return -1
        except OSError:
            return 0
    parts = answer.split()
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def report(result: Result) -> str:
    """What was found, as Markdown."""
    template = Template(
        Path(__file__).with_name("security.md.jinja").read_text(encoding="utf-8"),
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    rows = [*result.files.values(), *result.requests.values()]
    return template.render(
        result=result,
        tried=sum(row.tried for row in rows),
        wrong=sum(row.wrong for row in rows),
        leaks=sum(row.leaks for row in rows),
        slowest=max(row.seconds for row in rows),
        calm=statistics.median(result.calm),
        waited=statistics.quantiles(result.waits, n=100),
        longest=max(result.waits),
    )


if __name__ == "__main__":
    main()
