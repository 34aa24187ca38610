"""What is answered, whichever door it was asked at."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import tiny

from app import answers
from app.lanes import Busy
from app.models import Models


@pytest.fixture
def models(page_checkpoints):
    models = Models(page_checkpoints)
    yield models
    models.close()


def test_of_many_pictures_few_are_in_memory_at_the_same_time(models, monkeypatch):
    monkeypatch.setattr(answers, "_READING", threading.BoundedSemaphore(3))
    inside, most, change = 0, 0, threading.Lock()
    guess = models.suggest_boxes

    def read():
        nonlocal inside, most
        with change:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        return tiny.picture()

    def suggest_boxes(name, image):
        nonlocal inside
        found = guess(name, image)
        with change:
            inside -= 1
        return found

    monkeypatch.setattr(models, "suggest_boxes", suggest_boxes)
    with ThreadPoolExecutor(12) as visitors:
        told = visitors.map(lambda _: answers.classified(models, "digits", read, None), range(12))
        assert len({one["predicted"] for one in told}) == 1
    assert most == 3


def test_whoever_waits_too_long_for_others_pictures_is_told_when_to_come_back(models, monkeypatch):
    monkeypatch.setattr(answers, "_READING", threading.BoundedSemaphore(1))
    monkeypatch.setattr(answers, "_PATIENCE", 0.01)
    with answers._READING, pytest.raises(Busy, match="try again in 5 seconds"):
        answers.classified(models, "digits", tiny.picture, None)
    assert answers.classified(models, "digits", tiny.picture, None)["predicted"]


def test_a_picture_that_cannot_be_read_leaves_its_place(models, monkeypatch):
    monkeypatch.setattr(answers, "_READING", threading.BoundedSemaphore(1))

    def damaged():
        raise ValueError("damaged")

    for _ in range(2):
        with pytest.raises(ValueError, match="damaged"):
            answers.classified(models, "digits", damaged, None)
    assert answers.classified(models, "digits", tiny.picture, None)["predicted"]
