"""What stands on the page, and how it is launched."""

from __future__ import annotations

from app.models import Models
from app.page import build, launch_options
from app.temporary import KEPT


def test_every_panel_stands_on_the_page_with_a_name_for_the_style_sheet(page_checkpoints):
    placed = {block.elem_id for block in build(Models(page_checkpoints)).blocks.values()}
    parts = ("top", "model", "photo", "crop", "draw", "examples", "settings", "result", "downloads")
    assert {f"mw-{part}" for part in parts} <= placed


def test_the_page_can_be_built_without_a_model(tmp_path):
    page = build(Models(tmp_path))
    assert {"models", "classify", "explain"} <= {event.api_name for event in page.fns.values()}


def test_what_people_upload_is_deleted_in_time(page_checkpoints):
    page = build(Models(page_checkpoints))
    assert page.delete_cache == (KEPT, KEPT)
    states = [block for block in page.blocks.values() if block.stateful and block.value is not None]
    assert [state.time_to_live for state in states] == [KEPT]  # the session, with its drawing


def test_nothing_leaves_the_server(tmp_path):
    options = launch_options(Models(tmp_path))
    for name in ("share", "run_history", "enable_monitoring", "mcp_server", "show_error"):
        assert options[name] is False
