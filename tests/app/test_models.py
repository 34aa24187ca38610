"""The models behind the page: what closing waits for."""

from __future__ import annotations

import copy
import threading
import time

import pytest
import tiny
import torch

from app.lanes import Closed, NotNow
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
        return [None]

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
    with pytest.raises(Closed, match="being closed"):
        models.explain(classifier, None)


def test_closing_ends_the_warming_up_after_the_sample_it_is_at(models, monkeypatch):
    warmed, go_on = [], threading.Event()

    def warm_paths(self, samples):
        warmed.append(samples)
        assert go_on.wait(30)

    monkeypatch.setattr(MemoryWrapClassifier, "warm_paths", warm_paths)
    models.warm_up_meanwhile("digits")
    while not warmed:
        time.sleep(0.01)
    threading.Timer(0.2, go_on.set).start()
    models.close()
    assert go_on.is_set() and len(warmed) == 1


@pytest.fixture
def download(monkeypatch, tmp_path):
    """Downloads wait until `go_on` is set; `begun` says that one has begun."""
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path))
    download = threading.Event()
    download.begun = threading.Event()

    def slow(recipe, *, fetch):
        download.begun.set()
        assert download.wait(30)

    monkeypatch.setattr("app.models.draw_bank", slow)
    yield download
    download.set()


def test_while_a_memory_is_downloaded_every_model_answers_at_once(models, download):
    assert models.missing("later") == "cifar10"
    with pytest.raises(ModelError, match="has to be downloaded first"):
        models.get("later")
    fetching = threading.Thread(target=models.download, args=("later",))
    fetching.start()
    assert download.begun.wait(30)
    assert models.get("digits").has_memory
    with pytest.raises(ModelError, match="is being downloaded, please try again"):
        models.get("later")
    assert fetching.is_alive()
    download.set()
    fetching.join()


@pytest.mark.slow
def test_it_is_ready_once_its_default_model_answers_as_it_should(models):
    assert not models.is_ready
    models.warm_up("plain")
    assert not models.is_ready  # not the one that the page begins with
    models.warm_up("digits")
    assert models.is_ready
    with torch.no_grad():
        next(models.get("digits").encoder.parameters()).fill_(torch.nan)
    models.is_ready = False
    models.warm_up("digits")
    assert not models.is_ready


def test_without_its_accelerator_the_processor_answers(models, monkeypatch, caplog):
    picture = tiny.picture()
    expected = models.predict("digits", picture, None)
    lost = models.get("digits")
    monkeypatch.setattr(models, "_device", "cuda")
    models.lend("taught", copy.copy(lost))
    taught = models.get("taught")
    works = MemoryWrapClassifier.predict_inputs

    def predict_inputs(self, *arguments):
        if self in (lost, taught):
            raise torch.AcceleratorError("CUDA error: unspecified launch failure")
        return works(self, *arguments)

    def explain(self, *_, **__):
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(MemoryWrapClassifier, "predict_inputs", predict_inputs)
    answer = models.predict("digits", picture, None)
    assert answer.probabilities == pytest.approx(expected.probabilities)
    assert models.get("digits") is not lost and models.get("digits").device.type == "cpu"
    assert caplog.text.count("accelerator is lost") == 1
    with pytest.raises(ModelError, match="teach it again"):
        models.answers.submit(taught, lost.input(picture)).result()
    with monkeypatch.context() as broken:
        broken.setattr(MemoryWrapClassifier, "explain", explain)
        with pytest.raises(NotNow, match="please ask again"):
            models.explain(lost, expected)
    assert models.explain(models.get("digits"), answer).prediction is answer
