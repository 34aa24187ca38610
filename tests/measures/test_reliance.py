"""Does the memory decide? Rates by hand, and beside answers one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny
import torch

from memorywrap.measures.reliance import reliance
from memorywrap.what_if import wilson_interval

# Half of them alike the memory, half noise: these use samples of every class.
NOISE = torch.randint(
    0, 256, (20, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
)
IMAGES = torch.cat([tiny.images(20, seed=11)[0], NOISE])


@pytest.fixture
def model():
    return tiny.classifier(memory=24)


def test_rates_are_those_of_answers_one_by_one(model) -> None:
    changed, followed, opposed, agreed = [], [], [], []
    for seen in model.predict_inputs(list(IMAGES)):
        bank = seen.bank
        others = [i for i in range(24) if bank.predicted[i] == seen.predicted]
        changed.append(model.predict(seen, without=others).predicted != seen.predicted)
        runner_up = int(seen.logits.argsort(descending=True)[1])
        wrong = [i for i in range(24) if bank.predicted[i] != runner_up]
        if len(wrong) < 24:
            followed.append(model.predict(seen, without=wrong).predicted == runner_up)
        opposed.append(seen.counterfactual is not None)
        agreed.append(int(bank.predicted[seen.weights.argmax()]) == seen.predicted)
    found = reliance(model, model.encode(IMAGES))
    for name, hits in (
        ("necessity", changed),
        ("follow_rate", followed),
        ("counterfactuals", opposed),
        ("explanation_accuracy", agreed),
    ):
        assert found[name]["percent"] == pytest.approx(100 * sum(hits) / len(hits), abs=0.01), name
        assert found[name]["images"] == len(hits)
        interval = [100 * end for end in wilson_interval(sum(hits), len(hits))]
        assert found[name]["interval"] == pytest.approx(interval, abs=0.01)
    assert 0 < sum(opposed) < 40 and len(set(changed)) == 2  # neither rate is trivial


def test_where_nothing_would_be_left_nothing_is_asked(model) -> None:
    one = replace(model.bank, predicted=torch.zeros(24, dtype=torch.int64))
    model.set_bank(one)
    answers = model.classify(IMAGES).logits.argmax(dim=1)
    found = reliance(model, model.encode(IMAGES))
    assert found["necessity"]["images"] == int((answers != 0).sum())
    nothing = model.predict_inputs([IMAGES[int((answers == 0).nonzero()[0])]])[0]
    assert nothing.without_its_class is None
    assert nothing.to_dict("tiny")["without_its_class"] is None


def test_removed_samples_do_not_come_back(model) -> None:
    seen = model.predict_inputs(list(IMAGES[:5]))[0]
    gone = [i for i in range(24) if seen.bank.predicted[i] != seen.predicted][:3]
    model.set_bank(model.bank.without(gone))
    again = model.predict_inputs(list(IMAGES[:5]))[0]
    others = [i for i in range(24) if again.bank.predicted[i] == again.predicted]
    left = model.predict(again, without=others)
    torch.testing.assert_close(again.logits_without_its_class, left.logits)


def test_what_an_answer_would_be_without_its_class_is_that_of_the_model(model) -> None:
    for seen in model.predict_inputs(list(IMAGES[:12])):
        others = [i for i in range(24) if seen.bank.predicted[i] == seen.predicted]
        left = model.predict(seen, without=others)
        class_, probability = seen.without_its_class
        assert class_ == left.predicted
        assert probability == pytest.approx(left.probabilities[class_], abs=1e-5)
        told = seen.to_dict("tiny")["without_its_class"]
        assert told == {"predicted": seen.classes[class_], "probability": probability}
    assert tiny.classifier("std").predict(tiny.picture()).without_its_class is None
