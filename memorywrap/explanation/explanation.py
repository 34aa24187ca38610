"""Explanations: a prediction with attribution maps and how exact they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from memorywrap.explanation import captum_methods, integrated_gradients
from memorywrap.explanation.baselines import DEFAULT
from memorywrap.explanation.cells import cell_gradients
from memorywrap.explanation.integrated_gradients import Attribution
from memorywrap.explanation.methods import INTEGRATED_GRADIENTS, METHODS, Case, Maps, methods
from memorywrap.explanation.path_cache import PathCache
from memorywrap.images import to_unit
from memorywrap.prediction import PatchCounterfactual, Prediction

# Modules whose methods are offered: importing them registers those.
OFFERED = (integrated_gradients, captum_methods)

MOST_STEPS = 200  # that are taken where a number of steps is asked for from outside


@dataclass(frozen=True, eq=False)
class Explanation:
    """A prediction with attribution maps and how exact they are; the object of `/explain`.

    Attributes:
        prediction: what is explained.
        method, baseline: how it was attributed.
        against: index of the class whose logit is subtracted; None for the plain view.
        input_map: (channels, height, width) of pixels or of feature cells (see `FrozenEncoder.cells`),
            in units of the logit for integrated gradients.
        memory_maps: the same for example, counterfactual and contrast, and for the samples that were
            asked for, by bank index. The contrast is attributed as if it stood beside the used samples: it has no weight at the end of the
            path, but may have some on the way.
        integral: steps, contributions and completeness error of integrated gradients; None for
            methods that promise no completeness.
    """

    prediction: Prediction
    method: str
    baseline: str
    against: int | None
    input_map: Tensor = field(repr=False)
    memory_maps: dict[int, Tensor] = field(repr=False)
    integral: Attribution | None = field(repr=False)

    @property
    def steps(self) -> int | None:
        """Path steps taken."""
        return None if self.integral is None else self.integral.steps

    @property
    def completeness_error(self) -> float | None:
        """|sum of attributions - change of the logit| / |change of the logit|."""
        return None if self.integral is None else self.integral.completeness_error

    @property
    def converged(self) -> bool | None:
        """False when the error was above twice the tolerance at the most steps allowed; None for a
        fixed number of steps and for methods that promise no completeness."""
        return None if self.integral is None else self.integral.converged

    @property
    def input_contribution(self) -> float | None:
        """What the input adds to the attributed logit."""
        return None if self.integral is None else self.integral.input_total

    @property
    def memory_contributions(self) -> dict[int, float]:
        """What every used sample adds to the attributed logit, by bank index."""
        if self.integral is None:
            return {}
        return dict(zip(self.prediction.used, self.integral.memory_totals.tolist(), strict=True))

    def to_dict(self, model: str, patch: PatchCounterfactual | None = None) -> dict[str, Any]:
        """The object of `/explain`, without the images.

        Args:
            model: what the model is called.
            patch: the patch counterfactual of the same prediction.
        """
        return {
            **self.prediction.to_dict(model),
            "method": self.method,
            "baseline": self.baseline,
            "against": None if self.against is None else self.prediction.classes[self.against],
            "steps": self.steps,
            "completeness_error": self.completeness_error,
            "converged": self.converged,
            "contributions": {
                "input": self.input_contribution,
                "memory": {str(index): value for index, value in self.memory_contributions.items()},
            },
            "patch_counterfactual": None if patch is None else patch.to_dict(),
        }


def explain(
    predictions: Sequence[Prediction],
    layer: nn.Module,
    cache: PathCache,
    *,
    method: str = INTEGRATED_GRADIENTS,
    baseline: str = DEFAULT,
    steps: int | None = None,
    against: int | None = None,
    also: Sequence[int] = (),
) -> list[Explanation]:
    """Attribute predictions to the pixels of their input, example, counterfactual or contrast.

    Args:
        predictions: of a model with memory.
        layer, baseline, steps: see `attribution.integrated_gradients`.
        cache: the embedding function with its path embeddings, kept between calls.
        method: one of `methods()`.
        against: attribute how far the predicted class is above this class instead.
        also: bank indices of used samples whose maps are wanted as well.

    Raises:
        ValueError: a prediction used no memory, unknown method or baseline, fewer than one step.
    """
    if method not in methods():
        raise ValueError(f"unknown method {method!r}: expected one of {', '.join(methods())}")
    cases = [_case(prediction, against, also, cache) for prediction in predictions]
    found: Sequence[Maps]
    if method == INTEGRATED_GRADIENTS and cache.view is not None:
        found = cell_gradients(layer, cases, cache, baseline=baseline, steps=steps)
    else:
        found = METHODS[method].attribute(
            cache.embed, layer, cases, baseline=baseline, steps=steps, cache=cache
        )
    return [
        _explanation(prediction, method, baseline, against, maps)
        for prediction, maps in zip(predictions, found, strict=True)
    ]


def _case(
    prediction: Prediction, against: int | None, also: Sequence[int], cache: PathCache
) -> Case:
    """What is attributed of a prediction, on the device of its bank's embeddings."""
    bank = prediction.require_bank()
    used, contrast, device = prediction.used, prediction.contrast, bank.embeddings.device
    wanted = dict.fromkeys((prediction.example, prediction.counterfactual, *also))
    shown = [index for index in wanted if index in used]
    beside = None
    if contrast is not None:
        key = bank.keys[contrast]
        beside = (cache.viewed([key], to_unit(bank.images[contrast][None], device))[0], key)
    keys = [bank.keys[index] for index in used]
    image = to_unit(prediction.pixels[None], device)
    return Case(
        image=(image if cache.view is None else cache.view(image))[0],
        memory=cache.viewed(keys, to_unit(bank.images[used], device)),
        target=prediction.predicted,
        against=against,
        shown=[used.index(index) for index in shown],
        contrast=beside,
        keys=keys,
    )


def _explanation(
    prediction: Prediction,
    method: str,
    baseline: str,
    against: int | None,
    maps: Maps,
) -> Explanation:
    memory_maps = {prediction.used[at]: map_.cpu() for at, map_ in maps.memory_maps.items()}
    if maps.contrast_map is not None and prediction.contrast is not None:
        memory_maps[prediction.contrast] = maps.contrast_map.cpu()
    integral = maps if isinstance(maps, Attribution) else None
    return Explanation(
        prediction, method, baseline, against, maps.input_map.cpu(), memory_maps, integral
    )
