"""The models behind the page: what closing waits for."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
import tiny
import torch

from app.lanes import Closed, NotNow
from app.models import Models
from app.shelf import ModelError
from memorywrap import MemoryWrapClassifier


@pytest.fixture
def models(page_checkpoints):
    return Models(page_checkpoints)


def test_closing_waits_for_the_explanation_under_way_and_lets_none_begin(models, monkeypatch):
    begun, go_on, closed = (threading.Event() for _ in range(3))
    classifier = models.get("digits")
    prediction = classifier.predict(tiny.picture())

    def explain(*_, **__):
        begun.set()
        assert go_on.wait(30)
        return [None]

    def close():
        models.close()
        closed.set()

    monkeypatch.setattr(MemoryWrapClassifier, "explain", explain)
    explaining = threading.Thread(target=models.explain, args=(classifier, prediction))
    explaining.start()
    assert begun.wait(30)
    threading.Thread(target=close).start()
    assert not closed.wait(0.2)
    go_on.set()
    assert closed.wait(30)
    explaining.join()
    with pytest.raises(Closed, match="being closed"):
        models.explain(classifier, prediction)


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


def test_a_batch_of_maps_has_all_cores_and_one_that_begins_beside_it_has_half_of_them(
    models, monkeypatch
):
    monkeypatch.setattr(models, "_cores", 6)
    classifier = models.get("digits")
    threads, go_on = [], threading.Event()

    def explain(self, asked, against=None):
        threads.append(torch.get_num_threads())
        if against is None:
            assert go_on.wait(30)
        return asked

    monkeypatch.setattr(MemoryWrapClassifier, "explain", explain)
    prediction = classifier.predict(tiny.picture())
    first = models.explain_meanwhile(classifier, prediction)
    while not threads:
        time.sleep(0.01)
    models.explain_meanwhile(classifier, prediction, against=1).result(30)
    go_on.set()
    first.result(30)
    models.explain_meanwhile(classifier, prediction, against=2).result(30)
    assert threads == [6, 3, 6]


def test_first_guesses_take_one_core_each_whatever_there_is(models, monkeypatch):
    threads = []

    def suggest_boxes(self, image):
        threads.append(torch.get_num_threads())
        return [(0, 0, 8, 8)]

    monkeypatch.setattr(MemoryWrapClassifier, "suggest_boxes", suggest_boxes)
    own = torch.get_num_threads()
    torch.set_num_threads(3)
    monkeypatch.setattr(models, "_cores", 3)
    monkeypatch.setattr(MemoryWrapClassifier, "finder", property(lambda self: object()))
    try:
        assert models.suggest_boxes("digits", tiny.picture()) == [(0, 0, 8, 8)]
        assert threads == [1] and torch.get_num_threads() == 3
        began = threading.Thread(target=lambda: threads.append(torch.get_num_threads()))
        began.start()
        began.join()
        assert threads == [1, 3]  # a thread that begins to compute later has all of them
    finally:
        torch.set_num_threads(own)


def test_a_patch_is_looked_for_once_and_again_where_that_failed(models, monkeypatch):
    looked = []

    def look(classifier, predictions):
        looked.extend(predictions)
        if len(looked) == 1:
            raise MemoryError
        return [None] * len(predictions)

    monkeypatch.setattr("app.models.patch_counterfactuals", look)
    classifier = models.get("digits")
    prediction = classifier.predict(tiny.picture())
    with pytest.raises(MemoryError):
        models.patch(classifier, prediction)
    assert not models._patches  # whose traceback would hold on to the picture
    meanwhile = [models.patch_meanwhile(classifier, prediction) for _ in range(3)]
    assert [one.result(30) for one in meanwhile] == [None] * 3
    assert models.patch(classifier, prediction) is None and looked == [prediction] * 2


def test_patches_of_several_are_looked_for_together(models, monkeypatch):
    begun, go_on, asked = threading.Event(), threading.Event(), []

    def look(classifier, predictions):
        asked.append(len(predictions))
        begun.set()
        assert go_on.wait(30)
        return [None] * len(predictions)

    monkeypatch.setattr("app.models.patch_counterfactuals", look)
    monkeypatch.setattr(models.maps, "_threads", models.maps._threads[:1])
    classifier = models.get("digits")
    first, *others = (classifier.predict(tiny.picture(seed)) for seed in range(4))
    found = [models.patch_meanwhile(classifier, first)]
    assert begun.wait(30)
    found += [models.patch_meanwhile(classifier, one) for one in others]
    go_on.set()
    assert [one.result(30) for one in found] == [None] * 4 and asked == [1, 3]
    # Of large pictures, where that is no sooner, each by itself.
    monkeypatch.setattr("app.models.looks_together", lambda classifier: False)
    go_on.clear()
    again = [classifier.predict(tiny.picture(seed)) for seed in range(3)]
    found = [models.patch_meanwhile(classifier, one) for one in again]
    go_on.set()
    assert [one.result(30) for one in found] == [None] * 3 and asked == [1, 3, 1, 1, 1]


def test_without_memory_no_patch_is_looked_for(models):
    classifier = models.get("plain")
    with pytest.raises(ModelError, match="no memory"):
        models.patch(classifier, classifier.predict(tiny.picture()))
    assert not models._patches


@pytest.fixture
def download(monkeypatch, tmp_path):
    """Downloads wait until `go_on` is set; `begun` says that one has begun."""
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path))
    download = threading.Event()
    download.begun = threading.Event()

    def slow(recipe, *, fetch):
        download.begun.set()
        assert download.wait(30)

    monkeypatch.setattr("app.shelf.draw_bank", slow)
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


@pytest.fixture
def lost(models, monkeypatch):
    """The model as if it lay on a GPU that does not answer any more."""
    lost = models.get("digits")
    works = MemoryWrapClassifier.predict_inputs

    def fail(*_, **__):
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    def predict_inputs(self, *arguments):
        return fail() if self is lost else works(self, *arguments)

    def device(self):
        return torch.device("cuda" if self is lost else "cpu")

    monkeypatch.setattr(models, "_device", "cuda")
    monkeypatch.setattr(MemoryWrapClassifier, "device", property(device))
    monkeypatch.setattr(MemoryWrapClassifier, "predict_inputs", predict_inputs)
    lost.explain = lost.suggest_boxes = lost.read = fail
    return lost


def test_without_its_accelerator_the_processor_answers(models, lost, caplog):
    answer = models.predict("digits", tiny.picture(), None)
    assert len(answer.probabilities) == len(answer.classes)
    assert models.get("digits") is not lost
    assert caplog.text.count("accelerator is lost") == 1
    assert models.explain(models.get("digits"), answer).prediction is answer


def test_whoever_finds_the_accelerator_lost_the_next_one_is_answered(models, lost):
    assert models.suggest_boxes("digits", tiny.picture()) and models.get("digits") is not lost


def test_what_was_predicted_on_a_lost_accelerator_is_predicted_anew(models, lost):
    before = tiny.classifier().predict(tiny.picture())
    with pytest.raises(NotNow, match="please ask again"):
        models.maps.submit(("explain", lost, ()), before).result()
    classifier = models.get("digits")
    bank = replace(classifier.require_bank(), embeddings=torch.empty(20, 256, device="meta"))
    stale = replace(classifier.predict(tiny.picture()), bank=bank)
    explanation = models.explain(classifier, stale)
    assert explanation.prediction.bank.embeddings.device.type == "cpu"


def test_models_that_visitors_taught_go_on_without_the_accelerator(models, lost):
    taught = tiny.classifier()
    models.lend("taught", taught)
    models.predict("digits", tiny.picture(), None)
    assert models.get("taught") is taught
