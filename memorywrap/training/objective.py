"""What a step makes smaller: the loss of a batch, with or without counterfactual memories."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.layer import BaselineMemory, MemoryWrapLayer
from memorywrap.training.recipes import Recipe


class Batch(NamedTuple):
    """One process's part of a step.

    Attributes:
        inputs: its images (inputs, 3, height, width) in [0, 1].
        labels: their classes (inputs,).
        memory: its memory samples (share, 3, height, width) in [0, 1]; None for the variant "std".
        memory_labels: classes (memory,) of the memory samples of all processes together.
        again: bool (inputs,), which inputs are read once more, with counterfactual memories.
    """

    inputs: Tensor
    labels: Tensor
    memory: Tensor | None
    memory_labels: Tensor
    again: Tensor


class Objective(nn.Module):
    """The summed loss of a batch, as a module, so that DistributedDataParallel can wrap it.

    With counterfactual memories, some inputs are read once more, with the memory samples
    of their own class masked out. The target of that reading is the memory's own verdict: the sum of
    memory weight x one-hot label over the samples. So the head learns to say what the memory says,
    also where the memory is wrong. The embeddings of that reading are detached: the encoder learns
    from true labels alone, and there is no second pass through it.
    """

    def __init__(
        self,
        classifier: MemoryWrapClassifier,
        recipe: Recipe,
        gather: Callable[[Tensor, int], Tensor] | None = None,
    ):
        """
        Args:
            classifier: the network that learns.
            recipe: label smoothing, counterfactual memories, and how memory is encoded.
            gather: from the embeddings of this process's memory samples to those of all so many.
        """
        super().__init__()
        self.classifier = classifier
        self.recipe = recipe
        self.gather = gather or (lambda embeddings, size: embeddings)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """
        Returns:
            The loss summed over the inputs, and how many of them were classified rightly.
        """
        model, smoothing = self.classifier, self.recipe.label_smoothing
        if batch.memory is None:
            logits = model(batch.inputs)
            counterfactual = logits.new_zeros(())
        else:
            queries, mine = model.embed_both(batch.inputs, batch.memory, apart=self.recipe.apart)
            memory = self.gather(mine, len(batch.memory_labels))
            logits = model.head(queries, memory)
            counterfactual = counterfactual_loss(
                model.head,
                queries[batch.again].detach(),
                memory.detach(),
                batch.labels[batch.again],
                batch.memory_labels,
                smoothing,
            )
        right = (logits.argmax(dim=1) == batch.labels).sum()
        loss = functional.cross_entropy(
            logits.float(), batch.labels, label_smoothing=smoothing, reduction="sum"
        )
        return loss + counterfactual, right


def counterfactual_loss(
    head: MemoryWrapLayer | BaselineMemory,
    queries: Tensor,
    memory: Tensor,
    labels: Tensor,
    memory_labels: Tensor,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy, summed over the queries, between what the head says without the memory samples
    of the query's own class and the verdict of the samples that are left.

    Args:
        head: what reads the memory.
        queries: (batch, dim).
        memory: memory embeddings (memory, dim).
        labels: classes (batch,).
        memory_labels: classes (memory,) of the samples.
        label_smoothing: share of the target spread over all classes.

    Returns:
        A scalar; 0 where no query has a memory sample of another class.
    """
    others = labels[:, None] != memory_labels
    able = others.any(dim=1)
    queries = queries[able]
    weights = head.weights(queries, memory, others[able])
    logits = head.read(queries, memory, weights).float()
    classes = functional.one_hot(memory_labels, logits.shape[1]).float()
    verdict = weights.detach().float() @ classes
    return functional.cross_entropy(
        logits, verdict, label_smoothing=label_smoothing, reduction="sum"
    )
