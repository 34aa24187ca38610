"""Memory attention: sparse weights over memory embeddings, and the two layers of the paper.

Source: La Rosa, Capobianco, Nardi, "Memory Wrap: a Data-Efficient and Interpretable Extension to
Image Classification Models", arXiv 2106.01440, section 3.
"""

from __future__ import annotations

from typing import Literal, TypeVar, get_args

import torch
from entmax import sparsemax
from torch import Tensor, nn

Distance = Literal["cosine", "l2", "dot"]
DISTANCES: tuple[Distance, ...] = get_args(Distance)

# Under the square root of a norm, so that a zero embedding has a defined cosine, 0, and gradient; it
# shortens no embedding that is longer than 1e-4.
_NORM_EPSILON = 1e-12

# A larger memory is read in chunks of so many samples, which a processor's cache holds.
_CHUNK = 16_384
# The highest scores that sparsemax ranks first: all others have weight 0 once one of these has.
_RANKED = 512

_Given = TypeVar("_Given")


def similarity(query: Tensor, memory_embeddings: Tensor, distance: Distance = "cosine") -> Tensor:
    """How alike each query is to each memory sample; larger is more alike.

    Args:
        query: (batch, dim).
        memory_embeddings: (memory, dim), or (batch, memory, dim) to give each query its own.
        distance: "cosine" gives the cosine in [-1, 1]; "l2" the negative squared Euclidean
            distance, at most 0; "dot" the inner product, unbounded.

    Returns:
        (batch, memory).

    Raises:
        ValueError: unknown distance, or shapes that do not fit each other.
    """
    _check_embeddings(query, memory_embeddings)
    if distance == "cosine":
        learns = torch.is_grad_enabled() and (
            query.requires_grad or memory_embeddings.requires_grad
        )
        if memory_embeddings.ndim == 2 and len(memory_embeddings) > _CHUNK and not learns:
            return _cosine_in_chunks(query, memory_embeddings)
        return _products(_unit(query), _unit(memory_embeddings))
    if distance == "l2":
        return -(query[:, None, :] - memory_embeddings).pow(2).sum(dim=-1)
    if distance == "dot":
        return _products(query, memory_embeddings)
    raise ValueError(f"unknown distance {distance!r}: expected one of {', '.join(DISTANCES)}")


def _cosine_in_chunks(query: Tensor, memory_embeddings: Tensor) -> Tensor:
    """(batch, memory), in one pass over the embeddings (memory, dim)."""
    unit = _unit(query).T
    scores = query.new_empty(len(query), len(memory_embeddings))
    for start in range(0, len(memory_embeddings), _CHUNK):
        part = memory_embeddings[start : start + _CHUNK]
        norms = (torch.linalg.vector_norm(part, dim=1).square() + _NORM_EPSILON).sqrt()
        scores[:, start : start + _CHUNK] = ((part @ unit) / norms[:, None]).T
    return scores


def memory_weights(
    query: Tensor,
    memory_embeddings: Tensor,
    distance: Distance = "cosine",
    mask: Tensor | None = None,
) -> Tensor:
    """Memory weights w = sparsemax(similarity): the point of the probability simplex closest to it.

    Each row solves min over w >= 0, sum(w) = 1 of ||w - similarity||^2, so it sums to one and most
    entries are exactly zero (Martins & Astudillo 2016). A sample with w > 0 is used.

    Args:
        query: (batch, dim), any floating dtype; float16 and bfloat16 are computed in float32.
        memory_embeddings: (memory, dim) or (batch, memory, dim), same dtype and device.
        distance: see `similarity`.
        mask: optional boolean (batch, memory), True where a sample may be used. Every row needs
            at least one.

    Returns:
        (batch, memory) in [0, 1], in the dtype of `query`.

    Raises:
        ValueError: unknown distance, shapes that do not fit each other, or a row of the mask without
            any sample.
    """
    _check_embeddings(query, memory_embeddings)
    # Half precision rounds the similarities enough to change which samples are used, and its
    # squares overflow; the scores are small, so computing them in float32 costs nothing.
    wide = torch.promote_types(query.dtype, torch.float32)
    with torch.autocast(query.device.type, enabled=False):
        scores = similarity(query.to(wide), memory_embeddings.to(wide), distance)
        if mask is not None:
            if mask.shape != scores.shape:
                raise ValueError(
                    f"mask: expected shape {tuple(scores.shape)} (batch, memory), "
                    f"received {tuple(mask.shape)}"
                )
            empty = (~mask.any(dim=1)).nonzero()
            if len(empty):
                raise ValueError(
                    f"mask: expected at least one sample for every query, row {int(empty[0])} "
                    "allows no sample"
                )
            scores = scores.masked_fill(~mask, float("-inf"))
        # Exact: where more than these would be used, more are looked at.
        most = _RANKED if scores.shape[1] > _RANKED else None
        return sparsemax(scores, dim=1, k=most).to(query.dtype)


def memory_vector(weights: Tensor, memory_embeddings: Tensor) -> Tensor:
    """v = w @ memory embeddings: (batch, memory), (memory, dim) or (batch, memory, dim) -> (batch, dim)."""
    if memory_embeddings.ndim == 2:
        return weights @ memory_embeddings
    return torch.einsum("bm,bmd->bd", weights, memory_embeddings)


class _Perceptron(nn.Module):
    """Two linear layers; the parameter names are those of the published package."""

    def __init__(self, inputs: int, hidden: int, outputs: int, activation: nn.Module):
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.activation = activation
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(inputs)))


def _activates(module: nn.Module) -> bool:
    """Whether a module is an activation: one of torch's, some of which have weights, or one without any that
    changes something."""
    own = type(module).__module__ == "torch.nn.modules.activation"
    return own or not (isinstance(module, nn.Identity) or any(True for _ in module.parameters()))


def _one_of(one: _Given | None, other: _Given | None, names: str) -> _Given | None:
    """What was given under one of two names."""
    if one is not None and other is not None:
        raise TypeError(f"{names} are two names of the same: expected one of them")
    return other if one is None else one


class _MemoryLayer(nn.Module):
    """What both layers share: sparse weights, the memory vector, a classifier on top."""

    # How many embeddings the classifier reads: the memory vector, and for Memory Wrap the query.
    _embeddings_read: int

    def __init__(
        self,
        encoder_dim: int | None = None,
        output_dim: int | None = None,
        mlp_activation: nn.Module | None = None,
        distance: Distance = "cosine",
        *,
        classifier: nn.Module | None = None,
        encoder_output_dim: int | None = None,
    ):
        """
        Args:
            encoder_dim: size of an embedding.
            output_dim: number of outputs (classes).
            mlp_activation: activation of the hidden layer; ReLU when not given. `nn.Identity()`, and a module
                with weights that is no activation, are taken for the classifier, which version 1.1.7 of the
                package has here.
            distance: "cosine" (the paper), "l2" or "dot".
            classifier: a module of your own in place of the perceptron.
            encoder_output_dim: another name of `encoder_dim`, as in the package.

        Raises:
            TypeError: no size of an embedding or two, or no number of outputs.
            ValueError: unknown distance.
        """
        super().__init__()
        encoder_dim = _one_of(encoder_dim, encoder_output_dim, "encoder_dim and encoder_output_dim")
        if encoder_dim is None or output_dim is None:
            raise TypeError(f"{type(self).__name__}: expected encoder_dim and output_dim")
        if classifier is None and mlp_activation is not None and not _activates(mlp_activation):
            mlp_activation, classifier = None, mlp_activation
        if distance not in DISTANCES:
            raise ValueError(
                f"unknown distance {distance!r}: expected one of {', '.join(DISTANCES)}"
            )
        self.encoder_dim = encoder_dim
        self.output_dim = output_dim
        self.distance: Distance = distance
        if classifier is None:
            inputs = self._embeddings_read * encoder_dim
            activation = nn.ReLU() if mlp_activation is None else mlp_activation
            classifier = _Perceptron(inputs, 2 * inputs, output_dim, activation)
        self.classifier = classifier

    def forward(
        self,
        input_encoding: Tensor | None = None,
        memory_encoding: Tensor | None = None,
        return_weights: bool = False,
        *,
        encoder_output: Tensor | None = None,
        memory_set: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Classify each query with the memory.

        Args:
            input_encoding: queries (batch, encoder_dim).
            memory_encoding: memory embeddings (memory, encoder_dim), or (batch, memory,
                encoder_dim) to give each query its own; same dtype and device.
            return_weights: also return the content weights.
            encoder_output, memory_set: other names of the first two, as in the package.

        Returns:
            The output (batch, output_dim), or (output, content weights (batch, memory)).

        Raises:
            TypeError: queries or memory that are not given, or given twice.
            ValueError: shapes that do not fit the layer or each other.
        """
        input_encoding = _one_of(
            input_encoding, encoder_output, "input_encoding and encoder_output"
        )
        memory_encoding = _one_of(memory_encoding, memory_set, "memory_encoding and memory_set")
        if input_encoding is None or memory_encoding is None:
            raise TypeError("expected an input encoding and a memory encoding")
        weights = self.weights(input_encoding, memory_encoding)
        output = self.read(input_encoding, memory_encoding, weights)
        return (output, weights) if return_weights else output

    def weights(self, query: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """Memory weights (batch, memory) of the queries (batch, encoder_dim); see `memory_weights`."""
        _check_embeddings(query, memory)
        if query.shape[1] != self.encoder_dim:
            raise ValueError(
                f"input encoding: expected shape (batch, {self.encoder_dim}), "
                f"received {tuple(query.shape)}"
            )
        return memory_weights(query, memory, self.distance, mask)

    def read(self, query: Tensor, memory: Tensor, weights: Tensor) -> Tensor:
        """Output (batch, output_dim) for given memory weights (batch, memory)."""
        raise NotImplementedError


class MemoryWrapLayer(_MemoryLayer):
    """The paper's layer: the output rests on the query and on the memory vector it reads.

    output = classifier([query, w @ memory embeddings]) with w = sparsemax(cosine similarity)
    (arXiv 2106.01440, equations 1 to 4). The default classifier is a perceptron of
    2 x encoder_dim inputs and 4 x encoder_dim hidden units. State dicts of the package
    `memorywrap` 1.1.7 load.

    >>> layer = MemoryWrapLayer(encoder_dim=64, output_dim=10)
    >>> output, weights = layer(torch.randn(8, 64), torch.randn(100, 64), return_weights=True)
    >>> output.shape, weights.shape
    (torch.Size([8, 10]), torch.Size([8, 100]))
    """

    _embeddings_read = 2

    def read(self, query: Tensor, memory: Tensor, weights: Tensor) -> Tensor:
        """Output (batch, output_dim) from the queries (batch, encoder_dim) and the memory vectors that
        the weights (batch, memory) read."""
        return self.classifier(torch.cat([query, memory_vector(weights, memory)], dim=1))


class BaselineMemory(_MemoryLayer):
    """The paper's baseline that sees only memory: output = classifier(w @ memory embeddings).

    The default classifier is a perceptron of encoder_dim inputs and 2 x encoder_dim hidden units.
    Arguments and calls are those of `MemoryWrapLayer`.
    """

    _embeddings_read = 1

    def read(self, query: Tensor, memory: Tensor, weights: Tensor) -> Tensor:
        """Output (batch, output_dim) from the memory vectors that the weights (batch, memory) read; the
        queries made those weights and are not looked at again."""
        return self.classifier(memory_vector(weights, memory))


def _unit(embeddings: Tensor) -> Tensor:
    norm = (embeddings.pow(2).sum(dim=-1, keepdim=True) + _NORM_EPSILON).sqrt()
    return embeddings / norm


def _products(query: Tensor, memory: Tensor) -> Tensor:
    """Inner products (batch, memory)."""
    if memory.ndim == 2:
        return query @ memory.T
    return torch.einsum("bd,bmd->bm", query, memory)


def _check_embeddings(query: Tensor, memory: Tensor) -> None:
    if query.ndim != 2 or memory.ndim not in (2, 3):
        raise ValueError(
            "expected an input encoding (batch, dim) and a memory encoding (memory, dim), "
            f"received {tuple(query.shape)} and {tuple(memory.shape)}"
        )
    if query.shape[1] != memory.shape[-1]:
        raise ValueError(
            f"input and memory encoding differ in dim: expected {query.shape[1]} as in the input, "
            f"received {memory.shape[-1]} in memory {tuple(memory.shape)}"
        )
    if memory.ndim == 3 and memory.shape[0] != query.shape[0]:
        raise ValueError(
            f"a memory encoding of its own for each of {query.shape[0]} queries: expected "
            f"({query.shape[0]}, memory, dim), received {tuple(memory.shape)}"
        )
    if memory.shape[-2] == 0:
        raise ValueError(
            f"memory encoding: expected at least one sample, received {tuple(memory.shape)}"
        )
