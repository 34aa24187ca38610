"""Integrated gradients for encoders that are cut in two: of the feature cells, and quickly.

Two exact steps in place of one long path. First the logit is attributed to the embeddings, along the
straight path on which those of the input and of the used samples move together: no encoder is asked, so
a thousand points cost nothing. What an embedding adds is then g . (embedding - its start), with g the
mean gradient on that path; and this one number is attributed to the picture's feature cells, again along
the straight path (Sundararajan et al., arXiv 1703.01365, twice; complete in both). Only pictures that are
shown as maps cost passes, and those of the encoder's second part alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from memorywrap.explanation.baselines import starts_of
from memorywrap.explanation.integrated_gradients import Attribution, completeness_error
from memorywrap.explanation.joint_path import between
from memorywrap.explanation.methods import Case, logit_of
from memorywrap.explanation.passes import Embed, chunk_size
from memorywrap.explanation.path_cache import PathCache
from memorywrap.explanation.quadrature import gauss_rule

TOLERANCE = 0.05  # the encoder has kinks: a tenth of this would take a hundred steps
OWN = ("border", "mean")  # starts that cells have of themselves; the others are colours

_POINTS = 512  # on the path of the embeddings
_FEWEST, _MOST = 16, 64  # steps of a picture's cells


def cell_gradients(
    layer: nn.Module,
    cases: Sequence[Case],
    cache: PathCache,
    *,
    baseline: str,
    steps: int | None = None,
) -> list[Attribution]:
    """Attribute predictions to the feature cells of their input and of the samples they used.

    Args:
        layer: see `integrated_gradients`.
        cases: with cells (channels, rows, columns) in the place of images, and keys.
        cache: what embeds cells, with what it knows of memory samples.
        baseline: "border" or "mean": where the paths start, of the cells themselves.
        steps: on the path of each picture's cells; as many as it takes for a completeness error within
            `TOLERANCE` when not given.

    Raises:
        ValueError: another baseline, or fewer than one step.
    """
    if baseline not in OWN:
        raise ValueError(f"baseline of feature cells: expected one of {', '.join(OWN)}")
    if steps is not None and steps < 1:
        raise ValueError(f"steps: expected at least 1, received {steps}")
    (start,) = starts_of(baseline)
    with torch.autocast(cases[0].image.device.type if cases else "cpu", enabled=False):
        return [_attributed(layer, case, cache, start, steps) for case in cases]


def _attributed(
    layer: nn.Module, case: Case, cache: PathCache, start: str, steps: int | None
) -> Attribution:
    assert case.keys is not None
    with torch.no_grad():
        queries = cache.embed(between(case.image, start, [0.0, 1.0])[0])  # (2, dim)
    memory = cache.embeddings(case.keys, case.memory, start, [0.0, 1.0])  # (2, used, dim)
    by_query, by_memory, ends = _mean_gradients(layer, case, queries, memory)
    memory_totals = (by_memory * (memory[1] - memory[0])).sum(dim=1)

    shown = [case.image, *(case.memory[at] for at in case.shown)]
    gradients = [by_query, *(by_memory[at] for at in case.shown)]
    totals = [
        float(by_query @ (queries[1] - queries[0])),
        *memory_totals[list(case.shown)].tolist(),
    ]
    if case.contrast is not None:
        cells, key = case.contrast
        beside = cache.embeddings([key], cells[None], start, [0.0, 1.0])
        together = torch.cat([memory, beside], dim=1)
        _, with_it, _ = _mean_gradients(layer, case, queries, together)
        shown.append(cells)
        gradients.append(with_it[-1])
        totals.append(float(with_it[-1] @ (beside[1, 0] - beside[0, 0])))

    change = ends[1] - ends[0]
    others = float(memory_totals.sum()) - sum(totals[1 : 1 + len(case.shown)])
    count = steps or _FEWEST
    while True:
        maps = _cell_maps(cache.embed, shown, gradients, start, count)
        found = [float(one.cpu().sum(dtype=torch.float64)) for one in maps]
        error = completeness_error(sum(found[: 1 + len(case.shown)]) + others, change)
        # Of each map against what it adds up to, too: errors of several may cancel.
        apart = [abs(one - total) for one, total in zip(found, totals, strict=True)]
        converged = max(error, max(apart) / max(abs(change), 1e-12)) <= TOLERANCE
        if converged or steps is not None or count >= _MOST:
            break
        count *= 2
    return Attribution(
        input_map=maps[0],
        memory_maps=dict(zip(case.shown, maps[1:], strict=False)),
        contrast_map=None if case.contrast is None else maps[-1],
        input_total=totals[0],
        memory_totals=memory_totals,
        change=change,
        steps=count,
        completeness_error=error,
        converged=None if steps is not None else converged,
    )


def _mean_gradients(
    layer: nn.Module, case: Case, queries: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor, tuple[float, float]]:
    """Mean gradients of the logit by the query (dim,) and by the memory (samples, dim) on the way from
    their first rows to their second, and the logit at both ends. Where sparsemax has kinks, many points
    are better than a rule for smooth functions."""
    at = (torch.arange(_POINTS, dtype=queries.dtype, device=queries.device) + 0.5) / _POINTS
    logit = logit_of(layer, case.target, case.against)
    by_query, by_memory = torch.zeros_like(queries[0]), torch.zeros_like(memory[0])
    for part in at.split(128):
        q = (queries[0] + part[:, None] * (queries[1] - queries[0])).requires_grad_()
        m = (memory[0] + part[:, None, None] * (memory[1] - memory[0])).requires_grad_()
        with torch.enable_grad():
            total = logit(q, m).sum()
        one, other = torch.autograd.grad(total, (q, m))
        by_query += one.sum(dim=0) / _POINTS
        by_memory += other.sum(dim=0) / _POINTS
    with torch.no_grad():
        first, last = logit(queries, memory).double().tolist()
    return by_query, by_memory, (first, last)


def _cell_maps(
    embed: Embed, pictures: Sequence[Tensor], gradients: Sequence[Tensor], start: str, steps: int
) -> list[Tensor]:
    """Of each picture's cells (channels, rows, columns), how g . embedding comes about on the way from
    its start."""
    rule = gauss_rule(steps)
    nodes = rule.nodes.tolist()
    paths = [between(cells, start, nodes) for cells in pictures]
    points = torch.cat([path for path, _ in paths])
    weighed = torch.cat([rule.weights.to(one)[:, None] * one for one in gradients])
    found: list[Tensor] = []
    size = chunk_size(points.device)
    for part, weights in zip(points.split(size), weighed.split(size), strict=True):
        leaf = part.detach().requires_grad_()
        with torch.enable_grad():
            total = (embed(leaf) * weights).sum()
        found += torch.autograd.grad(total, leaf)
    by_path = torch.cat(found).unflatten(0, (len(pictures), steps)).sum(dim=1)
    return [one * way for one, (_, way) in zip(by_path, paths, strict=True)]
