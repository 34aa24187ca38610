"""Patch counterfactuals of many images: how many are found, how small, how fast; do they move another model?"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.sets import Split
from memorywrap.images import of_side
from memorywrap.measures.explanations import random_order
from memorywrap.measures.reliance import rate
from memorywrap.patches import cell_numbers, laid_over, patch_counterfactual
from memorywrap.prediction import PatchCounterfactual


def measure_patches(
    classifier: MemoryWrapClassifier,
    split: Split,
    *,
    images: int,
    second: MemoryWrapClassifier | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Look for the patch counterfactual of some images that nothing was learned from.

    Args:
        classifier: with a bank.
        split: images to take some of.
        images: how many, at most.
        second: a model of the same classes that was trained independently. Where it gives the same answer
            as the first, it is asked about the changed picture, in its own size: cells that change its answer, too, show
            what the classes are told apart by, and are no trick on one network.
        seed: of the choice of images, and of the cells to compare with.

    Returns:
        - "found": of the images, how many have one, as `reliance.rate` says it;
        - "cells" and "milliseconds": {"median", "quartiles"} of those found;
        - with a second model "changed" and "followed": how often it changes its answer, and how often to
          the same class; and "changed by chance", "followed by chance": the same with as many cells
          of the same sample at random places.

    Raises:
        ValueError: a second model that tells other classes apart.
    """
    if second is not None and second.config.classes != classifier.config.classes:
        raise ValueError("the second model tells other classes apart than the first")
    rng = np.random.default_rng(seed)
    chosen = split.rows(random_order(len(split), seed)[:images])
    found: list[PatchCounterfactual] = []
    milliseconds: list[float] = []
    asked: list[tuple[int, int, Tensor, Tensor, Tensor]] = []
    for pixels in tqdm(chosen.images, desc="patch counterfactuals", unit=" images"):
        (prediction,) = classifier.predict_inputs([pixels])
        start = time.perf_counter()
        patch = patch_counterfactual(classifier, prediction)
        if patch is None:
            continue
        milliseconds.append(1000 * (time.perf_counter() - start))
        found.append(patch)
        answers = prediction.predicted, patch.prediction.predicted
        asked.append((*answers, pixels, patch.pixels, _by_chance(pixels, patch, rng)))
    report: dict[str, Any] = {
        "found": rate(torch.arange(len(chosen)) < len(found)),
        "cells": _spread([len(patch.cells) for patch in found]),
        "milliseconds": _spread(milliseconds),
    }
    if second is not None:
        report |= _second_opinion(second, asked)
    return report


def _by_chance(pixels: Tensor, patch: PatchCounterfactual, rng: np.random.Generator) -> Tensor:
    """The picture with as many cells of the same sample, at random places."""
    cells = rng.choice(patch.grid**2, len(patch.cells), replace=False).tolist()
    return laid_over(pixels, patch.laid_over[None], [cells], cell_numbers(pixels.shape[-1]))[0]


def _second_opinion(
    second: MemoryWrapClassifier, asked: list[tuple[int, int, Tensor, Tensor, Tensor]]
) -> dict[str, Any]:
    changed: dict[str, list[bool]] = {"": [], " by chance": []}
    followed: dict[str, list[bool]] = {"": [], " by chance": []}
    for before, wanted, *pictures in asked:
        seen = of_side(torch.stack(pictures), second.config.image_size)
        first, *after = (one.predicted for one in second.predict_inputs(list(seen)))
        if first == before:
            for how, answer in zip(changed, after, strict=True):
                changed[how].append(answer != before)
                followed[how].append(answer == wanted)
    return {
        name + how: rate(torch.tensor(answers, dtype=torch.bool))
        for name, found in (("changed", changed), ("followed", followed))
        for how, answers in found.items()
    }


def _spread(values: list[float] | list[int]) -> dict[str, Any]:
    if not values:
        return {"median": None, "quartiles": None}
    low, middle, high = np.percentile(values, (25, 50, 75)).round(1).tolist()
    return {"median": middle, "quartiles": [low, high]}
