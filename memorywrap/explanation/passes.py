"""Encoder passes, taken together for several explanations.

An explanation is a generator: it yields the `Pass` it needs next and is sent what the encoder gave. So
one that runs alone and many that run side by side are the same code, and the encoder sees whole batches.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

# Images (batch, 3, height, width) in [0, 1] -> embeddings (batch, dim), each image on its own.
Embed = Callable[[Tensor], Tensor]

Result = TypeVar("Result")


# Embeddings (n, dim) of the pictures of a pass -> their cotangents (n, dim).
Cotangents = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Pass:
    """What an explanation asks of the encoder: embeddings (n, dim), or vector-Jacobian products
    (n, 3, height, width), the gradients of sum(cotangents * embeddings) by the pictures.

    Attributes:
        pictures: (n, 3, height, width) in [0, 1].
        cotangents: for gradients: (n, dim), or how to get them once the embeddings are known; None
            for embeddings.
    """

    pictures: Tensor
    cotangents: Cotangents | Tensor | None = None


# Yields passes, is sent what it asked for, returns its result.
Passes = Generator[Pass, Tensor, Result]


def chunk_size(device: torch.device) -> int:
    """Images encoded at once: bounds the memory that an explanation takes, whatever its steps."""
    return 32 if device.type == "cpu" else 256


def run(embed: Embed, explanations: Sequence[Passes[Result]]) -> list[Result]:
    """Run explanations side by side, their passes in common batches; results in the given order."""
    results: dict[int, Result] = {}
    asked: dict[int, Pass] = {}

    def go_on(number: int, given: Tensor | None) -> None:
        try:
            asked[number] = explanations[number].send(given)  # type: ignore[arg-type]
        except StopIteration as stop:
            asked.pop(number, None)
            results[number] = stop.value

    for number in range(len(explanations)):
        go_on(number, None)
    while asked:
        for group in _groups(asked):
            given = _take(embed, [asked[number] for number in group])
            for number, one in zip(group, given, strict=True):
                go_on(number, one)
    return [results[number] for number in range(len(explanations))]


def _groups(asked: Mapping[int, Pass]) -> list[list[int]]:
    """Which passes go together: those of one kind, as many as fit into a chunk, or a large one alone."""
    groups: list[list[int]] = []
    room: dict[type, int] = {}
    open_: dict[type, list[int]] = {}
    for number, one in asked.items():
        kind, count = type(one.cotangents), len(one.pictures)
        if count > room.get(kind, 0):
            room[kind] = chunk_size(one.pictures.device)
            open_[kind] = []
            groups.append(open_[kind])
        open_[kind].append(number)
        room[kind] -= count
    return groups


def _take(embed: Embed, passes: Sequence[Pass]) -> Sequence[Tensor]:
    """What passes of one kind asked for."""
    counts = [len(one.pictures) for one in passes]
    pictures = torch.cat([one.pictures for one in passes]).detach()
    chunks = pictures.split(chunk_size(pictures.device))

    def embeddings() -> Tensor:
        with torch.no_grad():
            return torch.cat([embed(chunk) for chunk in chunks])

    ready = [one.cotangents for one in passes if isinstance(one.cotangents, Tensor)]
    deferred = [one.cotangents for one in passes if callable(one.cotangents)]
    if not ready and not deferred:
        return embeddings().split(counts)
    graph = None
    if not deferred:
        cotangents = torch.cat(ready)
    else:
        # The graph of one chunk is kept until the cotangents are known. Those of many would grow
        # without bound: their pictures are encoded again.
        graph = _with_graph(embed, chunks[0]) if len(chunks) == 1 else None
        known = embeddings() if graph is None else graph[1].detach()
        cotangents = torch.cat(
            [give(rows) for give, rows in zip(deferred, known.split(counts), strict=True)]
        )
    gradients: list[Tensor] = []
    for chunk, part in zip(chunks, cotangents.split([len(c) for c in chunks]), strict=True):
        leaf, embedded = graph or _with_graph(embed, chunk)
        gradients += torch.autograd.grad(embedded, leaf, part)
    return torch.cat(gradients).split(counts)


def _with_graph(embed: Embed, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """The pictures as a leaf, and their embeddings with the graph between."""
    leaf = pictures.detach().requires_grad_()
    with torch.enable_grad():
        return leaf, embed(leaf)
