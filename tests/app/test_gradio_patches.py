"""What is kept of those who ask and never come back."""

import asyncio
import threading
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from gradio import routes
from gradio.state_holder import StateHolder

from app import gradio_patches
from app.gradio_patches import GuardedBlocks


def _one() -> int:
    return 1


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(gradio_patches, "_CALLS", 3)
    monkeypatch.setattr(gradio_patches, "_SIGNALS", 3)


@pytest.fixture
def blocks():
    with GuardedBlocks() as blocks:
        gr.State([])
        gr.api(_one, api_name="one", concurrency_id="one")
    blocks.state_session_capacity = 2
    return blocks.queue()


def test_programs_take_no_session_from_a_visitor(few, blocks):
    holder = StateHolder()
    holder.set_blocks(blocks)
    (state,) = [number for number, block in blocks.blocks.items() if isinstance(block, gr.State)]
    holder["first"][state].append("a picture")
    for number in range(50):
        holder[f"call {number}"]
    assert "first" in holder and holder["first"][state] == ["a picture"]
    assert len(holder.session_data) == 4 and "call 49" in holder and "call 46" not in holder
    assert set(holder.time_last_used) == set(holder.session_data)
    holder["second"][state].append("b")
    holder["first"]  # looked at last
    holder["third"][state].append("c")
    holder["third"]
    assert "first" in holder and "third" in holder and "second" not in holder


def test_uploads_that_never_come_are_forgotten(few):
    signals = routes.file_upload_statuses._signals
    for number in range(20):
        routes.file_upload_statuses._signals[f"upload {number}"]
    assert len(signals) == 3 and not signals["upload 19"].is_set()


def test_answers_that_nobody_fetches_leave_nothing_behind(few, blocks, monkeypatch):
    app = routes.App.create_app(blocks)
    queue = blocks._queue
    queue.pending_messages_per_session.max_size = 5
    transport = httpx.ASGITransport(app=app)

    async def ask() -> list[int]:
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            blocks.run_startup_events()
            answers = [
                await client.post("/gradio_api/call/one", json={"data": []}) for _ in range(40)
            ]
        queue.stopped = True
        return [answer.status_code for answer in answers]

    assert set(asyncio.run(ask())) == {200}
    assert len(queue.pending_messages_per_session) <= 5
    assert len(queue.pending_event_ids_session) <= 10
    assert len(queue.event_analytics) == 1


def _ask_while_it_is_busy(blocks, opened, asked) -> list[int]:
    """What is answered to those who ask first and last, `asked` done to the queue between."""
    app = routes.App.create_app(blocks)
    transport = httpx.ASGITransport(app=app)

    async def ask() -> list[int]:
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:

            async def call() -> str:
                answer = await client.post("/gradio_api/call/waits", json={"data": []})
                return answer.json()["event_id"]

            blocks.run_startup_events()
            events = [await call() for _ in range(3)]
            asked(blocks._queue)
            events += [await call() for _ in range(2)]
            opened.set()
            answers = [
                await client.get(f"/gradio_api/call/waits/{event}", timeout=20)
                for event in events[-2:] + events[:1]
            ]
        blocks._queue.stopped = True
        return [answer.text.count("event: complete") for answer in answers]

    return asyncio.run(asyncio.wait_for(ask(), 20))


@pytest.fixture
def busy():
    opened = threading.Event()

    def waits() -> bool:
        return opened.wait(20)

    with GuardedBlocks() as blocks:
        gr.api(waits, api_name="waits", concurrency_id="waits")
    return blocks.queue(), opened


def test_one_who_leaves_while_waiting_does_not_stop_the_queue(busy):
    def leave(queue) -> None:
        name = list(queue.pending_messages_per_session)[2]
        del queue.pending_messages_per_session[name]

    assert _ask_while_it_is_busy(*busy, leave) == [1, 1, 1]


def test_who_waits_is_not_forgotten_for_those_who_never_fetch(busy):
    def flood(queue) -> None:
        queue.pending_messages_per_session.max_size = 6
        for number in range(3):  # of calls that were answered
            queue.pending_messages_per_session[f"never fetched {number}"] = asyncio.Queue()

    assert _ask_while_it_is_busy(*busy, flood) == [1, 1, 1]


def test_nothing_is_reckoned_up_for_a_monitor(blocks):
    record = SimpleNamespace()  # no table could be made of it
    assert blocks._queue.compute_analytics_summary([record]) == {}
