"""The doors beside the page: plain HTTP below /v1, the Model Context Protocol at /mcp, and phones at /phone."""

from __future__ import annotations

from typing import Any

from app import phone, tools, v1
from app.guard import path_of
from app.models import Models
from app.threads import Threads

# Requests in work at once, those that are explained apart from all others.
_AT_ONCE, _EXPLAINED_AT_ONCE = 64, 16


class Doors:
    """ASGI middleware that answers `/v1`, `/mcp`, `/phone`, `/healthz` and `/metrics`, and passes on all else.

    Args:
        app: what it stands before.
        models: what can be asked.
    """

    def __init__(self, app: Any, models: Models):
        soon = Threads(_AT_ONCE, "answers a request")
        later = Threads(_EXPLAINED_AT_ONCE, "explains a request")
        self._app = app
        self._v1 = v1.make(models, soon, later)
        self._tools = tools.Door(models, soon, later)
        self._phone = phone.make()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            async with self._tools.opened():
                await self._app(scope, receive, send)
            return
        path = path_of(scope) if scope["type"] == "http" else ""
        if path == tools.PATH:
            await self._tools(scope, receive, send)
        elif path.startswith("/v1/") or path in ("/healthz", "/metrics"):
            await self._v1(scope, receive, send)
        elif path == "/phone" or path.startswith("/phone/"):
            await self._phone(scope, receive, send)
        else:
            await self._app(scope, receive, send)
