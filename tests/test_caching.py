"""Properties that are computed once."""

from __future__ import annotations

import threading

from memorywrap.caching import cached_property


class Slow:
    def __init__(self) -> None:
        self.begun, self.wanted, self.times = threading.Event(), threading.Event(), 0

    @cached_property
    def value(self) -> int:
        """What it is."""
        self.times += 1
        self.begun.set()
        assert self.wanted.wait(10)
        return self.times


def test_one_objects_work_holds_up_no_others():
    """Of functools' own, before Python 3.12, it does: a process forked meanwhile would wait for ever."""
    slow, other = Slow(), Slow()
    thread = threading.Thread(target=lambda: slow.value, daemon=True)
    thread.start()
    assert slow.begun.wait(10)
    other.wanted.set()
    found: list[int] = []
    asking = threading.Thread(target=lambda: found.append(other.value), daemon=True)
    asking.start()
    asking.join(5)
    at_once = list(found)
    slow.wanted.set()
    thread.join(10)
    assert at_once == [1]


def test_it_is_computed_once():
    slow = Slow()
    slow.wanted.set()
    assert [slow.value, slow.value] == [1, 1] and slow.times == 1
    assert Slow.value.__doc__ == "What it is."
