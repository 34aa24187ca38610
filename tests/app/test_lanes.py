"""What waits together is done together, and nobody has to pay for another's mistake."""

from __future__ import annotations

import threading
import time
import weakref

import pytest

from app import lanes
from app.lanes import Busy, Closed, Lane


class Worker:
    """Doubles numbers, and notes the batches; waits before each until it may go on."""

    def __init__(self, held: bool = False):
        self.batches, self.go_on = [], threading.Event()
        if not held:
            self.go_on.set()

    def __call__(self, kind, numbers):
        self.batches.append((kind, list(numbers)))
        assert self.go_on.wait(30)
        if 13 in numbers:
            raise ValueError("thirteen")
        if len(numbers) > 5:
            raise MemoryError
        return [2 * number for number in numbers]


@pytest.fixture
def made():
    made = []

    def make(held=False, **options):
        worker = Worker(held)
        lane = Lane("test", worker, **{"most": 4, "room": 20, **options})
        made.append((lane, worker))
        return lane, worker

    yield make
    for lane, worker in made:
        worker.go_on.set()
        lane.close()


def occupied(lane, worker):
    """Something is under way, so that what comes now has to wait."""
    first = lane.submit("first", 0)
    while not worker.batches:
        time.sleep(0.001)
    return first


def test_what_waits_of_one_kind_is_one_batch_in_the_order_of_its_coming(made):
    lane, worker = made(held=True)
    occupied(lane, worker)
    results = [lane.submit(kind, number) for number, kind in enumerate("aabaaab")]
    worker.go_on.set()
    assert [result.result(30) for result in results] == [2 * number for number in range(7)]
    assert worker.batches[1:] == [("a", [0, 1, 3, 4]), ("b", [2, 6]), ("a", [5])]


def test_with_two_threads_two_batches_are_under_way_and_both_end(made):
    lane, worker = made(held=True, threads=2)
    first = occupied(lane, worker)
    second = lane.submit("second", 1)
    end = time.monotonic() + 30
    while len(worker.batches) < 2 and time.monotonic() < end:
        time.sleep(0.001)
    assert worker.batches == [("first", [0]), ("second", [1])]
    assert not first.done() and not second.done()
    worker.go_on.set()
    assert (first.result(30), second.result(30)) == (0, 2)
    lane.close()
    assert all(not thread.is_alive() for thread in lane._threads)


def test_while_it_waits_it_holds_nothing_of_what_was_done():
    class Picture:
        pass

    lane = Lane("test", lambda kind, items: [None] * len(items), most=4, room=20)
    picture = Picture()
    gone = weakref.ref(picture)
    lane.submit("kind", picture).result(30)
    del picture
    end = time.monotonic() + 10
    while gone() is not None and time.monotonic() < end:
        time.sleep(0.01)
    assert gone() is None
    lane.close()


def test_it_tells_how_many_come_first(made):
    lane, worker = made(held=True)
    doing = occupied(lane, worker)
    results = [lane.submit("a", number) for number in range(3)]
    assert [lane.ahead(one) for one in (doing, *results)] == [0, 0, 1, 2]
    worker.go_on.set()
    assert [one.result() for one in results] == [0, 2, 4] and lane.ahead(results[2]) == 0


def test_who_waits_is_counted_once_however_much_they_ask(made):
    lane, worker = made(held=True)
    occupied(lane, worker)
    mine = [lane.submit(kind, 2) for kind in "ab"]
    other = lane.submit("a", 1)
    again = lane.submit("a", 2)
    assert [lane.ahead(one) for one in (*mine, other, again)] == [0, 0, 1, 1]
    left = lane.submit("a", 3)
    last = lane.submit("a", 4)
    assert lane.ahead(last) == 3
    left.cancel()
    assert lane.ahead(last) == 2
    worker.go_on.set()
    assert [one.result(30) for one in (*mine, other, again)] == [4, 4, 2, 4]


def test_one_that_fails_fails_alone(made):
    lane, worker = made(held=True)
    occupied(lane, worker)
    results = [lane.submit("a", number) for number in (1, 13, 3, 4)]
    worker.go_on.set()
    assert [results[at].result(30) for at in (0, 2, 3)] == [2, 6, 8]
    with pytest.raises(ValueError, match="thirteen"):
        results[1].result(30)
    assert lane.submit("a", 5).result(30) == 10


def test_too_many_for_the_memory_are_done_in_smaller_batches(made):
    lane, worker = made(held=True, most=16)
    occupied(lane, worker)
    results = [lane.submit("a", number) for number in range(10)]
    worker.go_on.set()
    assert [result.result(30) for result in results] == [2 * number for number in range(10)]
    assert [len(numbers) for _, numbers in worker.batches] == [1, 10, 5, 5]


def test_what_nobody_waits_for_any_more_is_not_done(made, monkeypatch):
    lane, worker = made(held=True)
    occupied(lane, worker)
    left, stays = lane.submit("a", 1), lane.submit("a", 2)
    assert left.cancel()
    worker.go_on.set()
    assert stays.result(30) == 4 and worker.batches[1:] == [("a", [2])]
    monkeypatch.setattr(lanes, "_STALE", -1)
    with pytest.raises(Busy):
        lane.submit("a", 3).result(30)


def test_a_full_lane_says_when_to_come_back(made):
    lane, worker = made(held=True, room=3)
    occupied(lane, worker)
    results = [lane.submit("a", number) for number in range(3)]
    with pytest.raises(Busy, match=r"try again in \d+ seconds") as full:
        lane.submit("a", 3)
    assert full.value.seconds >= 5
    assert len(lane) == 3
    results[0].cancel()
    assert lane.submit("a", 4)  # in the place of who has left


def test_it_ends_with_what_is_under_way_and_refuses_the_rest(made):
    lane, worker = made(held=True)
    first = occupied(lane, worker)
    waiting = lane.submit("a", 1)
    closing = threading.Thread(target=lane.close)
    closing.start()
    worker.go_on.set()
    closing.join(30)
    assert first.result(30) == 0
    with pytest.raises(Closed):
        waiting.result(30)
    with pytest.raises(Closed):
        lane.submit("a", 2)


def test_batches_are_told(made):
    told = []
    lane, _ = made(seen=lambda count, seconds: told.append((count, seconds >= 0)))
    assert lane.submit("a", 1).result(30) == 2
    lane.close()
    assert told == [(1, True)]
