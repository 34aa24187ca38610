"""The trust gauge: how likely a prediction is right, judged by its evidence.

Softmax says how far one class is ahead of the others. The memory says more: whether the used samples
agree, how evenly they share the weight, and how alike the input is to any memory of the class. A
logistic regression weighs these signals; it is fitted on images that the model did not learn from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SIGNALS = (
    "margin",  # the highest logit minus the second
    "agreement",  # memory weight of the samples predicted in the predicted class
    "similarity",  # mean similarity to the bank's samples predicted in that class
    "similarity ahead",  # the same minus the mean similarity to all others
    "spread",  # entropy of the memory weights
    "highest weight",
    "familiarity",  # log odds that the input shows anything known; 0 where the model cannot tell
)
_FAMILIARITY = SIGNALS.index("familiarity")

_RIDGE = 1e-4  # pulls the standardised slopes towards zero


def signals(
    logits: Tensor,
    weights: Tensor,
    similarity: Tensor,
    predicted: Tensor,
    familiarity: Tensor | None = None,
) -> Tensor:
    """What the gauge looks at, float64 (n, len(SIGNALS)).

    Args:
        logits: (n, classes).
        weights: memory weights (n, memory).
        similarity: (n, memory), -inf for samples removed from the bank.
        predicted: predicted class (memory,) of each memory sample.
        familiarity: (n,), see `memorywrap.familiarity`; None where the model has not learned it.
    """
    logits, weights, similarity = logits.double(), weights.double(), similarity.double()
    best = logits.topk(2, dim=1)
    same = predicted[None] == best.indices[:, :1]  # (n, memory)
    present = similarity > -math.inf
    alike = similarity.masked_fill(~present, 0.0)

    def mean(chosen: Tensor) -> Tensor:
        """Mean similarity to the chosen samples; to all where none is chosen."""
        chosen = torch.where((chosen & present).any(dim=1, keepdim=True), chosen & present, present)
        return (alike * chosen).sum(dim=1) / chosen.sum(dim=1)

    return torch.stack(
        [
            best.values[:, 0] - best.values[:, 1],
            (weights * same).sum(dim=1),
            mean(same),
            mean(same) - mean(~same),
            torch.special.entr(weights).sum(dim=1),
            weights.amax(dim=1),
            logits.new_zeros(len(logits)) if familiarity is None else familiarity.double(),
        ],
        dim=1,
    )


@dataclass(frozen=True)
class TrustGauge:
    """A logistic regression over the signals.

    Attributes:
        offset: log odds where every signal is zero.
        slopes: change of the log odds per unit of each signal, in the order of `SIGNALS`.
    """

    offset: float
    slopes: tuple[float, ...]

    def probability(self, signals: Tensor) -> Tensor:
        """Probabilities (n,) that the predictions are right, from `signals` (n, len(SIGNALS))."""
        return (signals @ signals.new_tensor(self.slopes) + self.offset).sigmoid()

    def to_dict(self) -> dict[str, Any]:
        """For the checkpoint's config.json."""
        return {"offset": self.offset, "slopes": dict(zip(SIGNALS, self.slopes, strict=True))}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrustGauge:
        """From config.json.

        Raises:
            ValueError: a signal is missing or unknown, or a value is no finite number.
        """
        slopes = values.get("slopes")
        if not isinstance(slopes, dict) or set(slopes) | {SIGNALS[-1]} != set(SIGNALS):
            raise ValueError(f"trust: expected slopes of {', '.join(SIGNALS)}")
        slopes = {SIGNALS[-1]: 0.0, **slopes}  # gauges of before know nothing of familiarity
        numbers = [values.get("offset"), *(slopes[name] for name in SIGNALS)]
        if not all(type(value) in (int, float) and math.isfinite(value) for value in numbers):
            raise ValueError("trust: expected finite numbers for offset and slopes")
        return cls(float(numbers[0]), tuple(float(value) for value in numbers[1:]))


def judged(signals: Tensor) -> Tensor:
    """Which predictions (n,) the gauge judges, by their signals (n, len(SIGNALS)): those for inputs that are
    not unlike everything known."""
    return signals[:, _FAMILIARITY] >= 0


def fit(signals: Tensor, right: Tensor) -> TrustGauge:
    """The gauge that tells right from wrong predictions best (maximum likelihood, with a faint ridge).

    Args:
        signals: (n, len(SIGNALS)), of images that the model did not learn from; learned from are those that
            are `judged`.
        right: bool (n,), whether the predictions were right.

    Raises:
        ValueError: all predictions were right, or all wrong.
    """
    signals, right = signals[judged(signals)], right[judged(signals)]
    if right.all() or not right.any():
        raise ValueError(
            "a trust gauge needs both right and wrong predictions to learn from: "
            f"of {len(right)} images, {int(right.sum())} were right; take more or harder ones"
        )
    centre, scale = signals.mean(dim=0), signals.std(dim=0)
    # A signal that hardly varies, as in a bank of one sample, tells nothing: its slope stays 0.
    varies = scale > 1e-6
    scale = torch.where(varies, scale, torch.ones_like(scale))
    standard = torch.where(varies, (signals - centre) / scale, torch.zeros_like(signals))
    inputs = torch.cat([standard, signals.new_ones(len(signals), 1)], dim=1)
    found = inputs.new_zeros(inputs.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([found], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        surprise = functional.binary_cross_entropy_with_logits(inputs @ found, right.double())
        total = surprise + _RIDGE * found[:-1].square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimizer.step(loss)
    slopes = found.detach()[:-1] / scale
    offset = found.detach()[-1] - (slopes * centre).sum()
    return TrustGauge(float(offset), tuple(slopes.tolist()))


def risk_coverage(confidence: Tensor, right: Tensor) -> Tensor:
    """Share of wrong answers (n,) among the 1, 2, ... n most confident (El-Yaniv & Wiener, 2010).

    Answers of equal confidence come in together: each place counts their mean.

    Args:
        confidence: (n,).
        right: bool (n,).
    """
    _, place, counts = (-confidence).unique(return_inverse=True, return_counts=True)
    wrong = torch.zeros(len(counts), dtype=torch.float64)
    wrong.index_add_(0, place, (~right).double())
    spread = (wrong / counts).repeat_interleave(counts)
    return spread.cumsum(dim=0) / torch.arange(1, len(spread) + 1)


def calibration_error(probability: Tensor, right: Tensor, bins: int = 15) -> float:
    """Expected calibration error: mean gap between probability and share of right answers, over
    bins of equally many answers (Nixon et al., arXiv 1904.01685). Of answers of equal probability each
    counts as right as all of them are on average."""
    known, place, counts = probability.unique(return_inverse=True, return_counts=True)
    shares = torch.zeros_like(known).index_add_(0, place, right.to(known)) / counts
    gaps = (known - shares).repeat_interleave(counts)
    return float(sum(part.sum().abs() for part in gaps.tensor_split(bins)) / len(gaps))
