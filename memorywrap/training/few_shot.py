"""Networks that answer by the labels of a memory, to compare with: matching and prototypical networks.

With the same encoders, data, recipes and memories as the others, so that only how the memory is read differs.
They explain themselves no further: there is no model to save, only what it reaches.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from memorywrap import devices
from memorywrap.devices import choose_device
from memorywrap.layer import similarity
from memorywrap.measures.accuracy import redrawn_accuracies
from memorywrap.training.batches import Batches
from memorywrap.training.chance import own_chance, seed_torch
from memorywrap.training.distributed import Processes
from memorywrap.training.loop import finish_run, make_network, move_average
from memorywrap.training.recipes import Training, learning_rate, make_optimizer
from memorywrap.training.runs import RunFolder

# Of a class that the memory has no sample of: its probability, and its logit, which must be finite.
_LEAST, _ABSENT = 1e-6, -1e3
_SCALE = 10.0  # of cosines, as is usual since


def matching(
    queries: Tensor, memory: Tensor, labels: Tensor, classes: int, *, scale: float = 1.0
) -> Tensor:
    """Softmax over cosine similarity, and the labels so weighed (Vinyals et al., arXiv 1606.04080, without full
    context embeddings).

    A bare cosine can raise a class of ten samples among 100 to 0.45 at most, or to 0.23 where embeddings have no
    negative numbers; with a scale of 10 a sample can outweigh all others.
    """
    weights = (scale * similarity(queries.float(), memory.float())).softmax(dim=1)
    return (weights @ functional.one_hot(labels, classes).float()).clamp(min=_LEAST).log()


def prototypical(queries: Tensor, memory: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Minus the squared distance to the mean of each class (Snell et al., arXiv 1703.05175), in units of the
    mean over the numbers of an embedding, which may have 64 or 1,280."""
    member = functional.one_hot(labels, classes).float()
    count = member.sum(dim=0)
    means = member.T @ memory.float() / count.clamp(min=1)[:, None]
    distances = torch.cdist(queries.float(), means).square() / queries.shape[1]
    return (-distances).masked_fill(count == 0, _ABSENT)


# As of `accuracy.Reader`, for so many classes.
READERS: dict[str, Callable[..., Tensor]] = {
    "matching": matching,
    "matching-scaled": partial(matching, scale=_SCALE),
    "prototypical": prototypical,
}


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
    chosen = choose_device(device)
    read = partial(READERS[reader], classes=len(training.data.classes))
    run, recipe = RunFolder(folder), training.recipe
    half = training.is_half(chosen)
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
                read(queries, memory, batch.memory_labels),
                batch.labels,
                label_smoothing=recipe.label_smoothing,
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            move_average(averaged, model, 1 - min(recipe.average, (2 + step) / (11 + step)))
    data = training.data
    accuracies = redrawn_accuracies(
        averaged,
        averaged.encode(data.test.images),
        data.test.labels,
        data.train,
        memories=max(recipe.test_memories, 1),
        memory=recipe.memory,
        seed=training.seed,
        read=read,
    )
    redrawn = [round(value, 2) for value in accuracies]
    measured = {"accuracy": redrawn[0], "images": len(data.test), "redrawn": redrawn}
    return finish_run(run, {f"{data.name}:test": measured}, time.monotonic() - begun, chosen)
