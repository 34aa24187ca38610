"""Teaching a `Finder` where to look: squares of composed photographs, digits, and what is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from memorywrap.data.others import render_others
from memorywrap.data.scenes import Scene, compose_scene
from memorywrap.finder import SIZE, Finder
from memorywrap.images import Box, to_input

SCENES, OTHERS = 3_600, 14_000
STEPS = 4_000
_BATCH, _RATE, _DECAY = 256, 4e-3, 0.01
_SHARES = (0.35, 0.30, 0.35)  # of a batch: digits, pictures of none, squares of photographs
_UNSURE = -1  # of a square that is neither clearly one digit nor clearly none


class Squares(NamedTuple):
    """What a finder learns from.

    Attributes:
        inputs: uint8 (n, 3, 32, 32).
        wanted: int64 (n, 2): whether one whole digit is in the middle, and whether there is a digit at
            all: 1, 0, or -1 where nobody could say.
    """

    inputs: Tensor
    wanted: Tensor


def learn_to_find(
    digits: Tensor,
    *,
    strangers: Sequence[str],
    scenes: int = SCENES,
    others: int = OTHERS,
    steps: int = STEPS,
    seed: int = 0,
) -> Finder:
    """Train a finder.

    Args:
        digits: pictures of one digit each, uint8 (n, 3, 32, 32).
        strangers: kinds of pictures without a digit, of `memorywrap.data.others`.
        scenes, others: how many photographs are composed, and pictures of strangers rendered.
        steps: of training.
        seed: of all that is left to chance.
    """
    parts = [
        Squares(digits, torch.ones(len(digits), 2, dtype=torch.int64)),
        Squares(
            render_others(others, seed, strangers)[0], torch.zeros(others, 2, dtype=torch.int64)
        ),
        squares_of(tqdm(range(scenes), desc="composing photographs"), "learn"),
    ]
    inputs = torch.cat([part.inputs for part in parts])
    wanted = torch.cat([part.wanted for part in parts])
    chances = torch.cat(
        [
            torch.full((len(part.inputs),), share / len(part.inputs))
            for part, share in zip(parts, _SHARES, strict=True)
        ]
    )
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        finder = Finder().train()
        optimizer = torch.optim.AdamW(finder.parameters(), weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, steps)
        for _ in tqdm(range(steps), desc="learning where to look", unit=" steps"):
            rows = torch.multinomial(chances, _BATCH, replacement=True)
            found = finder(_varied(inputs[rows].float() / 255))[:, :, 0, 0]
            sure = wanted[rows] != _UNSURE
            goal = wanted[rows].clamp(min=0).float()
            surprise = functional.binary_cross_entropy_with_logits(found, goal, reduction="none")
            optimizer.zero_grad()
            (surprise * sure).sum().div(sure.sum()).backward()
            optimizer.step()
            schedule.step()
    return finder.eval().requires_grad_(False)


def squares_of(seeds: Sequence[int], part: str) -> Squares:
    """Squares of composed photographs, a sixth of which are without a number: on a digit, beside it,
    too near, too far, and anywhere."""
    inputs, wanted = [], []
    for seed in seeds:
        scene = compose_scene(seed, part, number=seed % 6 != 0)
        for box in _some_squares(np.random.default_rng((seed, 99)), scene):
            inputs.append(to_input(scene.image, SIZE, box))
            wanted.append(_wanted(scene, box))
    return Squares(torch.stack(inputs), torch.tensor(wanted))


def _some_squares(rng: np.random.Generator, scene: Scene) -> list[Box]:
    width, height = scene.image.size
    chosen: list[tuple[float, float, float]] = []  # middle and side
    for left, top, right, bottom in scene.boxes:
        middle, side = ((left + right) / 2, (top + bottom) / 2), right - left

        def near(distance: float, resize: float, middle=middle, side=side) -> None:
            angle = rng.uniform(0, 2 * np.pi)
            x, y = middle + distance * side * np.array((np.cos(angle), np.sin(angle)))
            chosen.append((float(x), float(y), float(side * resize)))

        near(abs(rng.normal(0, 0.06)), np.exp(rng.normal(0, 0.08)))
        for _ in range(2):
            kind = rng.random()
            if kind < 0.6:  # beside it
                near(rng.uniform(0.3, 0.8), np.exp(rng.normal(0, 0.15)))
            elif kind < 0.8:  # too near
                near(abs(rng.normal(0, 0.1)), rng.uniform(0.3, 0.6))
            else:
                near(abs(rng.normal(0, 0.1)), rng.uniform(1.6, 3))
    for share in rng.uniform(0.2, 1, 4):
        side = share * min(width, height)
        x, y = (rng.uniform(side / 2, length - side / 2) for length in (width, height))
        chosen.append((x, y, side))
    boxes = []
    for x, y, about in chosen:
        side = max(6, min(round(about), width, height))
        left = int(min(max(x - side / 2, 0), width - side))
        top = int(min(max(y - side / 2, 0), height - side))
        boxes.append((left, top, left + side, top + side))
    return boxes


def _wanted(scene: Scene, box: Box) -> tuple[int, int]:
    left, top, right, bottom = box
    side, whole, there = right - left, 0, 0
    for x0, y0, x1, y1 in scene.boxes:
        other = x1 - x0
        away = max(abs(left + right - x0 - x1), abs(top + bottom - y0 - y1)) / 2 / min(side, other)
        common = max(0, min(right, x1) - max(left, x0)) * max(0, min(bottom, y1) - max(top, y0))
        if away < 0.15 and 0.78 < side / other < 1.35:
            return 1, 1
        if away < 0.3 and 0.6 < side / other < 1.7:
            whole = there = _UNSURE
        elif common > 0.05 * min(side, other) ** 2:
            there = _UNSURE
    return whole, there


def _varied(images: Tensor) -> Tensor:
    """Moved by a pixel, lighter, darker, of other contrast, some turned to their negative."""
    count, side = len(images), images.shape[-1]
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    down, right = torch.randint(0, 3, (2,)).tolist()
    images = padded[:, :, down : down + side, right : right + side]
    contrast = torch.exp(0.2 * torch.randn(count, 1, 1, 1))
    tint = 0.1 * torch.randn(count, 3, 1, 1)
    negative = (torch.rand(count, 1, 1, 1) < 0.3).float()
    images = images * (1 - negative) + (1 - images) * negative
    return (images - 0.5) * contrast + 0.5 + tint
