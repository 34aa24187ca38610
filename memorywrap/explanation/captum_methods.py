"""Captum's attribution methods behind one call, with memory held by closure.

Captum treats axis 0 of every tensor as the batch, so memory is never passed to it: each picture is
attributed on its own, the input with all used samples held at their embeddings, a memory sample with
the input and the other samples held. To add a method, write a function of `_Scalar`, the picture and
its baseline, and put it into `METHODS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import captum.attr
import numpy as np
import torch
from torch import Tensor, nn

from memorywrap.explanation.baselines import BASELINES, STARTS
from memorywrap.explanation.integrated_gradients import Case, logit_of
from memorywrap.explanation.passes import Embed

# Pictures (batch, 3, height, width) -> the attributed logit (batch,).
_Scalar = Callable[[Tensor], Tensor]

# Random methods draw this many neighbours of the picture, with noise of this standard deviation.
_SAMPLES = 16
_NOISE = 0.1


def _saliency(scalar: _Scalar, picture: Tensor, baseline: Tensor) -> Tensor:
    return captum.attr.Saliency(scalar).attribute(picture, abs=False)


def _input_x_gradient(scalar: _Scalar, picture: Tensor, baseline: Tensor) -> Tensor:
    return captum.attr.InputXGradient(scalar).attribute(picture)


def _smoothgrad(scalar: _Scalar, picture: Tensor, baseline: Tensor) -> Tensor:
    tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(scalar))
    return tunnel.attribute(
        picture, nt_type="smoothgrad", nt_samples=_SAMPLES, stdevs=_NOISE, abs=False
    )


def _gradient_shap(scalar: _Scalar, picture: Tensor, baseline: Tensor) -> Tensor:
    return captum.attr.GradientShap(scalar).attribute(
        picture, baselines=baseline, n_samples=_SAMPLES, stdevs=_NOISE
    )


def _occlusion(scalar: _Scalar, picture: Tensor, baseline: Tensor) -> Tensor:
    with torch.no_grad():
        return captum.attr.Occlusion(scalar).attribute(
            picture,
            sliding_window_shapes=(3, 4, 4),
            strides=(3, 2, 2),
            baselines=baseline,
            perturbations_per_eval=64,
        )


# The methods that set out from a baseline; the others look at the picture as it is.
WITH_BASELINE = ("gradient_shap", "occlusion")

METHODS: dict[str, Callable[[_Scalar, Tensor, Tensor], Tensor]] = {
    "saliency": _saliency,
    "input_x_gradient": _input_x_gradient,
    "smoothgrad": _smoothgrad,
    "gradient_shap": _gradient_shap,
    "occlusion": _occlusion,
}


class Maps(NamedTuple):
    """Attribution maps, each (3, height, width).

    Attributes:
        input_map: of the input.
        memory_maps: of the shown samples, by position.
        contrast_map: of the contrast, as if it stood beside the used samples; None without one.
    """

    input_map: Tensor
    memory_maps: dict[int, Tensor]
    contrast_map: Tensor | None


def attribute(
    method: str,
    embed: Embed,
    layer: nn.Module,
    case: Case,
    *,
    baseline: str = "white",
    seed: int = 0,
) -> Maps:
    """Attribution maps of one of Captum's methods.

    Args:
        method: a key of `METHODS`.
        embed, layer, case: see `attribution.integrated_gradients`.
        baseline: what occlusion paints with and gradient SHAP starts from; a key of `BASELINES`.
        seed: of the random methods, so that the same call gives the same map.

    Raises:
        ValueError: unknown method or baseline.
    """
    for what, name, known in (("method", method, METHODS), ("baseline", baseline, BASELINES)):
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}: expected one of {', '.join(known)}")
    logit = logit_of(layer, case.target, case.against)
    with torch.no_grad():
        query, embeddings = embed(case.image[None]), embed(case.memory)  # (1, dim), (used, dim)

    def of_input(pictures: Tensor) -> Tensor:
        held = embeddings.expand(len(pictures), *embeddings.shape)
        return logit(embed(pictures), held)

    def of_sample(position: int) -> _Scalar:
        """The logit by the sample at a position; behind the last one joins another."""
        before, behind = embeddings[:position], embeddings[position + 1 :]

        def scalar(pictures: Tensor) -> Tensor:
            count = len(pictures)
            first, last = (part.expand(count, *part.shape) for part in (before, behind))
            held = torch.cat([first, embed(pictures)[:, None], last], dim=1)  # (batch, used, dim)
            return logit(query.expand(count, -1), held)

        return scalar

    def run(scalar: _Scalar, picture: Tensor) -> Tensor:
        picture = picture[None].clone().requires_grad_()
        # A method that looks at no baseline need not be asked once per start.
        starts = BASELINES[baseline][: None if method in WITH_BASELINE else 1]
        maps = []
        for start in starts:
            with seeded(seed), torch.enable_grad():
                maps.append(METHODS[method](scalar, picture, STARTS[start](picture))[0].detach())
        return torch.stack(maps).mean(dim=0)

    joined = None
    if case.contrast is not None:
        joined = run(of_sample(len(case.memory)), case.contrast[0])
    maps = {position: run(of_sample(position), case.memory[position]) for position in case.shown}
    return Maps(run(of_input, case.image), maps, joined)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds what Captum draws from, torch's and NumPy's global generators, and restores both."""
    state = np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)
