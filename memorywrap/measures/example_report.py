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
from memorywrap.data.sets import Split, known_data_set
from memorywrap.loading import random_bank
from memorywrap.measures import examples
from memorywrap.measures.explanations import random_order
from memorywrap.measures.planted import Planted, with_shortcut, with_strangers

_MOST = 5  # samples shown for each image, for the cardinality
_CONTRIBUTION = "contribution"  # a rule of choosing that takes an explanation of each image


def measure_examples(
    classifier: MemoryWrapClassifier,
    test: Split,
    train: Split,
    *,
    redraws: int,
    images: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure what memory samples are worth as examples, by rule of choosing.

    Args:
        classifier: with a bank.
        test: images to explain.
        train: where banks are drawn from anew.
        redraws: how many banks.
        images: that planted samples are looked for with.
        seed: of everything that is drawn.

    Returns:
        "votes": by what the majority of the used samples is taken of, shares of test images that it is
        right for, and that it says the same for as the model. "rules": by rule of choosing,
        non-representativeness "input" and "prediction", where images have an example, and "cardinality".
        "shortcut" and "mixed": by rule, average precision of finding the planted samples, for the images
        that are answered as their class; none where no image is. "answered": the share of images that is,
        by "shortcut" and "mixed", of the model as it is and of the one that has learned what was planted.
        "mixed" is None where no pictures of none of the classes can be rendered. Lists hold a number for
        each bank; those of "shortcut" and "mixed", for each in which something could be looked for.
    """
    queries = classifier.encode(test.images)
    found: dict[str, Any] = {"votes": {}, "rules": {}, "with_example": [], "answered": {}}
    seeds = [seed + 301 + redraw for redraw in range(redraws)]
    for number in seeds:
        bank = random_bank(classifier, train, number)
        _measure_bank(classifier, queries, test.labels, bank, found, number)
    _measure_planted(
        classifier, with_shortcut(classifier, test, train, images, seed), "shortcut", found, seeds
    )
    if strangers := _strangers(classifier):
        learned = with_strangers(classifier, train, strangers, images, seed)
        _measure_planted(classifier, learned, "mixed", found, seeds)
    return {"mixed": None} | found


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
    mixed = random_order(len(queries), seed)  # test images may come class by class
    found["with_example"].append(_share(have))
    asked = examples.Activity(*(part[have] for part in vars(asked).values()))
    for rule, of_images in chosen.items():
        told = found["rules"].setdefault(rule, {})
        apart: dict[str, float | None] = {"input": None, "prediction": None}
        if have.any():
            apart |= examples.non_representativeness(asked, of_bank, of_images[have])
        apart["cardinality"] = examples.cardinality(by_rule[rule][mixed], min(_MOST, len(bank)))
        for name, value in apart.items():
            told.setdefault(name, []).append(value)


def _measure_planted(
    classifier: MemoryWrapClassifier,
    planted: Planted,
    kind: str,
    found: dict[str, Any],
    seeds: Sequence[int],
) -> None:
    answered: dict[str, list[float]] = {"as it is": [], "learned": []}
    by_rule: dict[str, list[float]] = {}
    size = len(classifier.require_bank())
    for seed in seeds:
        bank, flags = planted.bank(size, seed)
        said = planted.model.classify(planted.asked, bank).logits.argmax(dim=1)
        before = classifier.classify(planted.asked, bank).logits.argmax(dim=1)
        answered["as it is"].append(_share(before == planted.label))
        answered["learned"].append(_share(said == planted.label))
        if flags.any() and (taken := said == planted.label).any():
            _find(planted.model, bank, flags, planted.asked[taken], by_rule, seed)
    found[kind], found["answered"][kind] = by_rule, answered


def _find(
    classifier: MemoryWrapClassifier,
    bank: MemoryBank,
    positive: Tensor,
    inputs: Tensor,
    found: dict[str, list[float]],
    seed: int,
) -> None:
    queries = classifier.encode(inputs)
    asked = examples.activity(classifier, queries, bank)
    of_bank = examples.bank_activity(classifier, bank)
    by_rule = examples.scores_by_rule(classifier, queries, bank, asked, of_bank, seed=seed)
    predictions = classifier.predict_inputs(list(inputs), bank)
    contributions = torch.zeros_like(by_rule["random"])  # that of a sample which was not used
    for row, explanation in zip(contributions, classifier.explain(predictions), strict=True):
        for index, value in explanation.memory_contributions.items():
            row[index] = value
    for rule, scores in {**by_rule, _CONTRIBUTION: contributions}.items():
        found.setdefault(rule, []).append(examples.average_precision(scores, positive))


def _share(flags: Tensor) -> float:
    return float(flags.double().mean())
