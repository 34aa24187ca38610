"""How good are memory samples as examples, and who chooses them best? Each function measures one thing.

A rule of choosing gives each sample of the memory a score for each query: its memory weight, with which
the model read it, or what is reckoned afterwards as for any network. The measures take such scores
(queries, memory), -inf where a sample cannot be chosen, and know nothing of the rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from memorywrap.bank import MemoryBank
from memorywrap.classifier import MemoryWrapClassifier


@dataclass(frozen=True)
class Activity:
    """What a model computes for some queries, up to its last layer.

    Attributes:
        logits: (n, classes).
        weights: memory weights (n, memory).
        hidden: (n, hidden), what the head's last linear layer reads.
    """

    logits: Tensor
    weights: Tensor
    hidden: Tensor

    @property
    def answers(self) -> Tensor:
        """Predicted classes (n,)."""
        return self.logits.argmax(dim=1)


def activity(
    classifier: MemoryWrapClassifier, queries: Tensor, bank: MemoryBank, mask: Tensor | None = None
) -> Activity:
    """Read a memory for embeddings (n, dim), masked as for `classifier.read`."""
    hidden: list[Tensor] = []
    last = _last_layer(classifier)
    hook = last.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
    try:
        logits, weights, _ = classifier.read(queries, bank, mask)
    finally:
        hook.remove()
    return Activity(logits.cpu().float(), weights.cpu().float(), hidden[0].cpu().float())


def bank_activity(classifier: MemoryWrapClassifier, bank: MemoryBank) -> Activity:
    """That of the memory samples, each with itself masked out."""
    return activity(classifier, bank.embeddings, bank, ~torch.eye(len(bank), dtype=torch.bool))


def _last_layer(classifier: MemoryWrapClassifier) -> nn.Linear:
    return [layer for layer in classifier.head.modules() if isinstance(layer, nn.Linear)][-1]


def scores_by_rule(
    classifier: MemoryWrapClassifier,
    queries: Tensor,
    bank: MemoryBank,
    asked: Activity,
    of_bank: Activity,
    *,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Scores (n, memory) by the rules of choosing.

    Args:
        classifier: with a head that ends in a linear layer.
        queries: embeddings (n, dim).
        bank: the memory.
        asked, of_bank: the activity of the queries and of the bank.
        seed: of the random order.

    Returns:
        - "memory weight": of the samples that were used.
        - "nearest": the least Euclidean distance of the embeddings.
        - "nearest in the last layer": of what the head's last linear layer reads, as in the paper.
        - "twin contributions": the least distance of what each hidden value contributes to the logit of
          the own predicted class (Kenny and Keane, IJCAI 2019).
        - "random": an order for each query.
    """
    layer = _last_layer(classifier).weight.detach().float().cpu()

    def contributions(one: Activity) -> Tensor:
        return layer[one.answers] * one.hidden

    embeddings = (queries.float().cpu(), bank.embeddings.float().cpu())
    chance = torch.Generator().manual_seed(seed)
    return {
        "memory weight": asked.weights.masked_fill(asked.weights == 0, float("-inf")),
        "nearest": -torch.cdist(*embeddings),
        "nearest in the last layer": -torch.cdist(asked.hidden, of_bank.hidden),
        "twin contributions": -torch.cdist(contributions(asked), contributions(of_bank)),
        "random": torch.rand(len(queries), len(bank), generator=chance),
    }


def chosen_examples(scores: Tensor, predicted: Tensor, answers: Tensor) -> Tensor:
    """The example of each query (n,): the sample of the highest score that is predicted in the answer's
    class; -1 where none is that has a score.

    Args:
        scores: (n, memory).
        predicted: (memory,), predicted classes of the samples.
        answers: (n,), predicted classes of the queries.
    """
    supports = predicted == answers[:, None]
    best, chosen = scores.masked_fill(~supports, float("-inf")).max(dim=1)
    return chosen.masked_fill(best.isinf(), -1)


def non_representativeness(
    asked: Activity, of_bank: Activity, examples: Tensor
) -> dict[str, float]:
    """How far examples (n,) are from what they stand for; less is better. (La Rosa et al., Applied
    Intelligence 2022.)

    Returns:
        - "input": the mean absolute difference between the logits of query and example.
        - "prediction": the cross entropy of the example's logits and the answer to the query.
    """
    logits = of_bank.logits[examples]
    return {
        "input": float(functional.l1_loss(logits, asked.logits)),
        "prediction": float(functional.cross_entropy(logits, asked.answers)),
    }


def majority(weights: Tensor, classes: Tensor, count: int) -> Tensor:
    """The class (n,) that most used samples are of; among equals the one with more weight.

    Args:
        weights: (n, memory).
        classes: (memory,), as predicted or as labelled.
        count: of classes.
    """
    of_class = functional.one_hot(classes, count).to(weights)
    return ((weights > 0).to(weights) @ of_class + (weights @ of_class) / 2).argmax(dim=1)


def cardinality(scores: Tensor, most: int) -> float:
    """How many different samples are among the `most` best of some queries, as a share of the places that samples
    have there: little where the same few explain everything. (Quanda, arXiv 2410.07158.)

    Of as many queries as could have all samples between them, no sample twice; with more, any rule comes to all of
    them in the end. The mean over the queries in parts of so many, whatever their order is.
    """
    best, chosen = scores.topk(most, dim=1)
    chosen = chosen.masked_fill(best.isinf(), -1)
    parts = chosen.split(max(scores.shape[1] // most, 1))
    whole = [part for part in parts if len(part) == len(parts[0])]  # all but a smaller last one
    named = [part[part >= 0] for part in whole]
    found = [len(part.unique()) / len(part) for part in named if len(part)]
    return sum(found) / len(found)


def average_precision(scores: Tensor, positive: Tensor) -> float:
    """The area under the curve of precision over recall, the mean over queries; equal scores are found
    together.

    Args:
        scores: (n, memory).
        positive: bool (memory,), the samples to be found.

    Raises:
        ValueError: there is none.
    """
    if not positive.any():
        raise ValueError("positive: expected at least one sample to be found")
    areas = []
    for row in scores:
        ranked, order = row.sort(descending=True, stable=True)
        ends = torch.cat([ranked[1:] != ranked[:-1], torch.tensor([True])])  # of equal scores
        found = positive[order].double().cumsum(dim=0)[ends]
        precision = found / (ends.nonzero()[:, 0] + 1)
        areas.append((precision * found.diff(prepend=found.new_zeros(1))).sum() / found[-1])
    return float(torch.stack(areas).mean())
