"""The examples of a model beside those that any network could be given: `examples` on test images.

Part of `memorywrap evaluate --explanations`. The authors' `eval_dir_mv.py` leaves equal votes to the lowest
class number; here the weight decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from memorywrap.bank import MemoryBank
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.others import render_others
from memorywrap.data.sets import Split, known_data_set
from memorywrap.images import of_side
from memorywrap.loading import random_bank
from memorywrap.measures import examples
from memorywrap.measures.explanations import random_order

_MOST = 5  # samples shown for each image, for the cardinality
_CONTRIBUTION = "contribution"  # a rule of choosing that takes an explanation of each image


def measure_examples(
    classifier: MemoryWrapClassifier,
    test: Split,
    train: Split,
    *,
    redraws: int,
    planted: int,
    images: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure what memory samples are worth as examples, by rule of choosing.

    Args:
        classifier: with a bank.
        test: images to explain.
        train: where banks are drawn from anew.
        redraws: how many banks.
        planted: samples that are planted in each, to be found again.
        images: that they are looked for with.
        seed: of everything that is drawn.

    Returns:
        "votes": by what the majority of the used samples is taken of, shares of test images that it is
        right for, and that it says the same for as the model. "rules": by rule of choosing,
        non-representativeness "input" and "prediction" and "cardinality", where images have an example.
        "shortcut" and "mixed": by rule, average precision of finding the planted samples; "answered":
        the share of images of other classes that are answered as the class of the shortcut, without and
        with it. "mixed" is None where no pictures of none of the classes can be rendered. Lists hold a
        number for each bank.
    """
    queries = classifier.encode(test.images)
    found: dict[str, Any] = {
        "votes": {},
        "rules": {},
        "with_example": [],
        "shortcut": {},
        "mixed": {},
    }
    strangers = _strangers(classifier)
    found["answered"] = {"without": [], "with": []}
    for redraw in range(redraws):
        number = seed + 301 + redraw
        bank = random_bank(classifier, train, number)
        _measure_bank(classifier, queries, test.labels, bank, found, number)
        _measure_shortcut(classifier, test, bank, found, planted, images, number)
        if strangers:
            _measure_mixed(classifier, bank, found, strangers, planted, images, number)
    return found | ({} if strangers else {"mixed": None})


def _strangers(classifier: MemoryWrapClassifier) -> Sequence[str]:
    known = known_data_set(classifier.config.data.get("name", ""))
    return () if known is None else known.strangers


def _measure_bank(
    classifier: MemoryWrapClassifier,
    queries: Tensor,
    labels: Tensor,
    bank: MemoryBank,
    found: dict[str, Any],
    seed: int,
) -> None:
    asked = examples.activity(classifier, queries, bank)
    of_bank = examples.bank_activity(classifier, bank)
    assert bank.predicted is not None  # the classifier completes its banks
    for name, classes in (("predicted", bank.predicted), ("labelled", bank.labels)):
        said = examples.majority(asked.weights, classes, len(classifier.config.classes))
        told = found["votes"].setdefault(name, {"right": [], "same": []})
        told["right"].append(_share(said == labels))
        told["same"].append(_share(said == asked.answers))
    by_rule = examples.scores_by_rule(classifier, queries, bank, asked, of_bank, seed=seed)
    chosen = {
        rule: examples.chosen_examples(scores, bank.predicted, asked.answers)
        for rule, scores in by_rule.items()
    }
    have = torch.stack(list(chosen.values())).ge(0).all(dim=0)
    found["with_example"].append(_share(have))
    asked = examples.Activity(*(part[have] for part in vars(asked).values()))
    for rule, of_images in chosen.items():
        told = found["rules"].setdefault(rule, {})
        apart: dict[str, float | None] = {"input": None, "prediction": None}
        if have.any():
            apart |= examples.non_representativeness(asked, of_bank, of_images[have])
        apart["cardinality"] = examples.cardinality(by_rule[rule], min(_MOST, len(bank)))
        for name, value in apart.items():
            told.setdefault(name, []).append(value)


def _measure_shortcut(
    classifier: MemoryWrapClassifier,
    test: Split,
    bank: MemoryBank,
    found: dict[str, Any],
    planted: int,
    images: int,
    seed: int,
) -> None:
    """Some of a class's samples, half of them at most, carry a mark, and so do images of other classes: are the
    samples found that have it? The model has not learned the mark; how many of the images it answers as that
    class says whether it follows it all the same."""
    class_ = int(bank.labels.mode().values)
    of_class = (bank.labels == class_).nonzero()[:, 0]
    rows = of_class[: max(min(planted, len(of_class) // 2), 1)]
    others = (test.labels != class_).nonzero()[:, 0]
    shown = test.images[others[random_order(len(others), seed)[:images]]]
    marked = bank.images.clone()
    marked[rows] = examples.stamped(marked[rows])
    drawn = classifier.make_bank(marked, bank.labels)
    for name, inputs in (("without", shown), ("with", examples.stamped(shown))):
        answers = classifier.classify(inputs, drawn).logits.argmax(dim=1)
        found["answered"][name].append(_share(answers == class_))
    _find(classifier, drawn, rows, examples.stamped(shown), found["shortcut"], seed)


def _measure_mixed(
    classifier: MemoryWrapClassifier,
    bank: MemoryBank,
    found: dict[str, Any],
    strangers: Sequence[str],
    planted: int,
    images: int,
    seed: int,
) -> None:
    """Pictures of none of the classes lie among the samples, all under one label: are they found with other
    such pictures?"""
    rendered, _ = render_others(planted + images, seed, strangers, "test")
    rendered = of_side(rendered, classifier.config.image_size)
    rows = random_order(len(bank), seed)[:planted]
    mixed, labels = bank.images.clone(), bank.labels.clone()
    mixed[rows], labels[rows] = rendered[: len(rows)], 0
    drawn = classifier.make_bank(mixed, labels)
    _find(classifier, drawn, rows, rendered[planted:], found["mixed"], seed)


def _find(
    classifier: MemoryWrapClassifier,
    bank: MemoryBank,
    rows: Tensor,
    inputs: Tensor,
    found: dict[str, list[float]],
    seed: int,
) -> None:
    positive = torch.zeros(len(bank), dtype=torch.bool)
    positive[rows] = True
    queries = classifier.encode(inputs)
    asked = examples.activity(classifier, queries, bank)
    of_bank = examples.bank_activity(classifier, bank)
    by_rule = examples.scores_by_rule(classifier, queries, bank, asked, of_bank, seed=seed)
    predictions = classifier.predict_inputs(list(inputs), bank)
    contributions = torch.full_like(by_rule["random"], float("-inf"))
    for row, explanation in zip(contributions, classifier.explain(predictions), strict=True):
        for index, value in explanation.memory_contributions.items():
            row[index] = value
    for rule, scores in {**by_rule, _CONTRIBUTION: contributions}.items():
        found.setdefault(rule, []).append(examples.average_precision(scores, positive))


def _share(flags: Tensor) -> float:
    return float(flags.double().mean())
