"""Who and what gets in and out: a layer in front of every route, Gradio's own among them.

Gradio brings some eighty routes, of which the page needs twenty; one fetches any address, others run
what the page has no use for. Here only those exist that are listed, a request has bounds before anything
reads it, and what goes out says what a browser may do with it.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import hmac
import json
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from gradio.utils import get_upload_folder
from python_multipart.multipart import parse_options_header

from app import metrics
from memorywrap.images import MAX_BYTES

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)

ENDPOINTS = ("models", "classify", "explain", "whatif")
_NAMED = f"({'|'.join(ENDPOINTS)})"
_GRADIO = "/gradio_api"

# method -> paths that exist
_ROUTES = {
    "GET": re.compile(
        r"/|/v1/(models|memory(/\d{1,6})?|openapi\.json|docs)|/healthz|/metrics|/config|/theme\.css|/favicon\.ico"
        r"|/phone/[\w-]{20,24}(/classes)?|/robots\.txt|/manifest\.json|/(assets|static)/.*"
        rf"|{_GRADIO}/(info|openapi\.json|startup-events|theme\.css|app_id|file=.*"
        rf"|queue/(data|status)|upload_progress|call(/v2)?/{_NAMED}/\w+)"
    ),
    "POST": re.compile(
        r"/v1/(classify|explain|whatif)|/mcp|/phone(/[\w-]{20,24}(/fetch)?)?"
        rf"|{_GRADIO}/(upload|cancel|queue/join|run/predict|call(/v2)?/{_NAMED})/?"
    ),
}
_ROUTES["HEAD"] = _ROUTES["GET"]

# What is told to those who know no password: a container's own question, and Gradio's to itself.
_OPEN = ("/healthz", f"{_GRADIO}/startup-events")

_UPLOAD = MAX_BYTES + 1_000_000  # bytes of a request that carries files
_OTHER = 1_000_000  # of any other: settings, edits, a drawing
_PARTS = 20  # of a form
_ITEMS = 50_000  # lists, objects and their members in JSON, of which each takes a hundred times its bytes
_PAUSE, _WHOLE = 20, 120  # seconds between two pieces of a body, and for all of it
_UNFINISHED, _OF_ONE = 400, 300  # requests whose bodies are on their way: of all, of one address
# Requests of one address: a class behind one router is one address.
_PER_SECOND, _AT_ONCE = 1000, 5000
_ADDRESSES = 10_000  # that are remembered

_POLICY = (
    "default-src 'self'; "
    # Gradio's page has inline scripts, and makes functions of the scripts of its parts.
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; "
    # A Space is shown within the site that hosts it.
    "frame-ancestors 'self' https://huggingface.co https://*.huggingface.co https://*.hf.space"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Refused(Exception):
    """A request that goes no further: status, a sentence, and headers of its own."""

    def __init__(self, status: int, sentence: str, *headers: tuple[bytes, bytes]):
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers


def failure(error: Exception) -> Refused:
    """What is told to whoever asked for what failed."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refused(
            507, "The server has no room for pictures right now: please try again later."
        )
    if isinstance(error, (LookupError, TypeError, ValueError, AttributeError)):
        return Refused(400, "The request is not understood.")
    return Refused(500, "Something went wrong on the server: please try again.")


class Guard:
    """ASGI middleware, the outermost: see `app.gradio_patches`.

    Args:
        app: what it stands before.
        password: "name:password" that whoever asks has to know; $MEMORYWRAP_AUTH when not given, and
            nobody has to know anything where that is empty.
    """

    def __init__(self, app: App, password: str | None = None):
        self.app = app
        given = os.environ.get("MEMORYWRAP_AUTH", "") if password is None else password
        self._password = base64.b64encode(given.encode()) if given else b""
        self._unfinished: Counter[str] = Counter()  # by address
        # address -> what is left, and since when
        self._buckets: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # there are no websockets here
        started, begun = False, time.monotonic()

        async def send_on(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _counted(scope, message["status"], time.monotonic() - begun)
                kept = [
                    pair
                    for pair in message["headers"]
                    if not pair[0].lower().startswith(b"access-control-")
                ]
                message = {**message, "headers": [*kept, *_HEADERS]}
            await send(message)

        try:
            headers = {name.lower(): value for name, value in scope["headers"]}
            self._admit(scope, headers)
            scope = {**scope, "headers": _understood(scope["headers"])}
            if scope["method"] == "POST":
                await self._with_bounds(scope, headers, receive, send_on)
            else:
                await self.app(scope, receive, send_on)
        except Refused as refusal:
            metrics.REFUSED.labels(refusal.status).inc()
            if not started:
                await _answer(send_on, refusal)
        except Exception as error:
            # Gradio fails where a request makes no sense; it is told to nobody what that looks like inside.
            _log.warning("%s of %s failed: %s", scope["method"], _shown(scope), _shown_error(error))
            _log.debug("failed", exc_info=True)
            if not started:
                await _answer(send_on, failure(error))

    def _admit(self, scope: Message, headers: dict[bytes, bytes]) -> None:
        """Raises `Refused` for whoever does not get in."""
        if not self._in_time(_address(scope)):
            raise Refused(
                429,
                "Too many requests from this address: please wait a moment.",
                (b"retry-after", b"5"),
            )
        path = path_of(scope)
        routes = _ROUTES.get(scope["method"])
        if routes is None:
            raise Refused(405, "This method is not known here.")
        if not routes.fullmatch(path) or not _is_ours(path):
            raise Refused(404, "There is nothing here.")
        if scope["method"] == "POST" and _is_foreign(scope, headers):
            raise Refused(403, "Requests from other sites are not answered.")
        if (
            self._password
            and path not in _OPEN
            and not _knows(headers.get(b"authorization", b""), self._password)
        ):
            raise Refused(
                401,
                "Please give the name and the password of this page.",
                (b"www-authenticate", b'Basic realm="Memory Wrap", charset="UTF-8"'),
            )

    def _in_time(self, address: str) -> bool:
        now = time.monotonic()
        left, since = self._buckets.get(address, (_AT_ONCE, now))
        left = min(_AT_ONCE, left + (now - since) * _PER_SECOND)
        if len(self._buckets) > _ADDRESSES:
            for known in list(self._buckets)[: _ADDRESSES // 2]:
                del self._buckets[known]
        self._buckets[address] = (left - 1 if left >= 1 else left, now)
        return left >= 1

    async def _with_bounds(
        self, scope: Message, headers: dict[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        """Passes a request on whose body is read within bounds of size and time."""
        address = _address(scope)
        if self._unfinished.total() >= _UNFINISHED or self._unfinished[address] >= _OF_ONE:
            raise Refused(
                503,
                "Many people are uploading right now: please try again.",
                (b"retry-after", b"5"),
            )
        path = path_of(scope)
        is_upload = path.startswith(("/v1/", "/mcp", f"{_GRADIO}/upload"))
        kinds = [value for name, value in scope["headers"] if name.lower() == b"content-type"]
        if len(kinds) > 1:
            raise Refused(400, "A request has one content type.")
        is_json = not path.startswith(("/v1/", f"{_GRADIO}/upload"))
        body = _Body(receive, headers, is_upload=is_upload, is_json=is_json)
        self._unfinished[address] += 1

        def finish() -> None:
            self._unfinished[address] -= 1
            if not self._unfinished[address]:
                del self._unfinished[address]

        async def receive_on() -> Message:
            was_done = body.done
            try:
                return await body.receive()
            finally:
                if body.done and not was_done:
                    finish()

        try:
            await self.app(scope, receive_on, send)
        finally:
            if not body.done:
                finish()
            if body.refusal is not None:  # which the app may have taken for something else
                raise body.refusal


class _Body:
    """The body of a request as it comes in."""

    def __init__(
        self, receive: Receive, headers: dict[bytes, bytes], *, is_upload: bool, is_json: bool
    ):
        self._receive, self._is_json, self._items = receive, is_json, 0
        self.refusal: Refused | None = None
        self._most = _UPLOAD if is_upload else _OTHER
        self._size, self.done, self._begun = 0, False, time.monotonic()
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._most:
            raise self._too_large()
        _, options = parse_options_header(headers.get(b"content-type", b""))
        boundary = options.get(b"boundary", b"")
        self._boundary = b"--" + boundary if boundary else b""
        self._parts, self._tail = 0, b""

    async def receive(self) -> Message:
        if self.done:
            return await self._receive()
        left = self._begun + _WHOLE - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), min(_PAUSE, max(left, 0)))
        except TimeoutError:
            raise self._refuse(
                408, "The request took too long to arrive: please try again."
            ) from None
        self.done = not message.get("more_body", False)
        piece = message.get("body", b"")
        self._size += len(piece)
        if self._size > self._most:
            raise self._too_large()
        if self._is_json:
            self._items += sum(map(piece.count, (b"[", b"{", b",")))
            if self._items > _ITEMS:
                raise self._refuse(413, "The request has too many parts.")
        if self._boundary:
            seen = self._tail + piece
            self._parts += seen.count(self._boundary)
            # What is shorter than a boundary holds none, and may be the beginning of one.
            self._tail = seen[len(seen) - len(self._boundary) + 1 :] if piece else self._tail
            if self._parts > _PARTS + 1:  # one closes the last part
                raise self._refuse(413, f"A form may have {_PARTS} parts at most.")
        return message

    def _too_large(self) -> Refused:
        return self._refuse(
            413,
            "The file is over 10 MB: please upload a smaller one."
            if self._most == _UPLOAD
            else "The request is over 1 MB: please see the API page for what to send.",
        )

    def _refuse(self, status: int, sentence: str) -> Refused:
        self.done = True
        self.refusal = Refused(status, sentence)
        return self.refusal


def _address(scope: Message) -> str:
    """Where a request comes from; whoever comes through the same router comes from there."""
    return (scope.get("client") or ("",))[0]


def path_of(scope: Message) -> str:
    """What is asked for, without the path that the page hangs below."""
    return scope["path"].removeprefix(scope.get("root_path", "")) or "/"


def _is_ours(path: str) -> bool:
    """Whether a file that is asked for lies in the upload folder: no address is fetched."""
    _, is_file, name = path.partition(f"{_GRADIO}/file=")
    if not is_file:
        return True
    asked = Path(unquote(name))
    return asked.is_relative_to(get_upload_folder()) and ".." not in asked.parts


def _is_foreign(scope: Message, headers: dict[bytes, bytes]) -> bool:
    """Whether a page of another site asks. Programs name no site."""
    fetched = headers.get(b"sec-fetch-site")
    if fetched is not None:
        return fetched not in (b"same-origin", b"none")
    origin = headers.get(b"origin")
    if origin is None:
        return False
    hosts = (headers.get(b"host"), headers.get(b"x-forwarded-host"))
    return urlsplit(origin).netloc not in hosts


def _knows(authorization: bytes, password: bytes) -> bool:
    scheme, _, given = authorization.partition(b" ")
    return scheme.lower() == b"basic" and hmac.compare_digest(given.strip(), password)


def _understood(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Without ranges of a file that Gradio stumbles over: then the whole file is sent."""
    return [
        (name, value)
        for name, value in headers
        if name.lower() != b"range" or re.fullmatch(rb"bytes=\d+-\d*", value)
    ]


def _shown(scope: Message) -> str:
    """A path as it may stand in a log: no new line, no picture, no end."""
    return ascii(scope["path"][:80])


def _shown_error(error: Exception) -> str:
    return f"{type(error).__name__} {str(error)[:200]!a}"


# What is counted by name; of the rest, what kind of thing it is.
_COUNTED = re.compile(
    rf"/v1/({'|'.join(ENDPOINTS)}|memory|docs|openapi\.json)|/mcp|/healthz|/metrics|/"
    rf"|{_GRADIO}/(call(/v2)?/{_NAMED}|upload|queue/join)"
)
_KINDS = re.compile(
    rf"/(assets|static|v1/memory|phone)/|{_GRADIO}/(file|queue|upload_progress|call)"
)


def _counted(scope: Message, status: int, seconds: float) -> None:
    """Until an answer begins: some stay open."""
    path = path_of(scope)
    kind = _KINDS.match(path)
    route = path if _COUNTED.fullmatch(path) else kind[0] if kind else "other"
    metrics.REQUESTS.labels(route, status).inc()
    metrics.SECONDS.labels(route).observe(seconds)


async def _answer(send: Send, refusal: Refused) -> None:
    body = json.dumps({"detail": refusal.sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *refusal.headers,
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
