"""Which part of a memory sample answers to which part of the input.

Attention goes by the cosine similarity of two embeddings. Where an embedding is the mean of what the encoder
finds at its places, e = mean_i f_i, the similarity is a sum over pairs of places, exactly:

    e . e' / (|e| |e'|) = sum_ij f_i . f'_j / (n^2 |e| |e'|)

so each pair's term is what it adds to the similarity by which the sample got its weight.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.images import to_unit
from memorywrap.prediction import Prediction

_PAIRS = 4  # more lines than that nobody follows

Place = tuple[int, int]  # row and column, from the upper left


@dataclass(frozen=True)
class Pair:
    """Two places that answer to each other.

    Attributes:
        input, sample: the places.
        similarity: what they add to the similarity of the pictures.
    """

    input: Place
    sample: Place
    similarity: float


@dataclass(frozen=True, eq=False)
class Correspondence:
    """How the similarity of an input and a memory sample comes about.

    Attributes:
        index: bank index of the sample.
        similarity: cosine, in [-1, 1]: the sum of `terms`.
        terms: (rows, columns, rows, columns), of places of the input and places of the sample.
        pairs: the strongest terms, the greatest first; no place is in two.
    """

    index: int
    similarity: float
    terms: Tensor = field(repr=False)
    pairs: tuple[Pair, ...]

    @property
    def grid(self) -> Place:
        """Rows and columns of places of a picture."""
        return self.terms.shape[0], self.terms.shape[1]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: {index, similarity, grid, pairs: [{input, sample, similarity}]}."""
        return {
            "index": self.index,
            "similarity": self.similarity,
            "grid": list(self.grid),
            "pairs": [
                {"input": list(one.input), "sample": list(one.sample), "similarity": one.similarity}
                for one in self.pairs
            ],
        }


def corresponding(
    classifier: MemoryWrapClassifier, prediction: Prediction, index: int, *, pairs: int = _PAIRS
) -> Correspondence | None:
    """Find the places of a memory sample that answer to places of the input.

    Args:
        classifier: a model with memory.
        prediction: one of its predictions.
        index: bank index of a sample, such as `prediction.example`.
        pairs: how many are named, at most.

    Returns:
        None where the encoder's embeddings are not the mean over places.

    Raises:
        IndexError: no such sample.
    """
    if not classifier.frozen.has_cells:
        return None
    bank = prediction.require_bank()
    if not 0 <= index < len(bank):
        raise IndexError(f"index: expected 0 to {len(bank) - 1}, received {index}")
    pixels = torch.stack([prediction.pixels, bank.images[index]])
    found = classifier.frozen.in_full_precision().places(to_unit(pixels, classifier.device))
    (rows, columns), count = found.shape[2:], found.shape[2] * found.shape[3]
    places = found.flatten(2).transpose(1, 2).double()
    sizes = places.mean(dim=1).norm(dim=1)
    terms = (places[0] @ places[1].T / (count**2 * sizes.prod())).cpu()
    left, chosen = terms.clone(), []
    for _ in range(min(pairs, count)):
        one, other = divmod(int(left.argmax()), count)
        if terms[one, other] <= 0:
            break
        pair = Pair(divmod(one, columns), divmod(other, columns), float(terms[one, other]))
        chosen.append(pair)
        left[one, :] = left[:, other] = -torch.inf
    shaped = terms.reshape(rows, columns, rows, columns)
    return Correspondence(index, float(terms.sum()), shaped, tuple(chosen))
