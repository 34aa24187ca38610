"""Integrated gradients over an input and the memory samples it used.

The path runs straight from a baseline to the real pixels, input and used memory samples moving
together; at each step the input attends only to the memory of that same step (Sundararajan et al.,
arXiv 1703.01365, for the method; La Rosa et al., arXiv 2106.01440, for its use on memory).

`PathCache` knows the way of each memory sample, so what is left for an explanation is the input's own
path; the total contribution of every sample is then a quadrature of (gradient of the logit by its
embedding) . (derivative of its embedding), and only samples that are shown as maps cost encoder passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from memorywrap.explanation.baselines import DEFAULT, starts_of
from memorywrap.explanation.joint_path import JointPath, PathPart
from memorywrap.explanation.methods import (
    INTEGRATED_GRADIENTS,
    Case,
    Maps,
    logit_of,
    register_method,
)
from memorywrap.explanation.passes import Embed, Passes, run
from memorywrap.explanation.path_cache import PathCache
from memorywrap.explanation.quadrature import (
    PANEL_STEPS,
    Panel,
    first_panels,
    gauss_rule,
    halves,
    product_rule,
)

MAX_STEPS = 96
TOLERANCE = 0.002
SLACK = 10  # panels' errors may add up to this many tolerances before their signs are considered


@dataclass(frozen=True, eq=False)
class Attribution(Maps):
    """Integrated gradients of one logit; maps are in units of the logit.

    Attributes:
        input_total: contribution of the input to the logit's change along the path; the sum of its
            map. The contrast is no part of the totals.
        memory_totals: (used,), the contribution of every used sample.
        change: F(input, memory) - F(baselines).
        steps: number of path steps taken.
        completeness_error: |sum of all attributions - change| / |change|.
        converged: whether the error is within twice the tolerance; None for a fixed number of
            steps, of which nothing was promised.
    """

    input_total: float
    memory_totals: Tensor
    change: float
    steps: int
    completeness_error: float
    converged: bool | None


@register_method(INTEGRATED_GRADIENTS, has_baseline=True)
def integrated_gradients(
    embed: Embed,
    layer: nn.Module,
    cases: Sequence[Case],
    *,
    baseline: str = DEFAULT,
    steps: int | None = None,
    cache: PathCache | None = None,
) -> list[Attribution]:
    """Attribute predictions to the pixels of their images and of the samples they used, the encoder
    passes of all cases in common batches.

    Args:
        embed: images (batch, 3, height, width) in [0, 1] -> embeddings (batch, dim); each image on
            its own (no batch statistics).
        layer: (queries (batch, dim), memory (batch, used, dim)) -> logits (batch, classes).
        cases: what is attributed.
        baseline: a key of `baselines.BASELINES`, where the paths start; of several starts, the
            mean of their attributions.
        steps: number of Gauss-Legendre nodes over the whole path; when not given, as many nodes of
            `quadrature.product_rule` as it takes for a completeness error within `TOLERANCE`, up
            to `MAX_STEPS`.
        cache: path embeddings of memory samples, kept between calls; cases then bring their keys.

    Raises:
        ValueError: unknown baseline or fewer than one step.
    """
    starts = starts_of(baseline)
    if steps is not None and steps < 1:
        raise ValueError(f"steps: expected at least 1, received {steps}")
    if any((cache is None) != (case.keys is None) for case in cases):
        raise ValueError("cache and keys: expected both or neither")
    kept = PathCache(embed) if cache is None else cache
    paths = []
    for number, case in enumerate(cases):
        keys = case.keys
        if keys is None:
            case = _with_own_contrast(case, number)
            keys = [f"{number}, {place}".encode() for place in range(len(case.memory))]
        logit = logit_of(layer, case.target, case.against)
        paths += [
            _one_path(JointPath(logit, case.image, case.memory, start, kept, keys), steps, case)
            for start in starts
        ]
    device = cases[0].image.device.type if cases else "cpu"
    with torch.autocast(device, enabled=False):  # half precision would spoil completeness
        found = run(embed, paths)
    if len(starts) == 1:
        return found
    return [
        _averaged(found[at : at + len(starts)], steps) for at in range(0, len(found), len(starts))
    ]


def _with_own_contrast(case: Case, number: int) -> Case:
    """The case with a key of its contrast that no other case has."""
    contrast = case.contrast and (case.contrast[0], f"{number}, contrast".encode())
    return replace(case, contrast=contrast)


def _one_path(path: JointPath, steps: int | None, case: Case) -> Passes[Attribution]:
    """Attribution along the path from one start."""
    if steps is None:
        done = yield from path.integrate(first_panels(), product_rule())
    else:
        done = yield from path.integrate([(0.0, 1.0)], gauss_rule(steps))
    change = path.change
    if steps is None:
        # A panel that is halved takes PANEL_STEPS more.
        while (room := (MAX_STEPS - _steps(done)) // PANEL_STEPS) > 0 and not _settled(
            done, change
        ):
            worst = _worst(done, change)[:room]
            smaller = [half for panel in worst for half in halves(panel)]
            done = {panel: part for panel, part in done.items() if panel not in worst}
            done |= yield from path.integrate(smaller, product_rule())

    parts = [done[panel] for panel in sorted(done)]
    input_total = sum(part.input_total for part in parts)
    memory_totals = torch.stack([part.memory_totals for part in parts]).sum(dim=0)
    total = input_total + float(memory_totals.sum())
    error = completeness_error(total, change)
    memory_maps, contrast_map = yield from path.memory_maps(parts, case.shown, case.contrast)
    return Attribution(
        input_map=torch.stack([part.input_map for part in parts]).sum(dim=0),
        memory_maps=memory_maps,
        contrast_map=contrast_map,
        input_total=input_total,
        memory_totals=memory_totals,
        change=change,
        steps=_steps(done),
        completeness_error=error,
        converged=_converged(error, steps),
    )


def _averaged(found: Sequence[Attribution], steps: int | None) -> Attribution:
    """The mean of attributions that set out from several starts; its steps are those of all."""

    def mean(values: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(values)).mean(dim=0)

    contrasts = [one.contrast_map for one in found if one.contrast_map is not None]
    input_total = sum(one.input_total for one in found) / len(found)
    memory_totals = mean([one.memory_totals for one in found])
    change = sum(one.change for one in found) / len(found)
    error = completeness_error(input_total + float(memory_totals.sum()), change)
    return Attribution(
        input_map=mean([one.input_map for one in found]),
        memory_maps={
            place: mean([one.memory_maps[place] for one in found]) for place in found[0].memory_maps
        },
        contrast_map=mean(contrasts) if contrasts else None,
        input_total=input_total,
        memory_totals=memory_totals,
        change=change,
        steps=sum(one.steps for one in found),
        completeness_error=error,
        # Changes of opposite signs leave a mean that is smaller than the errors are used to.
        converged=_converged(error, steps) and all(one.converged for one in found),
    )


def completeness_error(total: float, change: float) -> float:
    """|sum of all attributions - change of the logit| / |change of the logit|: 0 for an exact
    integral. A necessary check, not a sufficient one: errors of single attributions may cancel."""
    return abs(total - change) / max(abs(change), 1e-12)


def _converged(error: float, steps: int | None) -> bool | None:
    """Nothing was promised of a fixed number of steps."""
    return error <= 2 * TOLERANCE if steps is None else None


def _steps(parts: dict[Panel, PathPart]) -> int:
    return sum(len(part.nodes) for part in parts.values())


def _error(parts: dict[Panel, PathPart]) -> float:
    """Errors of all panels without letting them cancel: a bound on the completeness error."""
    return sum(abs(part.error) for part in parts.values())


def _settled(parts: dict[Panel, PathPart], change: float) -> bool:
    """Whether the completeness error is within the tolerance, and not by cancellation alone."""
    signed = abs(sum(part.error for part in parts.values()))
    return signed <= TOLERANCE * abs(change) and _error(parts) <= SLACK * TOLERANCE * abs(change)


def _worst(parts: dict[Panel, PathPart], change: float) -> list[Panel]:
    """The panels with the largest errors, at least one: the others add up to little."""
    left = _error(parts)
    worst: list[Panel] = []
    for panel in sorted(parts, key=lambda panel: -abs(parts[panel].error)):
        if worst and left <= SLACK * TOLERANCE * abs(change) / 2:
            break
        worst.append(panel)
        left -= abs(parts[panel].error)
    return worst
