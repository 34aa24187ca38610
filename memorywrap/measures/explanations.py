"""How good are the explanations? Each function measures one thing and is tested on known answers."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memorywrap.bank import MemoryBank
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.sets import Split
from memorywrap.explanation.explanation import Explanation
from memorywrap.measures.accuracy import SHARING, memories_of
from memorywrap.prediction import Prediction

# Pictures (batch, 3, height, width) in [0, 1] -> a score (batch,), such as a probability.
Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Agreement:
    """The paper's measures of how far the heaviest memory sample explains the prediction.

    Attributes:
        accuracy: of all predictions.
        explanation_accuracy: share of inputs whose top-weighted sample is predicted in the input's
            predicted class.
        accuracy_with_example: accuracy of the predictions where that is so.
        accuracy_with_counterfactual: accuracy where the top sample is predicted in another class.
        Shares are None where there is nothing to count.
    """

    accuracy: float | None
    explanation_accuracy: float | None
    accuracy_with_example: float | None
    accuracy_with_counterfactual: float | None


def agreement(predicted: Tensor, top_predicted: Tensor, labels: Tensor) -> Agreement:
    """Compare predictions (n,) with those of their top-weighted samples (n,), given labels (n,)."""
    agrees, right = predicted == top_predicted, predicted == labels
    return Agreement(_share(right), _share(agrees), _share(right[agrees]), _share(right[~agrees]))


@torch.no_grad()
def redrawn_agreements(
    classifier: MemoryWrapClassifier,
    queries: Tensor,
    labels: Tensor,
    train: Split,
    *,
    memories: int = 5,
    memory: int = 100,
    seed: int = 0,
) -> list[Agreement]:
    """The agreement of as many evaluations with the memories of `accuracy.redrawn_accuracies`: Tables 5 and 6
    of the paper, where 500 test images share one memory. A memory sample is predicted with the others.

    Args:
        classifier: a model with memory.
        queries: embeddings (n, dim) of the test images.
        labels: their classes (n,).
        train: where memories are drawn from.
        memories, memory: how many, of how many samples.
        seed: of what is drawn.
    """
    found = []
    for evaluation in range(memories):
        parts = []
        drawn = memories_of(train, len(labels), memory, seed, evaluation)
        for part, rows in zip(queries.split(SHARING), drawn, strict=True):
            bank = classifier.completed(
                classifier.make_bank(train.images[rows], train.labels[rows])
            )
            assert bank.predicted is not None
            logits, weights, _ = classifier.read(part, bank)
            tops = bank.predicted[weights.argmax(dim=1).cpu()]
            parts.append(torch.stack([logits.argmax(dim=1).cpu(), tops]))
        predicted, tops = torch.cat(parts, dim=1)
        found.append(agreement(predicted, tops, labels))
    return found


@torch.no_grad()
def bank_predictions(
    classifier: MemoryWrapClassifier, auxiliary: MemoryBank | None = None
) -> Tensor:
    """Predicted class (memory,) of each sample of the classifier's bank.

    Args:
        classifier: a model with a bank.
        auxiliary: a second, randomly drawn memory to predict them with, as in the paper; leave one
            out when not given.

    Raises:
        ValueError: a model without a bank.
    """
    bank = classifier.require_bank()
    if auxiliary is None:
        assert bank.predicted is not None  # the classifier completes its bank
        return bank.predicted
    return classifier.read(bank.embeddings, auxiliary)[0].argmax(dim=1).cpu()


def auroc(scores: Tensor, positive: Tensor) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half.

    Args:
        scores: (n,).
        positive: bool (n,), with both values present.

    Raises:
        ValueError: all are positive, or none is.
    """
    from scipy.stats import mannwhitneyu  # takes half a second: where it is asked for

    count = int(positive.sum())
    if count in (0, len(positive)):
        raise ValueError(f"positive: expected both values, received {count} of {len(positive)}")
    found = mannwhitneyu(scores[positive].numpy(), scores[~positive].numpy())
    return float(found.statistic) / (count * (len(positive) - count))


@torch.no_grad()
def pixel_curve(
    score: Score,
    picture: Tensor,
    order: Tensor,
    baseline: Tensor,
    *,
    insert: bool = False,
    points: int = 17,
) -> Tensor:
    """The score while pixels are deleted, or inserted, in an order (Petsiuk et al., 1806.07421).

    Args:
        score: what is watched.
        picture: (3, height, width).
        order: (height * width,), flat pixel positions, the most important first.
        baseline: (3, height, width), what stands in for missing pixels.
        insert: start from the baseline and add pixels, instead of taking them away.
        points: points on the curve, from no pixel to all.

    Returns:
        (points,), see `area`.
    """
    start, end = (baseline, picture) if insert else (picture, baseline)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    counts = torch.linspace(0, len(order), points, device=order.device).round()
    changed = (rank[None] < counts[:, None]).view(points, 1, *picture.shape[1:])
    return score(torch.where(changed, end, start)).cpu()


def area(curve: Tensor) -> float:
    """Area under a curve (points,) over [0, 1], by the trapezoid rule."""
    return float(torch.trapezoid(curve.double(), dx=1 / (len(curve) - 1)))


def pixel_order(attribution: Tensor) -> Tensor:
    """Flat pixel positions by falling attribution, from a map (3, height, width)."""
    return attribution.sum(dim=0).flatten().argsort(descending=True)


@torch.no_grad()
def memory_deletion(
    classifier: MemoryWrapClassifier, prediction: Prediction, order: Sequence[int]
) -> Tensor:
    """Probability of the predicted class after removing memory samples one after the other.

    Returns:
        (len(order) + 1,), beginning with nothing removed; ends early when the bank is empty.

    Raises:
        ValueError: the prediction of a model without memory.
    """
    bank = prediction.require_bank()
    order = list(order)[: int(bank.available.sum()) - 1]
    mask = bank.available.repeat(len(order) + 1, 1)
    for row, index in enumerate(order):
        mask[row + 1 :, index] = False
    logits = classifier.read(classifier.query(prediction).expand(len(mask), -1), bank, mask).logits
    return logits.softmax(dim=1)[:, prediction.predicted].cpu()


def infidelity_and_sensitivity(
    score: Score,
    picture: Tensor,
    attribute: Callable[[Tensor], Tensor],
    *,
    start: Tensor | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """captum.metrics' infidelity (small noise) and maximal sensitivity of an attribution.

    Args:
        score: the attributed logit.
        picture: (3, height, width).
        attribute: pictures (batch, 3, height, width) -> maps of the same shape.
        start: (3, height, width), the baseline of maps that are multiplied by (picture - baseline);
            not given for maps that are gradients.
        seed: of the random perturbations.

    Returns:
        Infidelity, scaled so that the size of the map does not matter, and the largest relative
        change of the map, both 0 at best.
    """
    import captum.metrics  # takes longer than all the rest: where it is asked for

    way = torch.ones_like(picture) if start is None else picture - start
    moves = way != 0  # where there is no way, there is nothing to attribute: no noise there either
    way = torch.where(moves, way, torch.ones_like(way))

    # Of its own: Captum would draw from the generators of the whole process.
    chance = torch.Generator().manual_seed(seed)

    def perturb(pictures: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.randn(pictures.shape, generator=chance).to(pictures)
        noise = 0.1 * noise * moves
        return noise / way, pictures - noise

    def shift(pictures: Tensor, radius: float) -> tuple[Tensor, ...]:
        """Evenly drawn from the ball of that radius in the largest change of a value."""
        way = 2 * torch.rand(pictures.shape, generator=chance).to(pictures) - 1
        return (pictures + radius * way,)

    def as_tuple(pictures: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # sensitivity_max passes and expects a tuple of inputs, even where it was given a tensor.
        return (attribute(pictures[0]),)

    batch = picture[None]
    unfaithful = captum.metrics.infidelity(
        score, perturb, batch, attribute(batch), n_perturb_samples=20, normalize=True
    )
    sensitive = captum.metrics.sensitivity_max(
        as_tuple, batch, perturb_func=shift, perturb_radius=0.02, n_perturb_samples=4
    )
    return float(unfaithful), float(sensitive)


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's correlation of two maps of the same shape; 0 where one of them is constant."""
    if first.min() == first.max() or second.min() == second.max():
        return 0.0
    from scipy.stats import spearmanr

    return float(spearmanr(first.flatten().cpu(), second.flatten().cpu()).statistic)


def randomisation_check(
    classifier: MemoryWrapClassifier,
    explain: Callable[[MemoryWrapClassifier], Tensor],
    *,
    seed: int = 0,
) -> list[tuple[str, float]]:
    """Do maps change when the network does? (Adebayo et al., arXiv 1810.03292.)

    Weights are replaced from the top down, layer after layer, each by a random order of its own
    values, so that scale and spread stay.

    Args:
        classifier: the trained model; a copy is randomised.
        explain: gives the maps (inputs, 3, height, width) of always the same inputs for a model.
        seed: of the random orders.

    Returns:
        (name of the layer randomised last, rank correlation of |map| with the trained model's, the
        mean over the inputs). A faithful method comes close to 0.
    """
    original = explain(classifier).abs()
    copied = copy.deepcopy(classifier).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    layers = [  # of any kind, attention among them: what has weights of its own
        (name, weights)
        for name, module in copied.named_modules()
        if (weights := [own for own in module.parameters(recurse=False) if own.ndim > 1])
    ]
    found = []
    # Registration order is bottom up, with the head last.
    for name, weights in reversed(layers):
        for weight in weights:
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
        pairs = zip(explain(copied).abs(), original, strict=True)
        found.append((name, statistics.fmean(rank_correlation(*pair) for pair in pairs)))
    return found


def culprit_scores(
    explanations: Sequence[Explanation], labels: Tensor, *, by_weight: bool = False
) -> Tensor:
    """How much each memory sample speaks for classes other than its label.

    A sample that carries the wrong label, or a patch of another class, supports predictions of a
    class that is not its own.

    Args:
        explanations: of many inputs, with contributions.
        labels: (memory,), the labels the bank claims.
        by_weight: add up memory weights in place of contributions, to compare.

    Returns:
        (memory,), the sum over inputs of contributions to a predicted class that is not the label.
    """
    scores = torch.zeros(len(labels), dtype=torch.float64)
    for explanation in explanations:
        prediction = explanation.prediction
        weights = {index: float(prediction.weights[index]) for index in prediction.used}
        for index, value in (weights if by_weight else explanation.memory_contributions).items():
            if int(labels[index]) != explanation.prediction.predicted:
                scores[index] += value
    return scores


def random_order(count: int, seed: int) -> Tensor:
    """A seeded random order of `count` things, to compare a ranking with."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _share(flags: Tensor) -> float | None:
    return float(flags.double().mean()) if len(flags) else None
