"""Threads that answer the requests of programs, within bounds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.lanes import Busy

_Result = TypeVar("_Result")
_WAITING = 300  # that may wait for a thread
_SECONDS = 10  # when it pays to ask again


class Threads:
    """Some threads: so many answer at once, whatever door the requests come in at.

    Args:
        at_once: how many; their pictures are computed together.
        name: what they do.
    """

    def __init__(self, at_once: int, name: str):
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix=name)
        self._inside, self._most = 0, at_once + _WAITING

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """A place for one request, from its first byte to its answer.

        Raises:
            Busy: none is left.
        """
        if self._inside >= self._most:
            raise Busy(_SECONDS)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def begin(self, work: Callable[[], _Result]) -> asyncio.Future[_Result]:
        """Work that is done as soon as a thread is free."""
        return asyncio.get_running_loop().run_in_executor(self._pool, work)
