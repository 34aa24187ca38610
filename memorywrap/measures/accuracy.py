"""How often a classifier is right: with its own bank, or with memories drawn again as in the paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.sets import ImageData, Split, load_test
from memorywrap.measures.reliance import reliance

# queries (batch, dim), memory embeddings (memory, dim), their labels (memory,) -> logits (batch, classes)
Reader = Callable[[Tensor, Tensor, Tensor], Tensor]

# The paper's: that many test images share one memory.
SHARING = 500


@torch.no_grad()
def predictions(classifier: MemoryWrapClassifier, images: Tensor) -> Tensor:
    """Predicted classes (n,) of uint8 images (n, 3, height, width), with the classifier's bank."""
    return answers(classifier, classifier.encode(images))


@torch.no_grad()
def answers(classifier: MemoryWrapClassifier, queries: Tensor) -> Tensor:
    """Predicted classes (n,) of images that are encoded already (n, dim)."""
    parts = [classifier.read(part).logits.float() for part in queries.split(SHARING)]
    return torch.cat(parts).argmax(dim=1).cpu()


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Percentage of right predictions."""
    return 100.0 * (predicted == labels).double().mean().item()


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """int64 (classes, classes): how many images of the row's class were predicted as the column's."""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


@torch.no_grad()
def redrawn_accuracies(
    classifier: MemoryWrapClassifier,
    queries: Tensor,
    labels: Tensor,
    train: Split,
    *,
    memories: int = 5,
    memory: int = 100,
    seed: int = 0,
    read: Reader | None = None,
) -> list[float]:
    """Accuracies of `memories` evaluations, each with memories of its own from the training set.

    The paper's protocol: 500 test images share one randomly drawn memory. The variant "std" has
    none, so it is evaluated once.

    Args:
        classifier: the model.
        queries: embeddings (n, dim) of the test images.
        labels: their classes (n,).
        train: where memories are drawn from.
        memories, memory: how many, of how many samples.
        seed: of what is drawn.
        read: how a memory is read by its labels; as the classifier's head reads it when not given.
    """
    if not classifier.has_memory:
        return [accuracy(answers(classifier, queries), labels)]
    found = []
    for evaluation in range(memories):
        right = 0
        drawn = memories_of(train, len(labels), memory, seed, evaluation)
        for start, rows in zip(range(0, len(labels), SHARING), drawn, strict=True):
            part = queries[start : start + SHARING]
            embeddings = classifier.encode(train.images[rows])
            if read is None:
                logits = classifier.head(part, embeddings)
            else:
                logits = read(part, embeddings, train.labels[rows].to(part.device))
            these = labels[start : start + SHARING]
            right += int((logits.argmax(dim=1).cpu() == these).sum())
        found.append(100.0 * right / len(labels))
    return found


def memories_of(
    train: Split, images: int, memory: int, seed: int, evaluation: int
) -> Iterator[Tensor]:
    """The memories of one evaluation, as rows of the training set: one for each 500 test images.

    Args:
        train: what is drawn from.
        images: how many test images there are.
        memory: samples in a memory.
        seed: of what is drawn.
        evaluation: the number of the evaluation; each has memories of its own.
    """
    generator = torch.Generator().manual_seed(seed * 1009 + evaluation)
    for _ in range(0, images, SHARING):
        yield torch.randperm(len(train), generator=generator)[:memory]


def measure(
    classifier: MemoryWrapClassifier, data: ImageData, exams: Sequence[str] = ()
) -> dict[str, Any]:
    """What a classifier reaches, with its own bank and with memories drawn again; changes nothing.

    Args:
        classifier: with its bank.
        data: what it was trained on.
        exams: other data sets with the same class names, as for `load_test`.

    Returns:
        {"NAME:test": {"accuracy", "images"}}, in percent, as in `Config.measured`, with the rates of
        `reliance`; for `data` also "redrawn", the accuracies with memories drawn again.

    Raises:
        DataError: an exam that is not there, or has other classes.
    """
    tests = {f"{data.name}:test": data.test}
    for name in exams:
        part = name if name.endswith((":train", ":test")) else f"{name}:test"
        tests[part] = load_test(name, data.classes, size=classifier.config.image_size)[1]
    measured: dict[str, Any] = {}
    queries = {name: classifier.encode(test.images) for name, test in tests.items()}
    for name, test in tests.items():
        right = accuracy(answers(classifier, queries[name]), test.labels)
        measured[name] = {"accuracy": round(right, 2), "images": len(test)}
        if classifier.has_memory:
            measured[name] |= reliance(classifier, queries[name])
    recipe = classifier.config.recipe
    memories = recipe.get("test_memories", 0)
    if classifier.has_memory and memories:
        redrawn = redrawn_accuracies(
            classifier,
            queries[f"{data.name}:test"],
            data.test.labels,
            data.train,
            memories=memories,
            memory=recipe["memory"],
            seed=classifier.config.seed,
        )
        measured[f"{data.name}:test"]["redrawn"] = [round(value, 2) for value in redrawn]
    return measured
