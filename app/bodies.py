"""The bodies of requests, within bounds of size, number and time, whoever reads them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from python_multipart.multipart import parse_options_header

from memorywrap.images import MAX_BYTES

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_UPLOAD = MAX_BYTES + 1_000_000  # bytes of a request that carries files
_OTHER = 1_000_000  # of any other: settings, edits, a drawing
_PARTS = 20  # of a form
_ITEMS = 50_000  # lists, objects and their members in JSON, of which each takes a hundred times its bytes
_PAUSE, _WHOLE = 20, 120  # seconds between two pieces of a body, and for all of it
_UNFINISHED, _OF_ONE = 400, 300  # requests whose bodies are on their way: of all, of one address
# Bytes of bodies that are kept in memory until their answer begins: of all, of one address.
_HELD, _HELD_OF_ONE = 300_000_000, 200_000_000
_MANY = "Many people are uploading right now: please try again."
_LATER = (b"retry-after", b"5")


class Refused(Exception):
    """A request that goes no further: status, a sentence, and headers of its own."""

    def __init__(self, status: int, sentence: str, *headers: tuple[bytes, bytes]):
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers


class Bodies:
    """Passes requests on whose bodies are read within bounds.

    Args:
        app: what reads them.
    """

    def __init__(self, app: App):
        self.app = app
        # By address: requests whose bodies are on their way, and the bytes of those without an answer.
        self._unfinished: Counter[str] = Counter()
        self._held: Counter[str] = Counter()

    async def __call__(
        self, path: str, address: str, scope: Message, receive: Receive, send: Send
    ) -> None:
        """Passes a request on.

        Args:
            path: what it asks for.
            address: where it comes from.
            scope, receive, send: of ASGI.

        Raises:
            Refused: out of bounds, and no answer has begun unless the app began one.
        """
        if (
            self._unfinished.total() >= _UNFINISHED
            or self._unfinished[address] >= _OF_ONE
            or self._is_full(address)
        ):
            raise Refused(503, _MANY, _LATER)
        is_upload = path.startswith(("/v1/", "/mcp", "/gradio_api/upload"))
        kinds = [value for name, value in scope["headers"] if name.lower() == b"content-type"]
        if len(kinds) > 1:
            raise Refused(400, "A request has one content type.")
        is_json = not path.startswith(("/v1/", "/gradio_api/upload"))
        headers = {name.lower(): value for name, value in scope["headers"]}
        body = _Body(receive, headers, is_upload=is_upload, is_json=is_json)
        is_held = path.startswith(("/v1/", "/mcp"))  # what Gradio is sent is written to a file
        held = 0
        self._unfinished[address] += 1

        async def receive_on() -> Message:
            nonlocal held
            was_done, size = body.done, body.size
            try:
                message = await body.receive()
                if is_held and not was_done:
                    held += body.size - size
                    self._held[address] += body.size - size
                    if self._is_full(address):  # those that were let in together
                        raise body.refuse(503, _MANY, _LATER)
                return message
            finally:
                if body.done and not was_done:
                    _less(self._unfinished, address, 1)

        async def send_on(message: Message) -> None:
            nonlocal held
            _less(self._held, address, held)
            held = 0
            await send(message)

        try:
            await self.app(scope, receive_on, send_on)
        finally:
            _less(self._held, address, held)
            if not body.done:
                _less(self._unfinished, address, 1)
            if body.refusal is not None:  # which the app may have taken for something else
                raise body.refusal

    def _is_full(self, address: str) -> bool:
        """Whether the bodies in memory are as many bytes as may be."""
        return self._held.total() >= _HELD or self._held[address] >= _HELD_OF_ONE


class _Body:
    """The body of a request as it comes in."""

    def __init__(
        self, receive: Receive, headers: dict[bytes, bytes], *, is_upload: bool, is_json: bool
    ):
        self._receive, self._is_json, self._items = receive, is_json, 0
        self.refusal: Refused | None = None
        self._most = _UPLOAD if is_upload else _OTHER
        self.size, self.done, self._begun = 0, False, time.monotonic()
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._most:
            raise self._too_large()
        _, options = parse_options_header(headers.get(b"content-type", b""))
        kind = headers.get(b"content-type", b"").lstrip().lower()
        boundary = options.get(b"boundary", b"")
        if kind.startswith(b"multipart/") and not boundary:
            raise self.refuse(400, "The form names no boundary between its parts.")
        self._boundary = b"--" + boundary if boundary else b""
        self._parts, self._tail = 0, b""

    async def receive(self) -> Message:
        if self.done:
            return await self._receive()
        left = self._begun + _WHOLE - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), min(_PAUSE, max(left, 0)))
        except TimeoutError:
            raise self.refuse(
                408, "The request took too long to arrive: please try again."
            ) from None
        self.done = not message.get("more_body", False)
        piece = message.get("body", b"")
        self.size += len(piece)
        if self.size > self._most:
            raise self._too_large()
        if self._is_json:
            self._items += sum(map(piece.count, (b"[", b"{", b",")))
            if self._items > _ITEMS:
                raise self.refuse(413, "The request has too many parts.")
        if self._boundary:
            seen = self._tail + piece
            self._parts += seen.count(self._boundary)
            # What is shorter than a boundary holds none, and may be the beginning of one.
            self._tail = seen[len(seen) - len(self._boundary) + 1 :] if piece else self._tail
            if self._parts > _PARTS + 1:  # one closes the last part
                raise self.refuse(413, f"A form may have {_PARTS} parts at most.")
        return message

    def _too_large(self) -> Refused:
        return self.refuse(
            413,
            "The file is over 10 MB: please upload a smaller one."
            if self._most == _UPLOAD
            else "The request is over 1 MB: please see the API page for what to send.",
        )

    def refuse(self, status: int, sentence: str, *headers: tuple[bytes, bytes]) -> Refused:
        """Read no further; the refusal is to be raised."""
        self.done = True
        self.refusal = Refused(status, sentence, *headers)
        return self.refusal


def _less(counted: Counter[str], address: str, by: int) -> None:
    """Count down, and forget who is at zero."""
    counted[address] -= by
    if counted[address] <= 0:
        del counted[address]
