"""The path of integrated gradients: an image and the memory samples it used, on their way together.

The encoder is smooth along the path and costly; the head has the kinks and costs nothing. So with
automatic steps the head is asked at many more points than the encoder (see `quadrature`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memorywrap.explanation.baselines import STARTS
from memorywrap.explanation.methods import Logit
from memorywrap.explanation.passes import Pass, Passes
from memorywrap.explanation.path_cache import PathCache
from memorywrap.explanation.quadrature import Panel, Rule, nodes_of


@dataclass(frozen=True, eq=False)
class PathPart:
    """What one panel adds to the integral."""

    panel: Panel
    rule: Rule
    nodes: list[float]  # positions on the path
    queries: Tensor  # (nodes, dim), the input's embeddings at the nodes
    by_memory: Tensor  # (nodes, used, dim), what the memory embeddings' derivatives are weighed by
    input_map: Tensor  # (3, height, width)
    input_total: float
    memory_totals: Tensor  # (used,)
    error: float  # of the panel's total against the logit at its ends


class JointPath:
    """One image and its used samples on their way from a start."""

    def __init__(
        self,
        logit: Logit,
        image: Tensor,
        memory: Tensor,
        start: str,
        cache: PathCache,
        keys: Sequence[bytes],
    ):
        self.logit, self.image, self.memory = logit, image, memory
        self.start, self.cache, self.keys = start, cache, list(keys)
        self._queries: dict[float, Tensor] = {}  # at ends of panels: (dim,)
        self._values: dict[float, float] = {}  # the logit there

    @property
    def change(self) -> float:
        """How much the logit changes along the path, once all of it was integrated."""
        return self._values[1.0] - self._values[0.0]

    def integrate(self, panels: Sequence[Panel], rule: Rule) -> Passes[dict[Panel, PathPart]]:
        """Integrate over panels, each by the rule."""
        nodes = nodes_of(panels, rule)
        each = len(rule.nodes)
        yield from self._evaluate([end for panel in panels for end in panel])
        memory, derivatives = self.cache.derivatives(
            self.keys, self.memory, self.start, nodes
        )  # each (panels * nodes, used, dim)

        met: list[Tensor] = []

        def weigh(queries: Tensor) -> Tensor:
            by_query, by_memory = self._weigh(panels, rule, queries, memory, self.keys, self.memory)
            met[:] = queries, by_memory
            return by_query

        images, way = self._points(self.image, nodes)
        maps = (yield Pass(images, weigh)) * way
        queries, by_memory = met
        totals = (by_memory * derivatives).sum(dim=2)  # (panels * nodes, used)

        parts = {}
        for number, panel in enumerate(panels):
            rows = slice(number * each, (number + 1) * each)
            input_map, memory_totals = maps[rows].sum(dim=0), totals[rows].sum(dim=0)
            input_total = float(input_map.cpu().sum(dtype=torch.float64))
            total = input_total + float(memory_totals.sum())
            parts[panel] = PathPart(
                panel=panel,
                rule=rule,
                nodes=nodes[rows],
                queries=queries[rows],
                by_memory=by_memory[rows],
                input_map=input_map,
                input_total=input_total,
                memory_totals=memory_totals,
                error=total - (self._values[panel[1]] - self._values[panel[0]]),
            )
        return parts

    def memory_maps(
        self,
        parts: Sequence[PathPart],
        shown: Sequence[int],
        contrast: tuple[Tensor, bytes] | None = None,
    ) -> Passes[tuple[dict[int, Tensor], Tensor | None]]:
        """Maps (3, height, width) of the used samples at these positions, and of a contrast."""
        nodes = [node for part in parts for node in part.nodes]
        samples = self.memory[list(shown)]
        weights = torch.cat([part.by_memory for part in parts])[:, list(shown)]
        if contrast is not None:
            beside, key = contrast
            samples = torch.cat([samples, beside[None]])
            weights = torch.cat([weights, self._weights_of(parts, nodes, beside, key)], dim=1)
        maps = yield from self._maps(samples, nodes, weights)
        return dict(zip(shown, maps, strict=False)), None if contrast is None else maps[-1]

    def _weights_of(
        self, parts: Sequence[PathPart], nodes: Sequence[float], sample: Tensor, key: bytes
    ) -> Tensor:
        """What the derivatives of a sample (3, height, width) that joins the used ones are weighed by
        (nodes, 1, dim)."""
        keys, samples = [*self.keys, key], torch.cat([self.memory, sample[None]])
        # Not `embeddings`: at the nodes, those are known together with their derivatives.
        memory, _ = self.cache.derivatives(keys, samples, self.start, nodes)
        queries = torch.cat([part.queries for part in parts])
        panels = [part.panel for part in parts]
        _, by_memory = self._weigh(panels, parts[0].rule, queries, memory, keys, samples)
        return by_memory[:, -1:]

    def _weigh(
        self,
        panels: Sequence[Panel],
        rule: Rule,
        queries: Tensor,
        memory: Tensor,
        keys: Sequence[bytes],
        samples: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """What the encoder's derivatives at the nodes are weighed by in the integral: of the query
        (panels * nodes, dim) and of the memory (panels * nodes, samples, dim), given both there."""
        count = len(panels)
        ends = [[panel[side] for panel in panels] for side in (0, 1)]
        both_queries = [torch.stack([self._queries[end] for end in side]) for side in ends]
        both_memory = [self.cache.embeddings(keys, samples, self.start, side) for side in ends]

        def interpolated(starts: Tensor, at_nodes: Tensor, stops: Tensor) -> Tensor:
            known = torch.cat(
                [starts[:, None], at_nodes.unflatten(0, (count, -1)), stops[:, None]], dim=1
            )
            return torch.einsum("tn,pn...->pt...", rule.values.to(known), known).flatten(0, 1)

        points = interpolated(both_queries[0], queries, both_queries[1]).detach().requires_grad_()
        samples_there = (
            interpolated(both_memory[0], memory, both_memory[1]).detach().requires_grad_()
        )
        with torch.enable_grad():
            total = self.logit(points, samples_there).sum()
        gradients = torch.autograd.grad(total, (points, samples_there))
        widths = torch.tensor([high - low for low, high in panels]).to(queries)
        scaled = (rule.weights[:, None] * rule.slopes).to(queries)  # (points, nodes)
        by_query, by_memory = (
            torch.einsum("p,tn,pt...->pn...", widths, scaled, gradient.unflatten(0, (count, -1)))
            for gradient in gradients
        )
        return by_query.flatten(0, 1), by_memory.flatten(0, 1)

    def _maps(self, samples: Tensor, nodes: Sequence[float], weights: Tensor) -> Passes[Tensor]:
        """Maps (samples, 3, height, width), given the weights (nodes, samples, dim) of the
        derivatives of the samples' embeddings."""
        weights = weights.transpose(0, 1)
        # Where a sample has no memory weight, nothing depends on its pixels, and the encoder need
        # not be asked: with a contrast that is most of the path.
        asked = weights.abs().amax(dim=2) > 0  # (samples, nodes)
        paths = [self._points(sample, nodes) for sample in samples]
        sums = torch.zeros_like(samples)
        if asked.any():
            points = torch.cat([path[rows] for (path, _), rows in zip(paths, asked, strict=True)])
            gradients = yield Pass(points, weights[asked])
            sums.index_add_(0, asked.nonzero()[:, 0], gradients)
        for total, (_, way) in zip(sums, paths, strict=True):
            total.mul_(way)
        return sums

    def _evaluate(self, steps: Sequence[float]) -> Passes[None]:
        missing = sorted(set(steps) - set(self._values))
        if not missing:
            return
        memory = self.cache.embeddings(self.keys, self.memory, self.start, missing)
        queries = yield Pass(self._points(self.image, missing)[0])
        with torch.no_grad():
            logits = self.logit(queries, memory)
        self._queries |= dict(zip(missing, queries, strict=True))
        self._values |= dict(zip(missing, logits.cpu().double().tolist(), strict=True))

    def _points(self, end: Tensor, steps: Sequence[float]) -> tuple[Tensor, Tensor]:
        return between(end, self.start, steps)


def between(end: Tensor, start: str, steps: Sequence[float]) -> tuple[Tensor, Tensor]:
    """A picture (channels, height, width) at steps of its path from a start of `STARTS`, and its way from
    there."""
    begin = STARTS[start](end[None])[0]
    at = torch.tensor(steps).to(end)[:, None, None, None]
    return begin + at * (end - begin), end - begin
