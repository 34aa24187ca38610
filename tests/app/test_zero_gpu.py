"""Explanations on a borrowed GPU are those of the processor, and none fails for want of a GPU."""

from __future__ import annotations

import os

import pytest
from lending import lender

from app.shelf import ModelError
from app.zero_gpu import BorrowingModels
from memorywrap import Explanation, Prediction

__all__ = ["lender"]


@pytest.fixture
def models(lender, page_checkpoints):
    return BorrowingModels(page_checkpoints, lender.GPU(duration=10))


@pytest.fixture
def prediction(models, number_plate) -> Prediction:
    return models.get("digits").predict(number_plate)


def maps(explanation: Explanation) -> dict:
    return {-1: explanation.input_map, **explanation.memory_maps}


@pytest.mark.parametrize("method", ["integrated_gradients", "saliency"])
def test_a_borrowed_gpu_explains_as_the_processor_does(models, lender, prediction, method):
    assert lender.sent == []  # predicting borrows nothing
    settings = {"method": method, "baseline": "black", "steps": 4}
    lent = models.explain(models.get("digits"), prediction, **settings)
    assert len(lender.sent) == 2 and max(lender.sent) < 80_000
    assert lent.prediction is prediction
    lender.refusal = "no more"
    own = models.explain(models.get("digits"), prediction, **settings)
    assert len(lender.sent) == 2
    assert lent.method == method and lent.baseline == "black"
    assert maps(lent).keys() == maps(own).keys()
    assert all(map_.allclose(maps(own)[index], atol=1e-5) for index, map_ in maps(lent).items())
    assert (lent.steps, lent.converged) == (own.steps, own.converged)
    assert lent.memory_contributions == pytest.approx(own.memory_contributions, abs=1e-5)


def test_with_the_quota_used_up_the_processor_explains(models, lender, prediction, caplog):
    lender.refusal = "You have exceeded your ZeroGPU quota"
    explanation = models.explain(models.get("digits"), prediction, steps=2)
    assert explanation.prediction is prediction and explanation.steps
    assert lender.refusal in caplog.text and "the processor explains" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_borrowed_process_that_is_ended_costs_nobody_an_answer(
    page_checkpoints, lender, prediction, monkeypatch, caplog
):
    monkeypatch.setattr(BorrowingModels, "_explain_lent", lambda *_: os._exit(1))
    doomed = BorrowingModels(page_checkpoints, lender.GPU(duration=10))
    prediction = doomed.get("digits").predict_inputs([prediction.pixels])[0]
    assert doomed.explain(doomed.get("digits"), prediction, steps=2).steps
    assert "aborted" in caplog.text


def test_an_edited_bank_is_explained_by_the_processor(models, lender, prediction):
    """The borrowed process has the model's own bank only."""
    removed = prediction.used[0]
    edited = models.get("digits").predict_inputs(
        [prediction.pixels], prediction.bank.without([removed])
    )[0]
    explanation = models.explain(models.get("digits"), edited, steps=2)
    assert removed not in explanation.memory_contributions
    assert lender.sent == []


def test_a_mistake_is_told_as_without_a_gpu(models, lender, prediction):
    with pytest.raises(ValueError, match="against: expected another class"):
        models.explain(models.get("digits"), prediction, against=prediction.predicted)
    plain = models.get("plain").predict_inputs([prediction.pixels])[0]
    with pytest.raises(ModelError, match="no memory"):
        models.explain(models.get("plain"), plain)


def test_the_processor_is_asked_for_by_name(models):
    """torch says on ZeroGPU that a GPU is at hand, also where it is not."""
    assert models.get("digits").device.type == "cpu"
    assert not hasattr(models.get("digits"), "on_gpu")
