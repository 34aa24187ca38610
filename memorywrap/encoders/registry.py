"""The registry of image encoders: image (3, height, width) -> embedding (dim,)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from torch import Tensor, nn


class Encoder(Protocol):
    """Any module that maps images (batch, 3, height, width) to embeddings (batch, embedding_dim).

    Where it has a method `prepare(images)`, training calls it once, with normalised training images
    (n, 3, height, width).
    """

    embedding_dim: int

    def __call__(self, images: Tensor) -> Tensor: ...


ENCODERS: dict[str, Callable[[], nn.Module]] = {}

_Build = TypeVar("_Build", bound=Callable[[], nn.Module])


def register_encoder(name: str) -> Callable[[_Build], _Build]:
    """Makes an encoder known under a name, to training, checkpoints and the command line.

    >>> @register_encoder("flat")
    ... def flat():
    ...     network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 64))
    ...     network.embedding_dim = 64
    ...     return network

    Args:
        name: what configurations call it. A name that is taken is given to the new one.
    """

    def add(build: _Build) -> _Build:
        ENCODERS[name] = build
        return build

    return add


def create_encoder(name: str) -> nn.Module:
    """A freshly initialised encoder of that name, with the attribute `embedding_dim`.

    Raises:
        ValueError: no encoder of that name, or one that does not say its `embedding_dim`.
    """
    if name not in ENCODERS:
        raise ValueError(f"unknown encoder {name!r}: expected one of {', '.join(ENCODERS)}")
    encoder = ENCODERS[name]()
    if not isinstance(getattr(encoder, "embedding_dim", None), int):
        raise ValueError(f"encoder {name!r}: expected an attribute embedding_dim, a whole number")
    return encoder


def embedding_dim(encoder: nn.Module) -> int:
    """Size of an embedding."""
    return cast(Encoder, encoder).embedding_dim
