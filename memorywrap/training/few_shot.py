"""Networks that answer by the labels of a memory, to compare with: matching and prototypical networks.

With the same encoders, data, recipes and memories as the others, so that only how the memory is read differs.
They explain themselves no further: there is no model to save, only what it reaches.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from memorywrap import devices
from memorywrap.checkpoints.config import library_versions
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.devices import choose_device
from memorywrap.layer import similarity
from memorywrap.measures.accuracy import SHARING
from memorywrap.training.batches import Batches
from memorywrap.training.chance import own_chance, seed_torch
from memorywrap.training.distributed import Processes
from memorywrap.training.loop import make_network, move_average
from memorywrap.training.recipes import Training, learning_rate, make_optimizer
from memorywrap.training.runs import RunFolder

# queries (batch, dim), memory (memory, dim), its labels (memory,), number of classes -> logits (batch, classes)
Reader = Callable[[Tensor, Tensor, Tensor, int], Tensor]

_LEAST = 1e-6  # probability of a class that the memory has no sample of


def matching(queries: Tensor, memory: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Softmax over cosine similarity, and the labels so weighed (Vinyals et al., arXiv 1606.04080, without full
    context embeddings)."""
    weights = similarity(queries.float(), memory.float()).softmax(dim=1)
    return (weights @ functional.one_hot(labels, classes).float()).clamp(min=_LEAST).log()


def prototypical(queries: Tensor, memory: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Minus the squared distance to the mean of each class (Snell et al., arXiv 1703.05175), in units of the
    mean over the numbers of an embedding, which may have 64 or 1,280."""
    member = functional.one_hot(labels, classes).float()
    count = member.sum(dim=0)
    means = member.T @ memory.float() / count.clamp(min=1)[:, None]
    distances = torch.cdist(queries.float(), means).square() / queries.shape[1]
    return (-distances).masked_fill(count == 0, float(torch.tensor(_LEAST).log()) - 1e3)


READERS: dict[str, Reader] = {"matching": matching, "prototypical": prototypical}


def train_and_measure_few_shot(
    training: Training,
    reader: str,
    folder: str | Path,
    *,
    device: str = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Train an encoder so that a memory read by its labels tells the classes, and note what it reaches.

    Args:
        training: what is trained, of a variant with a memory.
        reader: of `READERS`.
        folder: a run folder, with its configuration and its result alone: a run that is cut off begins anew.
        device: as for `train`.
        progress: show a bar.

    Returns:
        The content of RUN/result.json.

    Raises:
        RunError: the folder cannot be written or holds another run.
    """
    chosen, read, classes = choose_device(device), READERS[reader], len(training.data.classes)
    run, recipe = RunFolder(folder), training.recipe
    half = training.precision == "bfloat16" or (
        training.precision == "auto" and devices.bfloat16_pays(chosen)
    )
    precision = "bfloat16" if half else "float32"
    run.prepare({**training.config(), "variant": reader, "precision": precision}, needed_bytes=0)
    model = make_network(training, chosen)
    averaged = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = make_optimizer(model.encoder, recipe)
    batches, begun = Batches(training, chosen, Processes()), time.monotonic()
    total = recipe.epochs * batches.per_epoch
    with own_chance(chosen):
        for step in tqdm(range(total), unit=" steps", disable=not progress):
            batch = batches.batch(step)
            assert batch.memory is not None
            seed_torch(batches.seed_of(step), chosen)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, batches.per_epoch)
            model.train()
            with devices.half_precision(chosen, half):
                queries, memory = model.embed_both(batch.inputs, batch.memory, apart=recipe.apart)
            loss = functional.cross_entropy(
                read(queries, memory, batch.memory_labels, classes),
                batch.labels,
                label_smoothing=recipe.label_smoothing,
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            move_average(averaged, model, 1 - min(recipe.average, (2 + step) / (11 + step)))
    redrawn = _accuracies(averaged, training, read)
    measured = {"accuracy": redrawn[0], "images": len(training.data.test), "redrawn": redrawn}
    result = {
        "measured": {f"{training.data.name}:test": measured},
        "seconds": round(time.monotonic() - begun, 1),
        "device": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else chosen.type,
        "precision": precision,
        "processes": 1,
        "versions": library_versions(),
    }
    run.finish(result)
    return result


@torch.no_grad()
def _accuracies(model: MemoryWrapClassifier, training: Training, read: Reader) -> list[float]:
    """As of `accuracy.redrawn_accuracies`: 500 test images share a memory, several times over."""
    train, test, classes = training.data.train, training.data.test, len(training.data.classes)
    queries, found = model.encode(test.images), []
    for evaluation in range(max(training.recipe.test_memories, 1)):
        chance, right = torch.Generator().manual_seed(training.seed * 1009 + evaluation), 0
        for start in range(0, len(test), SHARING):
            rows = torch.randperm(len(train), generator=chance)[: training.recipe.memory]
            labels = train.labels[rows].to(queries.device)
            logits = read(
                queries[start : start + SHARING], model.encode(train.images[rows]), labels, classes
            )
            right += int((logits.argmax(dim=1).cpu() == test.labels[start : start + SHARING]).sum())
        found.append(round(100 * right / len(test), 2))
    return found
