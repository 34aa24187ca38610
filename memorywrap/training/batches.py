"""What a step of training sees: its inputs, and a newly drawn memory, by seed and step alone."""

from __future__ import annotations

import torch

from memorywrap.training.augment import augment
from memorywrap.training.chance import generator
from memorywrap.training.distributed import Processes
from memorywrap.training.objective import Batch
from memorywrap.training.recipes import Training


class Batches:
    """The batches of a training.

    Args:
        training: what is trained.
        device: where its images are kept and augmented.
        processes: those that share a batch.
    """

    def __init__(self, training: Training, device: torch.device, processes: Processes):
        self.device, self.processes = device, processes
        self.recipe, self.seed = training.recipe, training.seed
        self.images = training.data.train.images.to(device)
        self.labels = training.data.train.labels.to(device)
        self.memory = 0 if training.variant == "std" else min(self.recipe.memory, len(self.labels))

    @property
    def per_epoch(self) -> int:
        """Whole batches only, as in the paper: a small last one would weigh its images more."""
        return max(1, len(self.labels) // self.recipe.batch)

    @property
    def inputs(self) -> int:
        """Inputs per step of all processes together; small training sets have no full batch."""
        return min(self.recipe.batch, len(self.labels))

    def seed_of(self, step: int) -> int:
        """The seed of all that is left to chance in a step (from 0) of the training."""
        epoch, at = divmod(step, self.per_epoch)
        return generator(self.seed, epoch, 1 + at).initial_seed()

    def batch(self, step: int) -> Batch:
        """This process's part of a step (from 0) of the training, augmented."""
        epoch, at = divmod(step, self.per_epoch)
        count, size = len(self.labels), self.inputs
        order = torch.randperm(count, generator=generator(self.seed, epoch, 0))
        chance = torch.Generator().manual_seed(self.seed_of(step))
        rows = order[at * size : (at + 1) * size]
        if self.memory:
            rows = torch.cat([rows, torch.randperm(count, generator=chance)[: self.memory]])
        rows = rows.to(self.device)
        if self.device.type != "cpu":  # a generator draws on its own device only
            chance = torch.Generator(self.device).manual_seed(chance.initial_seed())
        # Every process augments all of it, which is cheap, so that chance is that of one process.
        pixels = augment(self.images[rows], self.recipe.augment, chance)
        pixels = pixels.to(memory_format=torch.channels_last)
        share = self.processes.share
        memory = share(pixels[size:]) if self.memory else None
        labels = self.labels[rows]
        # Their order is random, so the first ones are any.
        again = torch.arange(size, device=self.device) < self.recipe.counterfactual_memories * size
        return Batch(
            share(pixels[:size]), share(labels[:size]), memory, labels[size:], share(again)
        )
