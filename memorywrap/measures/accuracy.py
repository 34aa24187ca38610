"""How often a classifier is right: with its own bank, or with memories drawn again as in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memorywrap.bank import MemoryBank
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.sets import ImageData, Split, balanced, interleaved, load_test
from memorywrap.loading import load_classifier

# The paper's: that many test images share one memory.
SHARING = 500


@torch.no_grad()
def predictions(classifier: MemoryWrapClassifier, images: Tensor) -> Tensor:
    """Predicted classes (n,) of uint8 images (n, 3, height, width), with the classifier's bank."""
    classes = []
    for part in images.split(SHARING):
        logits = classifier.classify(part)[0].float()
        classes.append(logits.argmax(dim=1).cpu())
    return torch.cat(classes)


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Percentage of right predictions."""
    return 100.0 * (predicted == labels).double().mean().item()


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """int64 (classes, classes): how many images of the row's class were predicted as the column's."""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


@torch.no_grad()
def redrawn_accuracies(
    classifier: MemoryWrapClassifier,
    test: Split,
    train: Split,
    *,
    memories: int = 5,
    memory: int = 100,
    seed: int = 0,
) -> list[float]:
    """Accuracies of `memories` evaluations, each with memories of its own from the training set.

    The paper's protocol: 500 test images share one randomly drawn memory. The variant "std" has
    none, so it is evaluated once.
    """
    if not classifier.has_memory:
        return [accuracy(predictions(classifier, test.images), test.labels)]
    queries = classifier.encode(test.images)
    found = []
    for evaluation in range(memories):
        generator = torch.Generator().manual_seed(seed * 1009 + evaluation)
        right = 0
        for start in range(0, len(test), SHARING):
            rows = torch.randperm(len(train), generator=generator)[:memory]
            part = queries[start : start + SHARING]
            logits = classifier.head(part, classifier.encode(train.images[rows]))
            labels = test.labels[start : start + SHARING]
            right += int((logits.argmax(dim=1).cpu() == labels).sum())
        found.append(100.0 * right / len(test))
    return found


def measure(
    folder: str | Path,
    data: ImageData,
    exams: Sequence[str] = (),
    *,
    device: str | torch.device = "auto",
) -> dict[str, Any]:
    """Measure the model as it lies on disk, and note what it reached in its configuration.

    A bank that travels inside the checkpoint is first replaced by one that people can read.

    Args:
        folder: a checkpoint folder.
        data: what it was trained on.
        exams: other data sets with the same class names, as for `load_test`.
        device: as for `MemoryWrapClassifier.from_pretrained`.

    Returns:
        {"NAME:test": {"accuracy", "images"}}, in percent, as in `Config.measured`; for `data` also
        "redrawn", the accuracies with memories drawn again.
    """
    classifier = load_classifier(folder, device=device)
    if classifier.bank is not None and classifier.config.bank is None:
        legible = _legible_bank(classifier, data.train, len(classifier.bank))
        if legible.keys != classifier.bank.keys:
            classifier.set_bank(legible)  # drops a trust gauge, which is for the bank before
    tests = {f"{data.name}:test": data.test}
    for name in exams:
        part = name if name.endswith((":train", ":test")) else f"{name}:test"
        tests[part] = load_test(name, data.classes)[1]
    measured = {}
    for name, test in tests.items():
        found = accuracy(predictions(classifier, test.images), test.labels)
        measured[name] = {"accuracy": round(found, 2), "images": len(test)}
    memories = classifier.config.recipe.get("test_memories", 0)
    if classifier.has_memory and memories:
        found = redrawn_accuracies(
            classifier,
            data.test,
            data.train,
            memories=memories,
            memory=classifier.config.recipe["memory"],
            seed=classifier.config.seed,
        )
        measured[f"{data.name}:test"]["redrawn"] = [round(value, 2) for value in found]
    classifier.config = replace(classifier.config, measured=measured)
    classifier.save_pretrained(folder)
    return measured


def _legible_bank(classifier: MemoryWrapClassifier, train: Split, size: int) -> MemoryBank:
    """Balanced training samples, drawn by the model's seed, that it recognises most surely with a
    bank drawn by the same seed, whatever its present one.

    One in four of those drawn: the bank is what people look at, and a sample that no one can read
    explains nothing. Taking the very surest ones of all would make them all alike.
    """

    def bank(rows: Tensor) -> MemoryBank:
        return classifier.make_bank(train.images[rows], train.labels[rows])

    seed = classifier.config.seed
    rows = balanced(train.labels, 4 * size, seed)
    labels = train.labels[rows]
    drawn = bank(balanced(train.labels, size, seed))
    logits = classifier.classify(train.images[rows], drawn)[0].float().cpu()
    surest = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0].argsort(descending=True)
    return bank(rows[surest[interleaved(labels[surest])[:size]]])
