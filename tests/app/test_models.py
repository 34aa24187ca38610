"""The models behind the page: what closing waits for."""

from __future__ import annotations

import threading

import pytest

from app.models import ModelError, Models
from memorywrap import MemoryWrapClassifier


@pytest.fixture
def models(page_checkpoints):
    return Models(page_checkpoints)


def test_closing_waits_for_the_explanation_under_way_and_lets_none_begin(models, monkeypatch):
    begun, go_on, closed = (threading.Event() for _ in range(3))
    classifier = models.get("digits")

    def explain(*_, **__):
        begun.set()
        assert go_on.wait(30)

    def close():
        models.close()
        closed.set()

    monkeypatch.setattr(MemoryWrapClassifier, "explain", explain)
    explaining = threading.Thread(target=models.explain, args=(classifier, None))
    explaining.start()
    assert begun.wait(30)
    threading.Thread(target=close).start()
    assert not closed.wait(0.2)
    go_on.set()
    assert closed.wait(30)
    explaining.join()
    with pytest.raises(ModelError, match="being closed"):
        models.explain(classifier, None)


def test_closing_ends_the_warming_up_after_the_sample_it_is_at(models, monkeypatch):
    warmed, go_on = [], threading.Event()

    def warm_paths(self, samples):
        warmed.append(samples)
        assert go_on.wait(30)

    monkeypatch.setattr(MemoryWrapClassifier, "warm_paths", warm_paths)
    models.warm_up_meanwhile("digits")
    threading.Timer(0.2, go_on.set).start()
    models.close()
    assert go_on.is_set() and len(warmed) <= 1
