"""Quadrature along the path of integrated gradients: panels, and the rules that integrate them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# Automatic steps: panels of a few nodes each, halved where the error is. The first ones are graded,
# because the embedding turns fastest where the picture begins to leave the plain baseline.
PANEL_STEPS = 3
FIRST_ENDS = (0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)

# Of the rule that asks the head: nodes per piece, and pieces per panel.
_FINE_STEPS = 4
_FINE_PIECES = 6

Panel = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Rule:
    """How a panel, as the interval [0, 1], is integrated.

    The encoder is asked at a few nodes. The head, which costs next to nothing, is asked at many
    points: the embeddings there are interpolated, and its gradient weighs the encoder's derivatives
    at the nodes, which are interpolated as well. The kinks of the path, where samples enter and
    leave the used set, all lie in the head.

    Attributes:
        nodes: (nodes,), where the encoder is asked.
        weights: (points,), of the points at which the head is asked.
        values: (points, nodes + 2), embeddings there from those at the start, nodes and end.
        slopes: (points, nodes), the encoder's derivatives there from those at the nodes.
    """

    nodes: Tensor
    weights: Tensor
    values: Tensor
    slopes: Tensor


@cache
def gauss_rule(steps: int) -> Rule:
    """Gauss-Legendre: encoder and head are asked at the same nodes."""
    nodes, weights = _gauss(steps)
    same = torch.eye(steps, dtype=torch.float64)
    return Rule(nodes, weights, functional.pad(same, (1, 1)), same)


@cache
def product_rule() -> Rule:
    """The head is asked at the nodes of a finer rule (product integration)."""
    nodes, _ = _gauss(PANEL_STEPS)
    fine, weights = _gauss(_FINE_STEPS)
    points = torch.cat([(piece + fine) / _FINE_PIECES for piece in range(_FINE_PIECES)])
    ends = torch.cat([torch.tensor([0.0]), nodes, torch.tensor([1.0])])
    return Rule(
        nodes,
        weights.repeat(_FINE_PIECES) / _FINE_PIECES,
        _lagrange(ends, points),
        _lagrange(nodes, points),
    )


def _gauss(steps: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of the Gauss-Legendre rule on [0, 1]."""
    roots, weights = np.polynomial.legendre.leggauss(steps)
    return torch.from_numpy(roots + 1) / 2, torch.from_numpy(weights) / 2


def _lagrange(nodes: Tensor, points: Tensor) -> Tensor:
    """(points, nodes): what the value at each node counts in the polynomial's value at a point."""
    apart = nodes[:, None] - nodes
    apart.fill_diagonal_(1)
    factors = (points[:, None, None] - nodes) / apart  # (points, nodes, nodes)
    factors.diagonal(dim1=1, dim2=2).fill_(1)
    return factors.prod(dim=2)


def nodes_of(panels: Sequence[Panel], rule: Rule) -> list[float]:
    """The rule's nodes in each panel."""
    places = rule.nodes.tolist()
    return [low + (high - low) * place for low, high in panels for place in places]


def first_panels() -> list[Panel]:
    """Where automatic steps begin."""
    return list(pairwise(FIRST_ENDS))


def halves(panel: Panel) -> list[Panel]:
    """The panel cut in the middle."""
    middle = (panel[0] + panel[1]) / 2
    return [(panel[0], middle), (middle, panel[1])]
