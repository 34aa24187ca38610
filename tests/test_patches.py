"""Patch counterfactuals hold what they say: each is checked by running the model on the picture."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny
import torch

from memorywrap import patches
from memorywrap.patches import patch_counterfactual, patch_counterfactuals

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    model = tiny.classifier(memory=20)
    model.bank.predicted.copy_(model.bank.labels)  # untrained, it would predict one class for all
    return model


def changed(prediction, patch, cells):
    """The picture with these cells of the sample, made anew here."""
    pixels, side = prediction.pixels.clone(), tiny.SIZE // patch.grid
    for row, column in cells:
        place = (slice(None), slice(side * row, side * (row + 1)))
        place += (slice(side * column, side * (column + 1)),)
        pixels[place] = patch.laid_over[place]
    return pixels


def found(model, seeds=range(8)):
    """Predictions and their patch counterfactuals."""
    predictions = [model.predict(tiny.picture(seed)) for seed in seeds]
    pairs = [(one, patch_counterfactual(model, one)) for one in predictions]
    return [(one, patch) for one, patch in pairs if patch is not None]


@pytest.mark.parametrize("half", [True, False])
def test_with_its_cells_the_answer_is_the_samples_class_and_without_any_one_it_is_not(
    model, half, monkeypatch
):
    monkeypatch.setattr(patches, "bfloat16_pays", lambda device: half)
    pairs = found(model)
    assert pairs
    for prediction, patch in pairs:
        target = int(model.bank.predicted[patch.source])
        assert torch.equal(patch.pixels, changed(prediction, patch, patch.cells))
        (now,) = model.predict_inputs([patch.pixels])
        assert now.predicted == patch.prediction.predicted == target != prediction.predicted
        for cell in patch.cells if len(patch.cells) > 1 else ():
            left = [other for other in patch.cells if other != cell]
            (now,) = model.predict_inputs([changed(prediction, patch, left)])
            assert now.predicted != target


@pytest.mark.parametrize("in_half", [(0, frozenset()), None])
def test_what_does_not_hold_or_is_not_found_in_bfloat16_is_looked_for_in_full_precision(
    model, monkeypatch, in_half
):
    monkeypatch.setattr(patches, "bfloat16_pays", lambda device: True)
    prediction, patch = found(model)[0]
    fewest, looked = patches._Search._fewest, []

    def wrong_in_half(search):
        looked.append(search.half)
        if search.half:
            return in_half
        return (yield from fewest(search))

    monkeypatch.setattr(patches._Search, "_fewest", wrong_in_half)
    again = patch_counterfactual(model, prediction)
    assert looked == [True, False]
    assert again.prediction.predicted == patch.prediction.predicted


def test_cells_come_from_the_counterfactual_or_else_from_the_contrast(model):
    for prediction, patch in found(model):
        expected = prediction.counterfactual
        assert patch.source == (prediction.contrast if expected is None else expected)
        down, right = patch.shift
        sample = model.bank.images[patch.source]
        middle = slice(8, 24)
        moved = sample[:, 8 - down : 24 - down, 8 - right : 24 - right]
        assert torch.equal(patch.laid_over[:, middle, middle], moved)


def test_it_is_found_again_and_told_in_json(model):
    prediction, patch = found(model)[0]
    again = patch_counterfactual(model, prediction)
    assert again.to_dict() == patch.to_dict()
    told = patch.to_dict()
    assert told["predicted"] == tiny.CLASSES[patch.prediction.predicted]
    assert told["cells"] == [list(cell) for cell in patch.cells] and told["grid"] == 8
    assert 0 < told["probability"] <= 1


def test_a_sample_that_does_not_change_the_answer_gives_way_to_the_next(model, monkeypatch):
    prediction, patch = found(model)[0]
    run, tried = patches._Search.run, []

    def fails_at_first(self):
        tried.append(self.source)
        if len(tried) == 1:
            return None
        return (yield from run(self))

    monkeypatch.setattr(patches._Search, "run", fails_at_first)
    patch_counterfactual(model, prediction)
    others = prediction.similarity[[i for i in range(20) if prediction.role(i) != "example"]]
    assert tried[0] == patch.source != tried[1]
    assert prediction.similarity[tried[1]] in others.topk(2).values


def test_several_are_found_together_as_each_alone(model, monkeypatch):
    monkeypatch.setattr(patches, "bfloat16_pays", lambda device: False)
    others = tiny.classifier(memory=20)
    predictions = [model.predict(tiny.picture(seed)) for seed in range(6)]
    predictions += [model.predict(tiny.picture(6), bank=others.bank)]  # reads another memory
    alike = torch.full_like(model.bank.predicted, predictions[2].predicted)
    predictions[2] = replace(predictions[2], bank=replace(model.bank, predicted=alike))
    alone = [patch_counterfactual(model, one) for one in predictions]
    encoded, encode = [], model.encode
    monkeypatch.setattr(model, "encode", lambda x: encoded.append(len(x)) or encode(x))
    together = patch_counterfactuals(model, predictions)
    passes = len(encoded)
    assert [one and (one.source, one.cells, one.shift) for one in together] == [
        one and (one.source, one.cells, one.shift) for one in alone
    ]
    assert together[2] is None and sum(one is not None for one in together) > 1
    for one in predictions:
        patch_counterfactual(model, one)
    assert passes < len(encoded) - passes  # fewer than one after the other
    assert patch_counterfactuals(model, []) == []


def test_where_all_memory_is_of_the_answers_class_there_is_none(model):
    prediction = model.predict(tiny.picture())
    alike = torch.full_like(prediction.bank.predicted, prediction.predicted)
    same = replace(prediction, bank=replace(prediction.bank, predicted=alike))
    assert patch_counterfactual(model, same) is None


def test_removed_samples_lend_no_cells(model):
    prediction = model.predict(tiny.picture(3))
    others = [i for i in range(20) if prediction.role(i) != "example"]
    left = model.predict(tiny.picture(3), without=others[:-1])
    left = replace(left, bank=replace(left.bank, predicted=model.bank.labels))
    assert set(patches._sources(left)) <= set(range(20)) - set(others[:-1])


def test_a_plain_network_has_none():
    plain = tiny.classifier("std")
    with pytest.raises(ValueError, match="no memory bank"):
        patch_counterfactual(plain, plain.predict(tiny.picture()))


def test_samples_are_also_turned_where_the_model_does_not_mind():
    model = tiny.classifier(memory=20, mirror=True)
    model.bank.predicted.copy_(model.bank.labels)
    search = patches._Search(model, model.predict(tiny.picture()), source=0)
    pairs = dict(zip(search.alignments, search.samples, strict=True))
    assert torch.equal(pairs[((0, 0), True)], pairs[((0, 0), False)].flip(2))
    assert torch.equal(pairs[((0, 0), False)], model.bank.images[0])


def test_pieces_are_counted_by_shared_sides():
    assert patches._pieces([0, 1, 9]) == 1
    assert patches._pieces([0, 9]) == 2  # a corner is not enough
    assert patches._pieces([7, 8]) == 2  # nor is the end of a row beside the start of the next


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_attributions_say_what_a_small_step_would_bring(model, dtype):
    halved = tiny.classifier(memory=20).to(dtype)
    halved.bank.predicted.copy_(halved.bank.labels)
    prediction = halved.predict(tiny.picture())
    search = patches._Search(halved, prediction, next(patches._sources(prediction)))
    found = search.attributions()
    assert found.shape == (len(search.alignments), 64) and found.isfinite().all()
    same = patches._Search(halved, prediction, search.source)
    same.samples = prediction.pixels.expand_as(same.samples)
    assert not same.attributions().any()  # where nothing would be replaced, nothing would change
