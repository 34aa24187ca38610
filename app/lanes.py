"""Work of many visitors, done together: what waits at the same time is one batch, whoever asked for it.

Short work and long work have a lane each, so that nobody waits for an answer behind somebody's maps.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

_log = logging.getLogger(__name__)

_STALE = 120.0  # seconds after which what waited is not done any more: nobody is there


class NotNow(ValueError):
    """What is asked cannot be done now; the message is one sentence for the person who asked."""


class Busy(NotNow):
    """A lane that is full; the message is one sentence for the person who asked.

    Attributes:
        seconds: when it pays to ask again.
    """

    def __init__(self, seconds: int):
        super().__init__(
            f"Many people are asking right now: please try again in {seconds} seconds."
        )
        self.seconds = seconds


class Closed(NotNow):
    """A lane that takes nothing any more."""

    def __init__(self) -> None:
        super().__init__("This page is being closed.")


class _Item(NamedTuple):
    kind: Hashable
    what: Any
    result: Future
    since: float


class Lane:
    """A line of work and the threads that do it; thread-safe.

    Args:
        name: of the threads.
        work: (kind, items) -> their results in order. It is called with items of one kind.
        most: items that are done together.
        room: items that may wait.
        threads: how many batches are done at the same time.
        seen: told of every batch: how many items, and the seconds that they took.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Any, list[Any]], Sequence[Any]],
        *,
        most: int,
        room: int,
        threads: int = 1,
        seen: Callable[[int, float], None] = lambda count, seconds: None,
    ):
        self._name, self._work, self._most, self._room, self._seen = name, work, most, room, seen
        self._waiting: deque[_Item] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=name, daemon=True) for _ in range(threads)
        ]
        self._seconds_each = 0.05  # measured as it goes

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._waiting)

    def ahead(self, result: Future) -> int:
        """How many other things wait before that of a future, each counted once however much is asked about
        it; 0 where it waits no more."""
        with self._change:
            waiting = [
                (item.result, id(item.what))
                for item in self._waiting
                if not item.result.cancelled()
            ]
        before: set[int] = set()
        for future, what in waiting:
            if future is result:
                return len(before - {what})
            before.add(what)
        return 0

    def submit(self, kind: Hashable, what: Any) -> Future:
        """Put an item into the line. Cancelling its future takes it out again.

        Args:
            kind: items of the same kind are done together.
            what: an argument of the work.

        Raises:
            Busy: no room is left.
            Closed: after `close`.
        """
        item = _Item(kind, what, Future(), time.monotonic())
        with self._change:
            if self._closed:
                raise Closed
            if len(self._waiting) >= self._room:
                self._waiting = deque(one for one in self._waiting if not one.result.cancelled())
            if len(self._waiting) >= self._room:
                raise Busy(max(1, math.ceil(len(self._waiting) * self._seconds_each / 5)) * 5)
            self._waiting.append(item)
            if self._threads[0].ident is None:
                for thread in self._threads:
                    thread.start()
            self._change.notify()
        return item.result

    def close(self) -> None:
        """Begin nothing any more, and wait for what is under way."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join()

    def _run(self) -> None:
        while batch := self._next():
            start = time.monotonic()
            self._answer(batch)
            taken = time.monotonic() - start
            self._seconds_each += 0.1 * (taken / len(batch) - self._seconds_each)
            self._seen(len(batch), taken)
            del batch  # while it waits for the next one, nothing of this one stays

    def _next(self) -> list[_Item]:
        """The first item with all others of its kind that wait; none after `close`."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    for item in self._waiting:
                        if item.result.set_running_or_notify_cancel():
                            item.result.set_exception(Closed())
                    self._waiting.clear()
                    return []
                kind = self._waiting[0].kind
                batch: list[_Item] = []
                others: deque[_Item] = deque()
                for item in self._waiting:
                    fits = item.kind == kind and len(batch) < self._most
                    (batch if fits else others).append(item)
                self._waiting = others
            stale = time.monotonic() - _STALE
            batch = [item for item in batch if item.result.set_running_or_notify_cancel()]
            for item in batch:
                if item.since < stale:
                    item.result.set_exception(Busy(5))
            batch = [item for item in batch if item.since >= stale]
            if batch:
                return batch

    def _answer(self, batch: list[_Item]) -> None:
        try:
            results = self._work(batch[0].kind, [item.what for item in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].result.set_exception(error)
                return
            # One of them is at fault, or they are too many for the memory: halves find out.
            _log.info("%s: a batch of %d failed: %s", self._name, len(batch), type(error).__name__)
            middle = len(batch) // 2
            self._answer(batch[:middle])
            self._answer(batch[middle:])
            return
        for item, result in zip(batch, results, strict=True):
            item.result.set_result(result)
