"""The bad files of `bench.attack`, and what the decoding processes make of them."""

from __future__ import annotations

import pytest

from app.cage import Cage
from bench import attack, hostile
from memorywrap.images import ImageError

_MANY = 3 * len(hostile.KINDS)


def test_files_are_the_same_for_a_seed_and_of_all_kinds():
    first, again = list(hostile.files(_MANY)), list(hostile.files(_MANY))
    assert first == again != list(hostile.files(_MANY, seed=1))
    assert {one.kind for one in first} == set(hostile.KINDS)
    assert max(len(one.data) for one in first) <= 4_000_000


@pytest.mark.slow
def test_each_is_read_or_refused_in_a_sentence():
    cage, refusals = Cage(1), []
    for one in hostile.files(_MANY, seed=7):
        try:
            assert cage.decoded(one.data).mode == "RGB"
        except ImageError as error:
            refusals.append(str(error))
    assert refusals and all(words.endswith(".") for words in refusals)


def test_what_lay_in_memory_is_noticed(monkeypatch):
    """The measure itself: a decoder that shows the picture before is found out."""

    class Leaky:
        def __init__(self, _):
            self.cage, self.before = Cage(1), None

        def decoded(self, data):
            if len(data) == 270_054:  # what another visitor sent
                self.before = self.cage.decoded(data)
            return self.before

    found = attack.Result()
    monkeypatch.setattr(attack, "Cage", Leaky)
    attack.look_for_leaks(5, 0, found)
    assert sum(row.leaks for row in found.files.values()) == 5


def test_answers_are_counted_by_what_they_are():
    row = attack.Row()
    for status in (200, 400, 500):
        row.add(status, 0.1 * status, (200, 400))
    assert (row.tried, row.answered, row.refused, row.wrong, row.seconds) == (3, 1, 1, 1, 50.0)
