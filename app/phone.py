"""Pictures from a phone: it opens an address that the visitor's page shows as a QR code, and what it takes is fetched
by that page, which teaches with it."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import segno
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.html import render, static
from app.own import LONGEST_NAME, MOST_CLASSES

_ADDRESS = re.compile(r"https?://[^\s\"<>]{1,400}")
_AWAY = 30.0  # seconds that the visitor's page may be silent
_PHONES = 300
_WAITING = 40  # pictures of one phone that were not fetched yet
_PICTURE = 75_000  # bytes
_OF_ALL = 100_000_000  # bytes of all that wait
_GONE = "The page on the other screen is closed, or shows another code: please scan it again."


@dataclass
class _Phone:
    """What is between a phone and the page that showed it the code."""

    seen: float
    classes: list[str] = field(default_factory=list)
    pictures: list[tuple[str, bytes]] = field(default_factory=list)


class Phones:
    """All of them, by keys that nobody can guess. Used by one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._phones: dict[str, _Phone] = {}

    def open(self) -> str | None:
        """A new key; None where there is no room."""
        self.purge()
        if len(self._phones) >= _PHONES:
            return None
        key = secrets.token_urlsafe(16)
        self._phones[key] = _Phone(self._clock())
        return key

    def purge(self) -> None:
        """Forget those whose page is gone, and their pictures."""
        now = self._clock()
        for key in [key for key, one in self._phones.items() if now - one.seen > _AWAY]:
            del self._phones[key]

    def get(self, key: str) -> _Phone | None:
        """The phone of a key, while the page that showed it is there."""
        self.purge()
        return self._phones.get(key)

    @property
    def size(self) -> int:
        """Bytes of all pictures that wait."""
        return sum(len(file) for one in self._phones.values() for _, file in one.pictures)

    def fetch(self, key: str, classes: list[str]) -> list[tuple[str, bytes]] | None:
        """What came since the page asked last; the page tells its classes each time."""
        one = self.get(key)
        if one is None:
            return None
        found, one.pictures = one.pictures, []
        one.seen, one.classes = self._clock(), classes
        return found


def make() -> Starlette:
    """The routes below /phone."""
    phones = Phones()

    async def open_(request: Request) -> Response:
        address = await _object(request, "address", str)
        if address is None or not _ADDRESS.fullmatch(address):
            return _refused(400, "The address of the page is expected.")
        key = phones.open()
        if key is None:
            return _refused(503, "Many phones are in use right now: please try again in a minute.")
        return JSONResponse({"key": key, "code": await run_in_threadpool(_code, address + key)})

    async def page(request: Request) -> Response:
        return Response(render("phone", script=static("media.js")), media_type="text/html")

    async def classes(request: Request) -> Response:
        one = phones.get(request.path_params["key"])
        return _refused(404, _GONE) if one is None else JSONResponse({"classes": one.classes})

    async def take(request: Request) -> Response:
        one = phones.get(request.path_params["key"])
        if one is None:
            return _refused(404, _GONE)
        name, file = request.query_params.get("class", ""), await request.body()
        if name not in one.classes or not file.startswith(b"\xff\xd8") or len(file) > _PICTURE:
            return _refused(400, "A small JPEG file of one of the classes is expected.")
        if len(one.pictures) >= _WAITING or phones.size > _OF_ALL:
            return _refused(503, "The other screen does not keep up: please wait a moment.")
        one.pictures.append((name, file))
        # Where the page is gone by then, nobody may ask for anything any more.
        asyncio.get_running_loop().call_later(_AWAY + 1, phones.purge)
        return JSONResponse({"taken": True})

    async def fetch(request: Request) -> Response:
        names = await _object(request, "classes", list)
        if names is None or len(names) > MOST_CLASSES:
            return _refused(400, "The names of the classes are expected.")
        if not all(isinstance(name, str) and len(name) <= LONGEST_NAME for name in names):
            return _refused(400, "The names of the classes are expected.")
        found = phones.fetch(request.path_params["key"], names)
        if found is None:
            return _refused(404, _GONE)
        form = b"".join(
            len(part).to_bytes(4, "big") + part
            for name, file in found
            for part in (name.encode(), file)
        )
        return Response(form, media_type="application/octet-stream")

    return Starlette(
        routes=[
            Route("/phone", open_, methods=["POST"]),
            Route("/phone/{key}", page),
            Route("/phone/{key}", take, methods=["POST"]),
            Route("/phone/{key}/classes", classes),
            Route("/phone/{key}/fetch", fetch, methods=["POST"]),
        ]
    )


def _code(address: str) -> str:
    """An address as a QR code, SVG."""
    made = segno.make(address, error="m", micro=False)
    return made.svg_inline(scale=5, border=3, dark="#000", light="#fff")


async def _object(request: Request, name: str, kind: type) -> Any:
    """A member of the JSON object that came; None where it is none."""
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError):
        return None
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, kind) else None


def _refused(status: int, sentence: str) -> Response:
    return JSONResponse({"detail": sentence}, status)
