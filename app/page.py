"""The page: what stands where, and how it is launched."""

from __future__ import annotations

import logging
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from app.api import add_endpoints
from app.doors import Doors
from app.gradio_patches import GuardedBlocks
from app.guard import Guard
from app.html import place, render, static
from app.models import Models
from app.panels.answer import Answer
from app.panels.maps import Maps
from app.panels.memories import Memories
from app.panels.parts import Parts
from app.panels.patch import Patch
from app.panels.picture import Picture
from app.panels.settings import Settings
from app.panels.teach import Teach
from app.panels.tool import live, many
from app.panels.top import Top
from app.panels.what_if import WhatIf
from app.shell import Shell
from app.story import Story
from app.temporary import KEPT
from app.theme import theme
from memorywrap.images import MAX_BYTES

# Seconds between two words on the place in line: one at each change, as by default, costs more than the answers.
_TOLD = 1
_WAITING = 500  # events of all visitors, before more are told to come back
_SESSIONS = 2000  # of visitors: beyond, the pictures, edits and models of the oldest are forgotten


def build(models: Models) -> gr.Blocks:
    """The page and its endpoints.

    Args:
        models: what can be asked.
    """
    # What libraries would otherwise set up in their own way: a line each, to standard error.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    with GuardedBlocks(
        title="Memory Wrap", analytics_enabled=False, delete_cache=(KEPT, KEPT)
    ) as demo:
        story = Story(models, demo)
        top = Top(story)
        with gr.Row(elem_id="mw-columns"):
            with gr.Column(elem_id="mw-input"):
                picture = Picture(story)
                settings = Settings()
                teach, camera = Teach(story), live(story)
            with gr.Column(elem_id="mw-result"):
                answer, memories, patch = Answer(story), Memories(models), Patch(story)
                maps, parts, what_if = Maps(story, settings), Parts(story), WhatIf(story)
                story.panels = [picture, answer, memories, patch, maps, parts, what_if]
        table = many(story)
        place(render("footer", kept=KEPT // 60))

        for panel in story.panels:
            panel.wire()
        top.wire()
        settings.wire()
        for tool in (teach, camera, table):
            tool.wire()
        story.wire(shown_at=maps.html)
        add_endpoints(models)
    return demo.queue(
        max_size=_WAITING, default_concurrency_limit=2, api_open=False, status_update_rate=_TOLD
    )


def launch_options(models: Models) -> dict[str, Any]:
    """What launch() is told wherever the page is hosted: nothing leaves, nothing large comes in.

    Args:
        models: those of the page.
    """
    return {
        "theme": theme(),
        "js": static("page.js"),
        "footer_links": ["api"],
        "max_file_size": MAX_BYTES,
        "show_error": False,
        "share": False,
        "ssr_mode": False,
        "run_history": False,
        "enable_monitoring": False,
        "pwa": False,
        "mcp_server": False,
        "app_kwargs": {
            "middleware": [Middleware(Guard), Middleware(Doors, models=models), Middleware(Shell)]
        },
        "state_session_capacity": _SESSIONS,
    }
