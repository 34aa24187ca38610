"""Are counterfactuals like their class? IM1 and IM2 of memory samples, of patches and of a search.

Interpretability metrics of Van Looveren and Klaise (arXiv 1907.02584): autoencoders that have seen the images
of one class alone, and none of the memory, tell how much a picture is like that class. Their prototype-guided
search, which any network can be asked with, is what memory samples compete with, as in La Rosa et al. (Applied
Intelligence 2022).

Everything is of single images; the authors' `run_counterfactuals.py` takes its norms over a batch, its sample from
the first image of that, and gives IM2 the autoencoder of the input's class. It takes the roots of these metrics, too,
and divides IM2 by a Euclidean norm; its IIM1 is one over its IM1. The search here works on logits, not on
probabilities, and without the autoencoder's error among its terms; how strongly prototypes draw is a choice that
depends on the codes, so it is asked with two.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.sets import Split
from memorywrap.images import of_side, to_unit
from memorywrap.measures.explanations import random_order
from memorywrap.patches import patch_counterfactual
from memorywrap.prediction import Prediction

_LARGEST = 64  # pixels a side: the autoencoders are small
_LATENT = 64
_STEPS, _BATCH, _RATE = 600, 64, 2e-3
_EPSILON = 1e-8
_KEPT = 0.1  # share of the images that no autoencoder sees, to tell what they learned by heart
# Of the search: the weights of the terms, and of a class that is not reached yet.
_SPARSE, _CLASS, _MARGIN = 0.1, 10.0, 0.1
_PROTOTYPE = (1.0, 100.0)
_ITERATIONS, _TRIES, _PACE = 300, 3, 0.05
_TOGETHER = 50


class Autoencoder(nn.Module):
    """Images (batch, 3, side, side) in [0, 1] -> the same from 64 numbers each; side a multiple of 4."""

    def __init__(self, side: int):
        super().__init__()
        small = side // 4
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 32, 4, stride=2, padding=1), nn.GELU(),
            nn.Conv2d(32, 32, 4, stride=2, padding=1), nn.GELU(),
            nn.Flatten(), nn.Linear(32 * small * small, _LATENT),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(_LATENT, 32 * small * small), nn.Unflatten(1, (32, small, small)), nn.GELU(),
            nn.ConvTranspose2d(32, 32, 4, stride=2, padding=1), nn.GELU(),
            nn.ConvTranspose2d(32, 3, 4, stride=2, padding=1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.decoder(self.encoder(images))


@torch.enable_grad()
def fit_autoencoder(images: Tensor, seed: int = 0) -> Autoencoder:
    """One that has seen uint8 images (n, 3, side, side) and nothing else."""
    chance = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Autoencoder(images.shape[-1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, _STEPS)
    for _ in range(_STEPS):
        seen = to_unit(images[torch.randint(len(images), (_BATCH,), generator=chance)])
        optimizer.zero_grad()
        functional.mse_loss(model(seen), seen).backward()
        optimizer.step()
        schedule.step()
    return model.eval().requires_grad_(False)


def im1(picture: Tensor, of_new: nn.Module, of_old: nn.Module) -> float:
    """How much better the counterfactual's class explains it than the class of before; less is better.

    Args:
        picture: the counterfactual, (3, side, side) in [0, 1].
        of_new, of_old: autoencoders of its class, and of the answer's.
    """
    new, old = (
        float((picture - model(picture[None])[0]).square().sum()) for model in (of_new, of_old)
    )
    return new / (old + _EPSILON)


def im2(picture: Tensor, of_new: nn.Module, of_all: nn.Module) -> float:
    """How far its class's autoencoder and that of all classes are apart on it; less is better."""
    apart = (of_new(picture[None]) - of_all(picture[None])).square().sum()
    return float(apart / (picture.abs().sum() + _EPSILON))


@torch.enable_grad()
def prototype_guided(
    classifier: MemoryWrapClassifier,
    of_all: Autoencoder,
    predictions: Sequence[Prediction],
    targets: Tensor,
    prototypes: Tensor,
    drawn: float = _PROTOTYPE[0],
) -> list[Tensor | None]:
    """Change each picture until the model answers its target: little, in few places, and towards the
    target's prototype (FISTA; Van Looveren and Klaise).

    Args:
        classifier: the model, with its bank.
        of_all: the autoencoder that prototypes are made by.
        predictions: of the pictures.
        targets: (n,), the classes that are wanted.
        prototypes: (classes, 64), mean codes.
        drawn: how strongly, towards the prototype.

    Returns:
        The nearest picture that was found for each, (3, side, side) in [0, 1]; None where none was.
    """
    bank = classifier.require_bank()
    start = to_unit(torch.stack([one.pixels for one in predictions]), classifier.device)
    wanted, rows = prototypes[targets], torch.arange(len(start))
    is_target = functional.one_hot(targets, len(prototypes)).bool()
    found: list[Tensor | None] = [None] * len(start)
    least = torch.full((len(start),), float("inf"))
    weight = torch.full((len(start),), _CLASS)

    def logits(pictures: Tensor) -> Tensor:
        return classifier.head(classifier.frozen.embed(pictures), bank.embeddings).cpu()

    for _ in range(_TRIES):
        now = ahead = start
        reached = torch.zeros(len(start), dtype=torch.bool)
        for step in range(_ITERATIONS):
            ahead = ahead.detach().requires_grad_()
            said = logits(ahead)
            missing = said.masked_fill(is_target, float("-inf")).amax(dim=1) - said[rows, targets]
            code = of_all.encoder(ahead.cpu())
            loss = (
                weight * (missing + _MARGIN).relu()
                + (ahead - start).square().sum(dim=(1, 2, 3)).cpu()
                + drawn * (code - wanted).square().sum(dim=1)
            )
            (slope,) = torch.autograd.grad(loss.sum(), ahead)
            with torch.no_grad():
                pace = _PACE * (1 - step / _ITERATIONS) ** 0.5
                away = ahead - pace * slope - start
                away = away.sign() * (away.abs() - _SPARSE * pace).relu()
                new = (start + away).clamp(0, 1)
                ahead = (new + step / (step + 3) * (new - now)).clamp(0, 1)
                now = new
                if step % 10 == 9:
                    far = (now - start).square().sum(dim=(1, 2, 3)).cpu()
                    there = logits(now).argmax(dim=1) == targets
                    reached |= there
                    for row in (there & (far < least)).nonzero()[:, 0].tolist():
                        found[row], least[row] = now[row].cpu().clone(), far[row]
        weight = torch.where(reached, weight / 3, weight * 10)
    return found


def measure_counterfactuals(
    classifier: MemoryWrapClassifier,
    test: Split,
    train: Split,
    *,
    images: int = 200,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """IM1, IM2 and how much is changed, of several counterfactuals of the same images, towards the same class.

    Args:
        classifier: with a bank.
        test: images to ask about.
        train: what autoencoders learn from.
        images: of the test images, at most.
        seed: of the images and of the autoencoders.

    Returns:
        "asked" and "images" (for which all were found); "errors" of the classes' autoencoders (mean squared error
        of the images that they have "seen" and "unseen"); and by name ("memory sample", "patch counterfactual",
        "prototype-guided, drawn by 1" and so on) "found" (how many), "im1", "im2", "changed" (mean absolute
        difference of the pixels, in [0, 1]) and "seconds", medians over those images.

    Raises:
        ValueError: images of another size than the autoencoders take, or none that are not in the memory.
    """
    side, classes = classifier.config.image_size, len(classifier.config.classes)
    if side > _LARGEST or side % 4:
        raise ValueError(
            f"counterfactuals are compared for images of up to {_LARGEST} pixels a side, a multiple of 4"
        )
    train, test = (Split(of_side(part.images, side), part.labels) for part in (train, test))
    chosen = random_order(len(test), seed)[:images]
    predictions = [
        one for one in classifier.predict_inputs(list(test.images[chosen])) if one.rival is not None
    ]
    train = _without(train, classifier.require_bank().images)
    if len(train) < 2:
        raise ValueError(
            "counterfactuals: autoencoders learn from training images that are not in the memory, and all are"
        )
    said = classifier.classify(train.images).logits.argmax(dim=1).cpu()
    kept = random_order(len(train), seed)[: round(_KEPT * len(train))]
    seen = torch.ones(len(train), dtype=torch.bool).index_fill(0, kept, False)
    with tqdm(total=classes + 1 + len(predictions), disable=not progress, leave=False) as bar:
        bar.set_description("autoencoders")

        def fitted(of: Tensor) -> Autoencoder:
            bar.update()
            return fit_autoencoder(of, seed)

        of_all = fitted(train.images[seen])
        known = {
            class_: fitted(train.images[seen & (said == class_)])
            for class_ in said[seen].unique().tolist()
        }
        errors = {
            name: _error(known, train.images[which], said[which])
            for name, which in (("seen", seen), ("unseen", ~seen))
        }
        with torch.no_grad():
            codes = torch.cat([of_all.encoder(to_unit(part)) for part in train.images.split(256)])
        prototypes = torch.stack([
            codes[said == class_].mean(dim=0) if class_ in known else torch.zeros(_LATENT) for class_ in range(classes)
        ])  # fmt: skip
        bar.set_description("counterfactuals")
        searches = {f"prototype-guided, drawn by {drawn:g}": drawn for drawn in _PROTOTYPE}
        made: dict[str, list[tuple[Tensor | None, float]]] = {
            name: [] for name in ("memory sample", "patch counterfactual", *searches)
        }
        predictions = [one for one in predictions if {one.rival, one.predicted} <= set(known)]
        for start in range(0, len(predictions), _TOGETHER):
            some = predictions[start : start + _TOGETHER]
            targets = torch.tensor([one.rival for one in some])
            for name, drawn in searches.items():
                begun = time.perf_counter()
                found = prototype_guided(classifier, of_all, some, targets, prototypes, drawn)
                each = (time.perf_counter() - begun) / len(some)
                made[name] += [(picture, each) for picture in found]
            for prediction in some:
                assert prediction.other is not None
                sample = prediction.require_bank().images[prediction.other]
                made["memory sample"].append((to_unit(sample).cpu(), 0.0))
                begun = time.perf_counter()
                patched = _patched(classifier, prediction)
                made["patch counterfactual"].append((patched, time.perf_counter() - begun))
                bar.update()
    return {"errors": errors, **_summary(predictions, made, known, of_all)}


def _without(data: Split, bank: Tensor) -> Split:
    """The data without the images of a bank, which would be known by heart to what learned from them."""
    known = {image.numpy().tobytes() for image in bank.cpu()}
    return data.rows(
        torch.tensor([image.numpy().tobytes() not in known for image in data.images]).nonzero()[
            :, 0
        ]
    )


@torch.no_grad()
def _error(known: dict[int, Autoencoder], images: Tensor, said: Tensor) -> float | None:
    """Mean squared error of the autoencoders, each of the images of its class; None without any image."""
    errors = [
        (model(pixels) - pixels).square().flatten(1).mean(dim=1)
        for class_, model in known.items()
        for part in images[said == class_].split(256)
        if len(pixels := to_unit(part))
    ]
    return float(torch.cat(errors).mean()) if errors else None


def _patched(classifier: MemoryWrapClassifier, prediction: Prediction) -> Tensor | None:
    patch = patch_counterfactual(classifier, prediction)
    return (
        None
        if patch is None or patch.prediction.predicted != prediction.rival
        else to_unit(patch.pixels).cpu()
    )


@torch.no_grad()
def _summary(
    predictions: Sequence[Prediction],
    made: dict[str, list[tuple[Tensor | None, float]]],
    known: dict[int, Autoencoder],
    of_all: Autoencoder,
) -> dict[str, Any]:
    every = [
        place
        for place in range(len(predictions))
        if all(found[place][0] is not None for found in made.values())
    ]
    report: dict[str, Any] = {"asked": len(predictions), "images": len(every)}
    for name, found in made.items():
        numbers: dict[str, list[float]] = {"im1": [], "im2": [], "changed": [], "seconds": []}
        for place in every:
            (picture, seconds), prediction = found[place], predictions[place]
            assert picture is not None and prediction.rival is not None
            of_new, of_old = known[prediction.rival], known[prediction.predicted]
            numbers["im1"].append(im1(picture, of_new, of_old))
            numbers["im2"].append(im2(picture, of_new, of_all))
            numbers["changed"].append(
                float((picture - to_unit(prediction.pixels).cpu()).abs().mean())
            )
            numbers["seconds"].append(seconds)
        report[name] = {"found": sum(picture is not None for picture, _ in found)} | {
            measure: statistics.median(values) if values else None
            for measure, values in numbers.items()
        }
    return report


def markdown(report: dict[str, Any]) -> str:
    """The report as a table."""
    errors = {
        name: "-" if value is None else f"{value:.4f}" for name, value in report["errors"].items()
    }
    lines = [
        f"Counterfactuals of {report['asked']} images, towards the class of the counterfactual sample or of the "
        f"contrast; medians over the {report['images']} for which all were found; up to {_TOGETHER} images are searched "
        f"together, the others one by one. Autoencoders of a class miss what they have seen by {errors['seen']}, other "
        f"images of it by {errors['unseen']} (mean squared error). Of all numbers but what was found, less is better:",
        "",
        "| counterfactual | found | IM1 | IM2, thousandths | pixels changed by | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, told in report.items():
        if isinstance(told, dict) and "found" in told:
            cells = [f"{told['found']}"]
            for measure, scale, digits in (
                ("im1", 1, 3),
                ("im2", 1000, 2),
                ("changed", 100, 1),
                ("seconds", 1, 2),
            ):
                value = told[measure]
                cells.append(
                    ""
                    if value is None
                    else f"{scale * value:.{digits}f}" + " %" * (measure == "changed")
                )
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
