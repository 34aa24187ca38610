"""Captum's attribution methods, with memory held by closure.

Captum treats axis 0 of every tensor as the batch, so memory is never passed to it: each picture is
attributed on its own, the input with all used samples held at their embeddings, a memory sample with
the input and the other samples held. To add a method, write a function of `_Scalar`, the picture, its
baseline and a generator of chance, with `@_of_one_picture("name")` above.

Captum is imported where it is asked for: it takes longer than all the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from memorywrap.explanation.baselines import DEFAULT, STARTS, starts_of
from memorywrap.explanation.methods import Case, Maps, logit_of, register_method
from memorywrap.explanation.passes import Embed
from memorywrap.explanation.path_cache import PathCache

# Pictures (batch, 3, height, width) -> the attributed logit (batch,).
_Scalar = Callable[[Tensor], Tensor]

# (scalar, picture (1, 3, height, width), its baseline, chance) -> map (1, 3, height, width).
_OfPicture = Callable[[_Scalar, Tensor, Tensor, Generator], Tensor]

# Random methods draw this many neighbours of the picture, with noise of this standard deviation, by
# this seed: the same call gives the same map.
_SAMPLES = 16
_NOISE = 0.1
_SEED = 0


def _of_one_picture(name: str, *, has_baseline: bool = False) -> Callable[[_OfPicture], _OfPicture]:
    """Registers a method that attributes a scalar to one picture: it is asked for each picture of
    each case."""

    def add(of_picture: _OfPicture) -> _OfPicture:
        @register_method(name, has_baseline=has_baseline)
        def attribute(
            embed: Embed,
            layer: nn.Module,
            cases: Sequence[Case],
            *,
            baseline: str = DEFAULT,
            steps: int | None = None,
            cache: PathCache | None = None,
        ) -> list[Maps]:
            # One that looks at no baseline need not be asked once per start.
            starts = starts_of(baseline)[: None if has_baseline else 1]
            return [_attributed(of_picture, embed, layer, case, starts) for case in cases]

        return of_picture

    return add


@_of_one_picture("saliency")
def _saliency(scalar: _Scalar, picture: Tensor, baseline: Tensor, chance: Generator) -> Tensor:
    from captum.attr import Saliency

    return Saliency(scalar).attribute(picture, abs=False)


@_of_one_picture("input_x_gradient")
def _input_x_gradient(
    scalar: _Scalar, picture: Tensor, baseline: Tensor, chance: Generator
) -> Tensor:
    from captum.attr import InputXGradient

    return InputXGradient(scalar).attribute(picture)


@_of_one_picture("smoothgrad")
def _smoothgrad(scalar: _Scalar, picture: Tensor, baseline: Tensor, chance: Generator) -> Tensor:
    """Smilkov et al., arXiv 1706.03825: the mean gradient at noisy copies of the picture. Captum's
    draws from the generators of the whole process, which other threads draw from, too."""
    return _gradients(scalar, _noisy(picture, chance)).mean(dim=0, keepdim=True)


@_of_one_picture("gradient_shap", has_baseline=True)
def _gradient_shap(scalar: _Scalar, picture: Tensor, baseline: Tensor, chance: Generator) -> Tensor:
    """Lundberg & Lee, arXiv 1705.07874: the gradient at random points between the baseline and noisy
    copies of the picture, times the way there. Ours for the reason of `_smoothgrad`."""
    way = _noisy(picture, chance) - baseline
    at = torch.rand(len(way), 1, 1, 1, generator=chance).to(way)
    return (_gradients(scalar, baseline + at * way) * way).mean(dim=0, keepdim=True)


@_of_one_picture("occlusion", has_baseline=True)
def _occlusion(scalar: _Scalar, picture: Tensor, baseline: Tensor, chance: Generator) -> Tensor:
    from captum.attr import Occlusion

    with torch.no_grad():
        return Occlusion(scalar).attribute(
            picture,
            sliding_window_shapes=(picture.shape[1], 4, 4),
            strides=(picture.shape[1], 2, 2),
            baselines=baseline,
            perturbations_per_eval=64,
        )


def _noisy(picture: Tensor, chance: Generator) -> Tensor:
    """Copies (samples, 3, height, width) with noise, the same on every device."""
    noise = torch.randn(_SAMPLES, *picture.shape[1:], generator=chance)
    return picture.detach() + _NOISE * noise.to(picture)


def _gradients(scalar: _Scalar, pictures: Tensor) -> Tensor:
    from captum.attr import Saliency

    return Saliency(scalar).attribute(pictures.detach().requires_grad_(), abs=False)


def _attributed(
    of_picture: _OfPicture, embed: Embed, layer: nn.Module, case: Case, starts: Sequence[str]
) -> Maps:
    """The maps of a case, each the mean over the starts."""
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
        maps = []
        for start in starts:
            leaf = picture[None].clone().requires_grad_()
            chance = Generator().manual_seed(_SEED)
            with torch.enable_grad():
                maps.append(of_picture(scalar, leaf, STARTS[start](leaf), chance)[0].detach())
        return torch.stack(maps).mean(dim=0)

    joined = None
    if case.contrast is not None:
        joined = run(of_sample(len(case.memory)), case.contrast[0])
    maps = {position: run(of_sample(position), case.memory[position]) for position in case.shown}
    return Maps(run(of_input, case.image), maps, joined)
