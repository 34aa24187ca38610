"""What if the memory were another? Answers by running the model, never by estimate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memorywrap.bank import MemoryBank
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.prediction import Prediction

# Removals tried in one batch: bounds memory, whatever the size of the bank.
_CHUNK = 512


@dataclass(frozen=True)
class FlipSet:
    """The smallest set of memory samples whose removal changes the prediction.

    Attributes:
        removed: bank indices; None if no set of up to `limit` samples was found.
        predicted: index of the class predicted without them (the unchanged class if None).
        exact: whether no smaller set exists: all sets of one and two were tried, larger ones are
            found greedily.
        limit: the largest size looked for.
    """

    removed: tuple[int, ...] | None
    predicted: int
    exact: bool
    limit: int

    def to_dict(self, prediction: Prediction) -> dict[str, Any]:
        """For JSON, with class names and the removed samples as `Prediction.memory` gives them."""
        return {
            "removed": None
            if self.removed is None
            else [prediction.memory(index) for index in self.removed],
            "predicted": prediction.classes[self.predicted],
            "exact": self.exact,
            "limit": self.limit,
        }


def flip_set(classifier: MemoryWrapClassifier, prediction: Prediction, limit: int = 10) -> FlipSet:
    """Find the smallest set of samples without which the prediction would be another.

    Only used samples matter: removing an unused one leaves every weight as it is. So all single
    used samples are tried, then all pairs of a used sample with one that is used without it, and
    then, greedily, the sample whose removal brings the prediction closest to changing.

    Args:
        classifier: a model with memory.
        prediction: one of its predictions.
        limit: the largest set to look for, at least 1.
    """
    bank = prediction.require_bank()
    if limit < 1:
        raise ValueError(f"limit: expected at least 1, received {limit}")
    query = classifier.query(prediction)
    predicted = prediction.predicted

    def tried(removals: list[tuple[int, ...]]) -> tuple[Tensor, Tensor, Tensor]:
        """Predicted classes, margins of the present class, and used samples without each set."""
        return _without(classifier, query, bank, removals, predicted)

    size = int(bank.available.sum())
    singles: list[tuple[int, ...]] = [(index,) for index in prediction.used] if size > 1 else []
    answer, margins, used = tried(singles)
    found = _best_flip(singles, answer, margins, predicted)
    if found is None and limit >= 2 and size > 2:
        pairs = {
            tuple(sorted((first[0], second)))
            for first, now_used in zip(singles, used, strict=True)
            for second in now_used.nonzero().flatten().tolist()
        }
        ordered = sorted(pairs)
        answer, margins, used = tried(ordered)
        found = _best_flip(ordered, answer, margins, predicted)
        closest = ordered[int(margins.argmin())] if ordered else None
        while found is None and closest is not None and len(closest) < min(limit, size - 1):
            now_used = used[ordered.index(closest)].nonzero().flatten().tolist()
            ordered = [(*closest, index) for index in now_used]
            answer, margins, used = tried(ordered)
            found = _best_flip(ordered, answer, margins, predicted)
            closest = ordered[int(margins.argmin())]
    if found is None:
        return FlipSet(None, predicted, exact=limit <= 2 or size <= 3, limit=limit)
    removed, now = found
    return FlipSet(tuple(sorted(removed)), now, exact=len(removed) <= 3, limit=limit)


def _without(
    classifier: MemoryWrapClassifier,
    query: Tensor,
    bank: MemoryBank,
    removals: Sequence[tuple[int, ...]],
    predicted: int,
) -> tuple[Tensor, Tensor, Tensor]:
    answers, margins, used = [], [], []
    for start in range(0, len(removals), _CHUNK):
        chunk = removals[start : start + _CHUNK]
        mask = bank.available.repeat(len(chunk), 1)  # (sets, memory)
        for row, removed in enumerate(chunk):
            mask[row, list(removed)] = False
        read, weights, _ = classifier.read(query.expand(len(chunk), -1), bank, mask)
        logits = read.cpu()
        others = logits.clone()
        others[:, predicted] = float("-inf")
        answers.append(logits.argmax(dim=1))
        margins.append(logits[:, predicted] - others.amax(dim=1))
        used.append((weights > 0).cpu())
    if not answers:
        return torch.empty(0), torch.empty(0), torch.empty(0, len(bank))
    return torch.cat(answers), torch.cat(margins), torch.cat(used)


def _best_flip(
    removals: Sequence[tuple[int, ...]], answers: Tensor, margins: Tensor, predicted: int
) -> tuple[tuple[int, ...], int] | None:
    """Of the sets that change the prediction, the one that changes it most clearly."""
    flips = (answers != predicted).nonzero().flatten().tolist()
    if not flips:
        return None
    best = min(flips, key=lambda row: float(margins[row]))
    return removals[best], int(answers[best])


@dataclass(frozen=True)
class Stability:
    """How a prediction fares when the memory is drawn anew.

    Attributes:
        runs: number of redrawn banks.
        agreement: share of them with the same predicted class.
        interval: 95 % confidence interval of that share (Wilson).
        classes: how often each class index was predicted.
        recurrent: pixel digests of the samples that were drawn at least twice and used in most of
            their banks, with (label, times used, times in the bank), the most certain first: by
            the lower end of their share's confidence interval.
    """

    runs: int
    agreement: float
    interval: tuple[float, float]
    classes: dict[int, int]
    recurrent: list[tuple[bytes, int, int, int]]

    def to_dict(self, prediction: Prediction, most: int = 10) -> dict[str, Any]:
        """For JSON, with class names and at most so many recurrent samples."""
        return {
            "banks": self.runs,
            "agreement": self.agreement,
            "interval": list(self.interval),
            "classes": {prediction.classes[index]: n for index, n in self.classes.items()},
            "recurrent": [
                {
                    "sample": key.hex(),
                    "label": prediction.classes[label],
                    "used": used,
                    "drawn": drawn,
                }
                for key, label, used, drawn in self.recurrent[:most]
            ],
        }


def stability(
    classifier: MemoryWrapClassifier, prediction: Prediction, banks: Iterable[MemoryBank]
) -> Stability:
    """Predict the same input with other banks and count how often the answer stays.

    Args:
        classifier: a model with memory.
        prediction: the prediction in question.
        banks: redrawn banks, as `loading.random_bank` gives them.

    Raises:
        ValueError: no bank was given.
    """
    query = classifier.query(prediction)
    classes: Counter[int] = Counter()
    used: Counter[bytes] = Counter()
    present: Counter[bytes] = Counter()
    labels: dict[bytes, int] = {}
    for bank in banks:
        logits, weights, _ = classifier.read(query, bank)
        classes[int(logits[0].argmax())] += 1
        present.update(set(bank.keys))  # a sample may stand in a bank twice
        labels.update(zip(bank.keys, bank.labels.tolist(), strict=True))
        used.update({bank.keys[index] for index in weights[0].nonzero().flatten().tolist()})
    runs = sum(classes.values())
    if runs == 0:
        raise ValueError("banks: expected at least one redrawn bank, received none")
    agreed = classes[prediction.predicted]
    return Stability(
        runs=runs,
        agreement=agreed / runs,
        interval=wilson_interval(agreed, runs),
        classes=dict(classes),
        recurrent=[
            (key, labels[key], times, present[key])
            for key, times in sorted(
                used.items(), key=lambda kv: -wilson_interval(kv[1], present[kv[0]])[0]
            )
            if present[key] > 1 and 2 * times > present[key]
        ],
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Wilson score interval of a share, which covers it in 95 of 100 cases."""
    from scipy.stats import binomtest  # takes half a second: where it is asked for

    low, high = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(low), float(high)
