"""Batches: every image once an epoch, a memory drawn anew at every step, by seed and step alone."""

from __future__ import annotations

from dataclasses import replace

import torch
from colours import SHORT, TINY

from memorywrap.training.augment import Augment
from memorywrap.training.batches import Batches
from memorywrap.training.distributed import Processes

CPU = torch.device("cpu")


def batches(training=TINY, **processes) -> Batches:
    return Batches(training, CPU, Processes(**processes))


def test_every_image_is_seen_once_in_an_epoch_and_labels_belong_to_their_images():
    drawn = batches()
    assert (drawn.per_epoch, drawn.inputs, drawn.memory) == (3, 16, 8)
    seen = [drawn.batch(step) for step in range(3)]
    for inputs, labels, memory, memory_labels, again in seen:
        assert inputs.shape == (16, 3, 32, 32) and memory.shape == (8, 3, 32, 32)
        # The colour says which class it is.
        assert torch.equal(inputs.mean(dim=(2, 3)).argmax(dim=1), labels)
        assert torch.equal(memory.mean(dim=(2, 3)).argmax(dim=1), memory_labels)
        assert not again.any()
    images = torch.cat([batch.inputs for batch in seen])
    assert len({image.numpy().tobytes() for image in images}) == 48
    assert not torch.equal(drawn.batch(3).inputs, seen[0].inputs)  # another epoch, another order


def test_memory_is_drawn_anew_at_every_step():
    drawn = batches()
    seen = [drawn.batch(step) for step in range(6)]
    assert len({batch.memory.numpy().tobytes() for batch in seen}) == 6
    # A draw of its own, and not the beginning of the epoch's order again.
    assert not any(torch.equal(batch.memory, batch.inputs[:8]) for batch in seen)


def test_a_step_is_the_same_whenever_it_is_asked_for_and_another_by_another_seed():
    training = replace(TINY, recipe=replace(SHORT, augment=Augment(translate=2, contrast=0.3)))
    first, again = batches(training), batches(training)
    later = again.batch(4)
    for name, value in first.batch(4)._asdict().items():
        assert torch.equal(value, getattr(later, name)), name
    other = batches(replace(training, seed=1))
    assert not torch.equal(other.batch(4).inputs, later.inputs)
    assert other.seed_of(4) != first.seed_of(4)


def test_processes_share_one_batch():
    whole = batches().batch(1)
    parts = [batches(rank=rank, count=3).batch(1) for rank in range(3)]
    for name in ("inputs", "labels", "memory", "again"):
        shares = [getattr(part, name) for part in parts]
        assert torch.equal(torch.cat(shares), getattr(whole, name)), name
    # The labels of the memory are for all: each process reads the whole of it.
    assert all(torch.equal(part.memory_labels, whole.memory_labels) for part in parts)


def test_fewer_images_than_a_batch_are_one_batch():
    drawn = batches(replace(TINY, recipe=replace(SHORT, batch=100, memory=100)))
    assert (drawn.per_epoch, drawn.inputs, drawn.memory) == (1, 48, 48)
    batch = drawn.batch(0)
    assert len(batch.inputs) == len(batch.memory) == len(batch.memory_labels) == 48


def test_without_memory_there_is_none():
    batch = batches(replace(TINY, variant="std")).batch(0)
    assert batch.memory is None and len(batch.memory_labels) == 0 and len(batch.inputs) == 16
