"""Who and what gets in and out: a layer in front of every route, Gradio's own among them.

Gradio brings some eighty routes, of which the page needs twenty; one fetches any address, others run
what the page has no use for. Here only those exist that are listed, a request has bounds before anything
reads it (`app.bodies`), and what goes out says what a browser may do with it.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hmac
import ipaddress
import json
import logging
import os
import re
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gradio.utils import get_upload_folder

from app import metrics
from app.bodies import App, Bodies, Message, Receive, Refused, Send
from app.uploads import NOT_UNDERSTOOD

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


def failure(error: Exception) -> Refused:
    """What is told to whoever asked for what failed."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refused(
            507, "The server has no room for pictures right now: please try again later."
        )
    if isinstance(error, (LookupError, TypeError, ValueError, AttributeError)):
        return Refused(400, NOT_UNDERSTOOD)
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
        self._bodies = Bodies(app)
        # address -> what is left, and since when
        self._buckets: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # there are no websockets here
        started, is_replaced, begun = False, False, time.monotonic()

        async def send_out(message: Message) -> None:
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

        async def send_on(message: Message) -> None:
            nonlocal is_replaced
            if is_replaced:
                return
            # Gradio lists what it expected, and repeats what it was sent.
            is_replaced = message.get("status") == 422
            if is_replaced:
                await _answer(send_out, Refused(400, NOT_UNDERSTOOD))
            else:
                await send_out(message)

        try:
            headers = {name.lower(): value for name, value in scope["headers"]}
            self._admit(scope, headers)
            scope = {**scope, "headers": _understood(scope["headers"])}
            if scope["method"] == "POST":
                await self._bodies(path_of(scope), _address(scope), scope, receive, send_on)
            elif headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
                raise Refused(400, "Only what is posted may have a body.")
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
            known = [method for method, paths in _ROUTES.items() if paths.fullmatch(path)]
            if known and _is_ours(path):
                raise Refused(
                    405,
                    f"This address answers {' and '.join(known)} alone.",
                    (b"allow", ", ".join(known).encode()),
                )
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
        left, since = self._buckets.pop(address, (_AT_ONCE, now))  # put back as the last
        left = min(_AT_ONCE, left + (now - since) * _PER_SECOND)
        if len(self._buckets) > _ADDRESSES:
            for known in list(self._buckets)[: _ADDRESSES // 2]:
                del self._buckets[known]
        self._buckets[address] = (left - 1 if left >= 1 else left, now)
        return left >= 1


def _address(scope: Message) -> str:
    """Where a request comes from; whoever comes through the same router comes from there. A household has
    2^64 addresses of IPv6, which are one."""
    address = (scope.get("client") or ("",))[0]
    with contextlib.suppress(ValueError):
        if ":" in address and "." not in address:
            return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False))
    return address


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
