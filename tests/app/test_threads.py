"""The bounds of the threads that answer programs."""

from __future__ import annotations

import asyncio
import threading

import pytest

from app import threads
from app.lanes import Busy
from app.threads import Threads


def test_so_many_are_inside_and_a_place_is_free_again_whatever_happens(monkeypatch):
    monkeypatch.setattr(threads, "_WAITING", 1)
    some = Threads(1, "test")
    with some.place():
        with pytest.raises(KeyError), some.place():
            raise KeyError
        with some.place(), pytest.raises(Busy), some.place():
            pass


def test_work_waits_for_a_thread():
    some = Threads(1, "test")
    held = threading.Event()

    async def both() -> tuple[bool, bool]:
        first, second = some.begin(held.wait), some.begin(lambda: held.is_set())
        await asyncio.sleep(0.05)
        assert not first.done() and not second.done()
        held.set()
        return await first, await second

    assert asyncio.run(both()) == (True, True)
