"""Integrated gradients over an input and the memory samples it used.

The path runs straight from a baseline to the real pixels, input and used memory samples moving
together; at each step the input attends only to the memory of that same step (Sundararajan et al.,
arXiv 1703.01365, for the method; La Rosa et al., arXiv 2106.01440, for its use on memory).

Along that path a memory sample's embedding depends on the sample, the baseline and the step, never
on the input. So `PathCache` keeps, per sample and step, the embedding and its derivative along the
path (forward mode). What is left for an explanation is the input's own path; the total contribution
of every sample is then a quadrature of (gradient of the logit by its embedding) . (derivative of its
embedding), and only the samples that are shown as maps cost encoder passes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

Embed = Callable[[Tensor], Tensor]
# (queries (batch, dim), memory (batch, used, dim)) -> what is attributed (batch,)
Logit = Callable[[Tensor, Tensor], Tensor]

# A baseline gives, for images (batch, 3, height, width) in [0, 1], the images the paths start from.
BASELINES: dict[str, Callable[[Tensor], Tensor]] = {
    "white": torch.ones_like,
    "black": torch.zeros_like,
}

# Automatic steps: panels of a low-order Gauss-Legendre rule, halved where the error is. The path has
# kinks (samples enter and leave the used set), where short panels help and a high order does not.
PANEL_STEPS = 3
FIRST_PANELS = 4
MAX_STEPS = 96
TOLERANCE = 0.005
SLACK = 4  # panels' errors may add up to this many tolerances before their signs are considered

# Images encoded at once: bounds the memory that an explanation takes, whatever its steps.
_CHUNK = 64

# PyTorch keeps the level of forward-mode derivatives per process, not per thread: a second one that
# ends meanwhile takes the first one's level away.
_ONE_AT_A_TIME = threading.Lock()

Panel = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Attribution:
    """Integrated gradients of one logit.

    Attributes:
        input_map: (3, height, width), in units of the logit; sums to `input_total`.
        memory_maps: the same for each memory sample that was asked for, by its position.
        contrast_map: the same for the contrast, attributed as if it stood beside the used samples:
            it has no weight at the end of the path, but may have some on the way. None if not asked
            for; no part of the totals.
        input_total: contribution of the input to the logit's change along the path.
        memory_totals: (used,), the contribution of every used sample.
        change: F(input, memory) - F(baselines).
        steps: number of path steps taken.
        completeness_error: |sum of all attributions - change| / |change|.
        converged: whether the error is within the tolerance (true for a fixed number of steps).
    """

    input_map: Tensor
    memory_maps: dict[int, Tensor]
    contrast_map: Tensor | None
    input_total: float
    memory_totals: Tensor
    change: float
    steps: int
    completeness_error: float
    converged: bool


class PathCache:
    """Embeddings of memory samples along their paths, and the derivatives; grows as it is asked.

    Rows are kept under a digest of the sample's pixels, so edits of a bank keep what is known. The
    owner starts a new cache when the encoder's weights change.
    """

    def __init__(self, embed: Embed):
        self.embed = embed
        # (baseline, step, with derivative) -> sample key -> row or rows (dim,)
        self._rows: dict[tuple[str, float, bool], dict[bytes, Tensor]] = {}

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._rows.values())

    def embeddings(
        self, keys: Sequence[bytes], pixels: Tensor, baseline: str, steps: Sequence[float]
    ) -> Tensor:
        """Embeddings (steps, samples, dim) of samples (samples, 3, height, width) on their paths."""
        return self._gather(keys, pixels, baseline, steps, derivative=False)[..., 0]

    def derivatives(
        self, keys: Sequence[bytes], pixels: Tensor, baseline: str, steps: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """Embeddings and their derivatives by the step, each (steps, samples, dim)."""
        rows = self._gather(keys, pixels, baseline, steps, derivative=True)
        return rows[..., 0], rows[..., 1]

    def warm(self, keys: Sequence[bytes], pixels: Tensor, baseline: str) -> None:
        """Compute ahead of time what every explanation with automatic steps begins with."""
        panels = _uniform_panels(FIRST_PANELS)
        self.derivatives(keys, pixels, baseline, _nodes(panels, PANEL_STEPS))
        self.embeddings(keys, pixels, baseline, sorted({end for panel in panels for end in panel}))

    def _gather(
        self,
        keys: Sequence[bytes],
        pixels: Tensor,
        baseline: str,
        steps: Sequence[float],
        derivative: bool,
    ) -> Tensor:
        blocks = [self._rows.setdefault((baseline, step, derivative), {}) for step in steps]
        missing = [
            (block, step, row)
            for block, step in zip(blocks, steps, strict=True)
            for row, key in enumerate(keys)
            if key not in block
        ]
        for start in range(0, len(missing), _CHUNK):
            chunk = missing[start : start + _CHUNK]
            ends = pixels[[row for _, _, row in chunk]]
            starts = BASELINES[baseline](ends)
            at = torch.tensor([step for _, step, _ in chunk]).to(ends)[:, None, None, None]
            points = starts + at * (ends - starts)
            with torch.no_grad():
                if derivative:
                    with _ONE_AT_A_TIME:
                        pair = torch.func.jvp(self.embed, (points,), (ends - starts,))
                    rows = torch.stack(pair, dim=-1)  # (chunk, dim, 2)
                else:
                    rows = self.embed(points)[..., None]  # (chunk, dim, 1)
            for (block, _, row), value in zip(chunk, rows, strict=True):
                block[keys[row]] = value
        return torch.stack([torch.stack([block[key] for key in keys]) for block in blocks])


def integrated_gradients(
    embed: Embed,
    layer: nn.Module,
    image: Tensor,
    memory: Tensor,
    target: int,
    *,
    against: int | None = None,
    baseline: str = "white",
    steps: int | None = None,
    shown: Sequence[int] = (),
    contrast: Tensor | None = None,
    cache: PathCache | None = None,
    keys: Sequence[bytes] | None = None,
) -> Attribution:
    """Attribute the logit of a class to the pixels of an image and of the samples it used.

    Args:
        embed: images (batch, 3, height, width) in [0, 1] -> embeddings (batch, dim); each image on
            its own (no batch statistics).
        layer: (queries (batch, dim), memory (batch, used, dim)) -> logits (batch, classes).
        image: (3, height, width) in [0, 1].
        memory: the used samples (used, 3, height, width) in [0, 1].
        target: the class whose logit is attributed.
        against: attribute the logit of `target` minus the logit of this class instead.
        baseline: "white" or "black", where the paths start.
        steps: number of Gauss-Legendre nodes over the whole path; when not given, as many as it
            takes for a completeness error within `TOLERANCE`, up to `MAX_STEPS`.
        shown: positions of the used samples whose maps are wanted.
        contrast: a sample (3, height, width) in [0, 1] that was not used and whose map is wanted.
        cache: path embeddings of memory samples, kept between calls.
        keys: one key per sample for the cache, as `MemoryBank.keys` gives them.

    Raises:
        ValueError: unknown baseline or fewer than one step.
    """
    if baseline not in BASELINES:
        raise ValueError(f"unknown baseline {baseline!r}: expected one of {', '.join(BASELINES)}")
    if steps is not None and steps < 1:
        raise ValueError(f"steps: expected at least 1, received {steps}")
    if cache is None or keys is None:
        cache, keys = PathCache(embed), [bytes([i % 256, i // 256]) for i in range(len(memory))]
    path = _Path(embed, logit_of(layer, target, against), image, memory, baseline, cache, keys)

    panels = _uniform_panels(FIRST_PANELS) if steps is None else [(0.0, 1.0)]
    done = path.integrate(panels, steps or PANEL_STEPS)
    change = path.value(1.0) - path.value(0.0)
    if steps is None:
        while _steps(done) < MAX_STEPS and not _settled(done, change):
            worst = _worst(done, change)
            halves = [half for panel in worst for half in _halves(panel)]
            done = {panel: part for panel, part in done.items() if panel not in worst}
            done |= path.integrate(halves, PANEL_STEPS)

    parts = [done[panel] for panel in sorted(done)]
    input_total = sum(part.input_total for part in parts)
    memory_totals = torch.stack([part.memory_totals for part in parts]).sum(dim=0)
    total = input_total + float(memory_totals.sum())
    error = abs(total - change) / max(abs(change), 1e-12)
    return Attribution(
        input_map=torch.stack([part.input_map for part in parts]).sum(dim=0),
        memory_maps=path.memory_maps(parts, shown),
        contrast_map=None if contrast is None else path.contrast_map(parts, contrast),
        input_total=input_total,
        memory_totals=memory_totals,
        change=change,
        steps=_steps(done),
        completeness_error=error,
        converged=steps is not None or error <= 2 * TOLERANCE,
    )


def logit_of(layer: nn.Module, target: int, against: int | None = None) -> Logit:
    """The logit of a class, or how far it is above the logit of another class."""

    def logit(queries: Tensor, memory: Tensor) -> Tensor:
        logits = layer(queries, memory)  # (batch, classes)
        return logits[:, target] if against is None else logits[:, target] - logits[:, against]

    return logit


@dataclass(frozen=True, eq=False)
class _Part:
    """What one panel adds to the integral."""

    nodes: Tensor  # (steps,) positions on the path
    weights: Tensor  # (steps,) of the quadrature
    queries: Tensor  # (steps, dim), the input's embeddings at the nodes
    memory_gradients: Tensor  # (steps, used, dim), times the quadrature weight
    input_map: Tensor  # (3, height, width)
    input_total: float
    memory_totals: Tensor  # (used,)
    error: float  # of the panel's total against the logit at its ends


class _Path:
    """One image and its used samples on their way from the baseline."""

    def __init__(
        self,
        embed: Embed,
        logit: Logit,
        image: Tensor,
        memory: Tensor,
        baseline: str,
        cache: PathCache,
        keys: Sequence[bytes],
    ):
        self.embed, self.logit = embed, logit
        self.memory, self.baseline, self.cache, self.keys = memory, baseline, cache, keys
        self.start = BASELINES[baseline](image[None])[0]
        self.way = image - self.start  # (3, height, width)
        self._values: dict[float, float] = {}

    def value(self, step: float) -> float:
        """The logit at a step of the path."""
        self._evaluate([step])
        return self._values[step]

    def integrate(self, panels: Sequence[Panel], steps: int) -> dict[Panel, _Part]:
        """Integrate over panels, each with the same number of Gauss-Legendre nodes."""
        nodes = _nodes(panels, steps)
        root_weights = np.polynomial.legendre.leggauss(steps)[1]
        scale = np.repeat([(high - low) / 2 for low, high in panels], steps)
        weights = torch.from_numpy(scale * np.tile(root_weights, len(panels))).to(self.way)
        self._evaluate([end for panel in panels for end in panel])

        maps, totals, gradients, all_queries = [], [], [], []
        for start in range(0, len(nodes), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            embeddings, derivatives = self.cache.derivatives(
                self.keys, self.memory, self.baseline, nodes[chunk]
            )
            points = self._points(nodes[chunk]).requires_grad_()
            with torch.enable_grad():
                queries = self.embed(points)
                leaf, memory = queries.detach().requires_grad_(), embeddings.requires_grad_()
                logits = self.logit(leaf, memory)
                by_query, by_memory = torch.autograd.grad(logits.sum(), (leaf, memory))
                by_query = by_query * weights[chunk, None]
                (by_pixel,) = torch.autograd.grad(queries, points, by_query)
            maps.append(by_pixel * self.way)  # (steps, 3, height, width)
            gradients.append(by_memory * weights[chunk, None, None])  # (steps, used, dim)
            totals.append((gradients[-1] * derivatives).sum(dim=2))  # (steps, used)
            all_queries.append(leaf.detach())
        rows_of = [torch.cat(rows) for rows in (maps, totals, gradients, all_queries)]
        all_maps, all_totals, all_gradients, embedded = rows_of

        parts = {}
        for number, panel in enumerate(panels):
            rows = slice(number * steps, (number + 1) * steps)
            input_map = all_maps[rows].sum(dim=0)
            memory_totals = all_totals[rows].sum(dim=0)
            input_total = float(input_map.sum(dtype=torch.float64))
            total = input_total + float(memory_totals.sum())
            parts[panel] = _Part(
                nodes=torch.tensor(nodes[rows], dtype=torch.float64),
                weights=weights[rows],
                queries=embedded[rows],
                memory_gradients=all_gradients[rows],
                input_map=input_map,
                input_total=input_total,
                memory_totals=memory_totals,
                error=total - (self._values[panel[1]] - self._values[panel[0]]),
            )
        return parts

    def memory_maps(self, parts: Sequence[_Part], shown: Sequence[int]) -> dict[int, Tensor]:
        """Maps (3, height, width) of the used samples at these positions."""
        gradients = torch.cat([part.memory_gradients for part in parts])  # (steps, used, dim)

        def known(position: int) -> Callable[[slice, Tensor], Tensor]:
            return lambda chunk, _: gradients[chunk, position]

        return {at: self._map(parts, self.memory[at], known(at)) for at in shown}

    def contrast_map(self, parts: Sequence[_Part], contrast: Tensor) -> Tensor:
        """Map (3, height, width) of a sample that joins the used ones."""
        nodes = torch.cat([part.nodes for part in parts]).tolist()
        weights = torch.cat([part.weights for part in parts])
        queries = torch.cat([part.queries for part in parts])

        def joined(chunk: slice, embeddings: Tensor) -> Tensor:
            used, _ = self.cache.derivatives(self.keys, self.memory, self.baseline, nodes[chunk])
            leaf = embeddings.detach().requires_grad_()
            memory = torch.cat([used, leaf[:, None]], dim=1)  # (steps, used + 1, dim)
            (gradient,) = torch.autograd.grad(self.logit(queries[chunk], memory).sum(), leaf)
            return gradient * weights[chunk, None]

        return self._map(parts, contrast, joined)

    def _map(
        self, parts: Sequence[_Part], end: Tensor, gradient: Callable[[slice, Tensor], Tensor]
    ) -> Tensor:
        """Map (3, height, width) of a sample, given the gradient (steps, dim), times the quadrature
        weight, of the logit by its embeddings (steps, dim) at a slice of the nodes."""
        nodes = torch.cat([part.nodes for part in parts]).to(end)[:, None, None, None]
        start = BASELINES[self.baseline](end[None])[0]
        total = torch.zeros_like(end)
        for first in range(0, len(nodes), _CHUNK):
            chunk = slice(first, first + _CHUNK)
            points = (start + nodes[chunk] * (end - start)).requires_grad_()
            with torch.enable_grad():
                embeddings = self.embed(points)
                by_embedding = gradient(chunk, embeddings)
                (by_pixel,) = torch.autograd.grad(embeddings, points, by_embedding)
            total += by_pixel.sum(dim=0)
        return total * (end - start)

    def _evaluate(self, steps: Sequence[float]) -> None:
        missing = sorted(set(steps) - set(self._values))
        if not missing:
            return
        memory = self.cache.embeddings(self.keys, self.memory, self.baseline, missing)
        with torch.no_grad():
            logits = self.logit(self.embed(self._points(missing)), memory)
        self._values |= dict(zip(missing, logits.double().tolist(), strict=True))

    def _points(self, steps: Sequence[float]) -> Tensor:
        return self.start + torch.tensor(steps).to(self.way)[:, None, None, None] * self.way


def _nodes(panels: Sequence[Panel], steps: int) -> list[float]:
    """Gauss-Legendre nodes, the same number in each panel."""
    roots = np.polynomial.legendre.leggauss(steps)[0].tolist()
    return [low + (high - low) * (root + 1) / 2 for low, high in panels for root in roots]


def _uniform_panels(count: int) -> list[Panel]:
    return [(i / count, (i + 1) / count) for i in range(count)]


def _steps(parts: dict[Panel, _Part]) -> int:
    return sum(len(part.nodes) for part in parts.values())


def _error(parts: dict[Panel, _Part]) -> float:
    """Errors of all panels without letting them cancel: a bound on the completeness error."""
    return sum(abs(part.error) for part in parts.values())


def _settled(parts: dict[Panel, _Part], change: float) -> bool:
    """Whether the completeness error is within the tolerance, and not by cancellation alone."""
    signed = abs(sum(part.error for part in parts.values()))
    return signed <= TOLERANCE * abs(change) and _error(parts) <= SLACK * TOLERANCE * abs(change)


def _worst(parts: dict[Panel, _Part], change: float) -> list[Panel]:
    """The panels with the largest errors, at least one: the others add up to little."""
    left = _error(parts)
    worst = []
    for panel in sorted(parts, key=lambda panel: -abs(parts[panel].error)):
        if worst and left <= SLACK * TOLERANCE * abs(change) / 2:
            break
        worst.append(panel)
        left -= abs(parts[panel].error)
    return worst


def _halves(panel: Panel) -> list[Panel]:
    middle = (panel[0] + panel[1]) / 2
    return [(panel[0], middle), (middle, panel[1])]
