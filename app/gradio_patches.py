"""All that reaches into Gradio's private parts, which its version is pinned for."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio import routes, state_holder
from gradio.components import Component
from gradio.context import get_blocks_context
from gradio.data_classes import FileDataDict, ImageData
from gradio.queueing import Event, Queue
from gradio.server_messages import EventMessage

from app.guard import Guard
from app.uploads import NOT_UNDERSTOOD, refuse_foreign_files, sentence
from memorywrap.images import ImageError

_log = logging.getLogger(__name__)

# What an explanation takes on two cores, for a guess at the wait when the queue is full.
_SECONDS_EACH = 1.5


class LightSession(state_holder.SessionState):
    """A session without a copy of every component's configuration, which takes longer than most answers
    and 80 kB of each session. They are kept for deep links, which the page has not; where one is looked
    for, Gradio makes it then."""

    def __init__(self, blocks: gr.Blocks):
        super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks={}))  # type: ignore[arg-type]


state_holder.SessionState = LightSession  # type: ignore[misc]

# What Gradio would keep for good of those who ask and never fetch, by the number kept.
_CALLS, _SIGNALS = 300, 1000


def _update(holder: state_holder.StateHolder, session_id: str) -> None:
    """As of `StateHolder`; what asks by a program has nothing in its session, and goes before those of
    people do."""
    sessions = holder.session_data
    with holder.lock:
        if session_id in sessions:
            sessions.move_to_end(session_id)
        calls = [name for name, session in sessions.items() if not session.state_data]
        gone = calls[:-_CALLS]
        if len(sessions) - len(calls) > holder.capacity:
            gone.append(next(name for name, session in sessions.items() if session.state_data))
        for name in gone:
            del sessions[name]
            holder.time_last_used.pop(name, None)


state_holder.StateHolder.update = _update  # type: ignore[assignment, method-assign]


class _Signals(OrderedDict[str, asyncio.Event]):
    """Of uploads whose progress is asked for, made when they are; the last ones."""

    def __missing__(self, upload: str) -> asyncio.Event:
        while len(self) >= _SIGNALS:
            self.popitem(last=False)
        self[upload] = asyncio.Event()
        return self[upload]


routes.file_upload_statuses._signals = _Signals()  # type: ignore[assignment]
_create_app = routes.App.create_app


def _guarded(*args: Any, **kwargs: Any) -> routes.App:
    """Gradio's app with the guard in front of what Gradio adds by itself, which answers other sites."""
    app = _create_app(*args, **kwargs)
    app.user_middleware.sort(key=lambda one: getattr(one, "cls", None) is not Guard)
    return app


routes.App.create_app = staticmethod(_guarded)  # type: ignore[method-assign]


class GuardedBlocks(gr.Blocks):
    """gr.Blocks that refuses hostile file payloads before Gradio moves or fetches anything."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any):
        try:
            refuse_foreign_files(inputs)
            # Arguments left out at the end take their defaults, for plain HTTP as for clients.
            missing = block_fn.inputs[len(inputs) :] if block_fn.api_visibility == "public" else []
            inputs = [*inputs, *(block.value for block in missing)]
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except gr.Error:
            raise
        except ImageError as error:
            raise sentence(error) from None
        except Exception:
            _log.info("request not understood", exc_info=True)
            raise sentence(NOT_UNDERSTOOD) from None

    def get_config_file(self) -> Any:
        """As of `gr.Blocks`, without a connection that stays open for as long as a page does: a browser has
        six for one server, so that the sixth page would wait for ever. Sessions end by their age."""
        return {**super().get_config_file(), "connect_heartbeat": False}

    def queue(self, *args: Any, **kwargs: Any) -> GuardedBlocks:
        """As of `gr.Blocks`; who finds the queue full is told so in a sentence, answers that nobody fetches
        are forgotten, and nothing is reckoned up for a monitor that this page has not: with many events
        behind it, that takes a fifth of the time of an answer."""
        super().queue(*args, **kwargs)
        waiting = self._queue
        waiting.ANALYTICS_MAX_EVENTS = 1
        waiting.compute_analytics_summary = lambda records: {}  # type: ignore[method-assign]
        push = waiting.push

        async def push_with_a_sentence(*push_args: Any, **push_kwargs: Any):
            _forget_unfetched(waiting)
            success, answer, state = await push(*push_args, **push_kwargs)
            if state == "queue_full":
                wait = max(1, math.ceil(len(waiting) * _SECONDS_EACH / 10)) * 10
                answer = f"Many people are asking right now: please try again in {wait} seconds."
            return success, answer, state

        send = waiting.send_message

        def send_to_who_is_known(event: Event, message: EventMessage) -> None:
            # Gradio's queue stands still for good where one message finds nobody.
            if event.session_hash in waiting.pending_messages_per_session:
                send(event, message)

        waiting.push = push_with_a_sentence  # type: ignore[method-assign]
        waiting.send_message = send_to_who_is_known  # type: ignore[assignment, method-assign]
        return self


def _forget_unfetched(waiting: Queue) -> None:
    """Drop what is known of answers that nobody fetched. Gradio forgets the oldest of the answers alone, be it
    of somebody who still waits for it."""
    answers, events = waiting.pending_messages_per_session, waiting.pending_event_ids_session
    if len(answers) >= answers.max_size:
        asked = {event.session_hash for event in waiting.event_ids_to_events.values()}
        if oldest := next((name for name in answers if name not in asked), None):
            del answers[oldest]
    if len(events) > len(answers) + _CALLS:
        for name in [name for name in events if name not in answers]:
            del events[name]


def publish(function: Callable[..., Any], name: str, **options: Any) -> None:
    """Register an endpoint under a name, with its docstring and arguments on the API view.

    Args:
        function: what it does; its types and docstring are shown.
        name: of the endpoint.
        options: of `gr.api`.
    """
    gr.api(
        function,
        api_name=name,
        api_description=inspect.getdoc(function),
        concurrency_id=name,
        **options,
    )
    blocks = get_blocks_context()
    assert blocks is not None
    (endpoint,) = [fn for fn in blocks.fns.values() if fn.api_name == name]
    parameters = inspect.signature(function).parameters.values()
    for block, parameter in zip(endpoint.inputs, parameters, strict=True):
        assert isinstance(block, Component)
        block.label = parameter.name
        if parameter.annotation is FileDataDict:  # shown as a file to send, as of gr.Image
            setattr(block, "_api_info", ImageData.model_json_schema())  # noqa: B010
