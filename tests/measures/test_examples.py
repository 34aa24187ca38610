"""Measures of examples, on cases whose answer is known by hand."""

from __future__ import annotations

import pytest
import tiny
import torch

from memorywrap.measures import examples

NONE = float("-inf")


def test_the_majority_counts_samples_and_weight_decides_between_equals():
    classes = torch.tensor([0, 0, 1, 1, 2])
    weights = torch.tensor([[0.1, 0.1, 0.8, 0, 0], [0.2, 0.1, 0.4, 0.3, 0], [0, 0, 0, 0, 1.0]])
    assert examples.majority(weights, classes, 3).tolist() == [0, 1, 2]


def test_an_example_is_the_best_sample_on_the_side_of_the_answer():
    scores = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.5, 0.6], [0.9, NONE, NONE]])
    predicted, answers = torch.tensor([0, 1, 1]), torch.tensor([1, 1, 1])
    assert examples.chosen_examples(scores, predicted, answers).tolist() == [1, 2, -1]


def test_an_example_with_the_same_logits_represents_its_query_wholly():
    logits = torch.tensor([[4.0, 0.0], [0.0, 2.0]])
    asked = examples.Activity(logits, torch.zeros(2, 2), torch.zeros(2, 1))
    swapped = examples.non_representativeness(asked, asked, torch.tensor([1, 0]))
    own = examples.non_representativeness(asked, asked, torch.tensor([0, 1]))
    assert own["input"] == 0 and swapped["input"] == 3  # (4 + 2 + 4 + 2) / 4
    assert swapped["prediction"] > 2 > own["prediction"] > 0


def test_few_samples_that_explain_everything_have_a_small_cardinality():
    same = torch.tensor([[3.0, 2, 1, 0]]).expand(4, -1)
    assert examples.cardinality(same, 2) == 2 / 4  # two images at a time could have all four
    assert examples.cardinality(torch.eye(4), 1) == 1
    assert examples.cardinality(torch.tensor([[1, NONE, NONE], [1, NONE, NONE]]), 2) == 1
    # However many images there are, the same in their parts is the same.
    assert examples.cardinality(torch.eye(4).repeat(50, 1), 1) == 1
    assert examples.cardinality(torch.eye(4).repeat_interleave(40, dim=0), 1) == 1 / 4


@pytest.mark.parametrize(
    ("scores", "area"),
    [
        ([0.9, 0.8, 0.1, 0.0], 1.0),
        ([0.1, 0.0, 0.9, 0.8], (1 / 3 + 2 / 4) / 2),
        ([0.5, 0.5, 0.5, 0.5], 0.5),  # equal ones are found together, whatever their order
        ([0.9, NONE, 0.8, NONE], (1 + 2 / 4) / 2),
    ],
)
def test_average_precision(scores, area):
    positive = torch.tensor([True, True, False, False])
    found = examples.average_precision(torch.tensor([scores]), positive)
    assert found == pytest.approx(area)
    with pytest.raises(ValueError, match="at least one"):
        examples.average_precision(torch.tensor([scores]), ~positive & positive)


def test_a_sample_is_nearest_to_itself_by_every_rule_but_chance():
    model = tiny.classifier(memory=12)
    bank = model.require_bank()
    of_bank = examples.bank_activity(model, bank)
    assert of_bank.answers.tolist() == bank.predicted.tolist()  # leave one out, as the bank has it
    by_rule = examples.scores_by_rule(model, bank.embeddings, bank, of_bank, of_bank)
    for rule in ("nearest", "twin contributions"):
        assert by_rule[rule].argmax(dim=1).tolist() == list(range(12)), rule
    assert not by_rule["memory weight"].isnan().any()
    used = ~by_rule["memory weight"].isinf()
    assert (used == (of_bank.weights > 0)).all() and not used.diagonal().any()
