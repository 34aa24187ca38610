"""Models ready to answer: a checkpoint with its bank, and banks drawn anew from what it was trained on."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from memorywrap.bank import MemoryBank
from memorywrap.checkpoints.config import Config
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.banks import digest_of, draw_bank
from memorywrap.data.sampling import balanced, interleaved
from memorywrap.data.sets import DataError, Split, data_set, load_data
from memorywrap.images import of_side

_log = logging.getLogger(__name__)

DRAWN_FROM = 5000  # rendered images that banks are drawn from anew


def load_classifier(
    folder: str | Path, *, device: str | torch.device = "auto", fetch: bool = False
) -> MemoryWrapClassifier:
    """A classifier with its bank, which is drawn from the data set where the checkpoint says so.

    Raises:
        CheckpointError: not a checkpoint of ours.
        DataError: the bank's data set is not there.
    """
    classifier = MemoryWrapClassifier.from_pretrained(folder, device=device)
    recipe = classifier.config.bank
    if recipe is not None and classifier.has_memory and classifier.bank is None:
        drawn = draw_bank(recipe, fetch=fetch)
        pixels = of_side(drawn.images, classifier.config.image_size)
        classifier.set_bank(classifier.make_bank(pixels, drawn.labels))
        if recipe.get("digest", digest_of(drawn)) != digest_of(drawn):
            # Another copy of the data set, such as the published files in place of a JPEG copy.
            _log.warning(
                "%s: its bank is drawn from another copy of %s than the one it was measured with, so "
                "it cannot say how far to trust its answers",
                Path(folder).name,
                recipe["dataset"],
            )
            classifier.config = replace(classifier.config, trust=None)
    return classifier


def training_images(
    config: Config, most: int | None = None, *, fetch: bool = False, whole: bool = False
) -> Split:
    """What a model was trained on, in the size that it sees; of rendered images no more than `most`, which
    takes less long. `whole`: all that it was drawn from, most of which the model never saw.

    Raises:
        DataError: the data set is not there, or the checkpoint does not say which it was.
    """
    if "name" not in config.data:
        raise DataError("this checkpoint does not say what it was trained on: no bank can be drawn")
    name, samples = config.data["name"], config.data.get("samples", config.data.get("train"))
    if samples is not None and most is not None and data_set(name).rendered:
        samples = min(samples, most)
    seed, held_out = config.data.get("seed", 0), config.data.get("held_out", 0)
    if whole and not data_set(name).rendered:
        samples, held_out = None, 0
    elif "samples" in config.data and "seed" not in config.data:
        raise DataError(
            f"this checkpoint does not say which {samples:,} images of {name} it was trained on: no bank can be drawn"
        )
    return load_data(
        name,
        samples=samples,
        seed=seed,
        held_out=held_out,
        fetch=fetch,
        test=False,
        size=config.image_size,
    ).train


def random_bank(classifier: MemoryWrapClassifier, train: Split, seed: int) -> MemoryBank:
    """A bank of random training samples, as large as the classifier's own.

    Raises:
        ValueError: the classifier has no bank.
    """
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    rows = order[: _bank_size(classifier)]
    return classifier.make_bank(train.images[rows], train.labels[rows])


def legible_bank(classifier: MemoryWrapClassifier, train: Split) -> MemoryBank:
    """A bank that people can read, as large as the classifier's own: of balanced training samples,
    drawn by the model's seed, those that it recognises most surely with a bank drawn by the same
    seed, whatever its present one.

    One in four of those drawn: the bank is what people look at, and a sample that no one can read
    explains nothing. Taking the very surest ones of all would make them all alike.

    Raises:
        ValueError: the classifier has no bank.
    """

    def bank(rows: Tensor) -> MemoryBank:
        return classifier.make_bank(train.images[rows], train.labels[rows])

    size, seed = _bank_size(classifier), classifier.config.seed
    rows = balanced(train.labels, 4 * size, seed)
    labels = train.labels[rows]
    drawn = bank(balanced(train.labels, size, seed))
    logits = classifier.classify(train.images[rows], drawn)[0].float().cpu()
    surest = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0].argsort(descending=True)
    return bank(rows[surest[interleaved(labels[surest])[:size]]])


def _bank_size(classifier: MemoryWrapClassifier) -> int:
    if classifier.bank is None:
        raise ValueError("this model has no memory bank, so none can be drawn in its place")
    return len(classifier.bank)
