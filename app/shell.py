"""The HTML around the page: what has to be there before Gradio's own scripts begin.

Gradio's `css` drops or disarms most rules inside @media, its texts follow the browser's language
while ours are English, and its link previews name Gradio and a picture on another host.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from app.html import static
from app.theme import colour_properties
from memorywrap.images import MAX_BYTES, MAX_PIXELS

_PREVIEWS = re.compile(r'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>')
_TITLE = "Memory Wrap"
_DESCRIPTION = "An image classifier that shows its evidence."

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Shell:
    """ASGI middleware that completes every HTML page on its way out."""

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]):
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        start: Message = {}
        parts: list[bytes] = []

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_html(message):
                start.update(message)
            elif not start:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if message.get("more_body"):
                    return
                body = completed(b"".join(parts).decode("utf-8")).encode("utf-8")
                length = (b"content-length", str(len(body)).encode("ascii"))
                kept = [pair for pair in start["headers"] if pair[0].lower() != length[0]]
                await send({**start, "headers": [*kept, length]})
                await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, complete)


def completed(html: str) -> str:
    """The page with our head, in our language, and with the limits that the browser has to know."""
    html = _PREVIEWS.sub("", html)
    limits = f'data-most-bytes="{MAX_BYTES}" data-most-pixels="{MAX_PIXELS}"'
    html = html.replace("<html", f"<html {limits}", 1)
    html = html.replace("</head>", _HEAD + "</head>", 1)
    return re.sub(r"<body[^>]*>", lambda body: body[0] + _FIRST, html, count=1)


def _is_html(message: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/html")
        for name, value in message["headers"]
    )


# The first stop of the Tab key, and where answers are told to those who listen.
_FIRST = """
<a class="mw-skip" href="#mw-result">Skip to the answer</a>
<p id="mw-status" class="mw-unseen" role="status"></p>"""
_HEAD = f"""
<meta property="og:type" content="website">
<meta property="og:title" content="{_TITLE}">
<meta property="og:description" content="{_DESCRIPTION}">
<meta name="description" content="{_DESCRIPTION}">
<script>
// Gradio's texts follow the browser's language; the page around them is English.
for (const [name, value] of Object.entries({{ language: 'en', languages: ['en'] }}))
  Object.defineProperty(navigator, name, {{ get: () => value, configurable: true }});
{static("upload.js")}{static("access.js")}</script>
<style>
{colour_properties()}{static("style.css")}
</style>
"""
