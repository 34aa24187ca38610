"""The loss of a step, and counterfactual memories in it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from colours import SHORT, TINY
from torch.nn import functional

from memorywrap import BaselineMemory, MemoryWrapLayer
from memorywrap.training.batches import Batches
from memorywrap.training.distributed import Processes
from memorywrap.training.loop import Trainer, train
from memorywrap.training.objective import Batch, Objective, counterfactual_loss
from memorywrap.training.runs import RunFolder

CPU = torch.device("cpu")


@pytest.fixture
def scene():
    """Queries of classes 0 and 1; the most similar sample of another class is of 2 and of 0."""
    queries = torch.tensor([[1.0, 0.1], [0.1, 1.0]])
    memory = torch.tensor([[1.0, 0.0], [0.9, 0.4], [0.0, 1.0], [0.5, 0.9]])
    return queries, memory, torch.tensor([0, 1]), torch.tensor([0, 2, 1, 0])


def test_without_its_own_class_the_memory_says_another_and_that_is_the_target(scene) -> None:
    queries, memory, labels, memory_labels = scene
    torch.manual_seed(0)
    layer = MemoryWrapLayer(2, 3)
    expected = torch.zeros(())
    for query, label in zip(queries, labels, strict=True):
        left = memory[memory_labels != label]  # as if the others had never been there
        logits, weights = layer(query[None], left, return_weights=True)
        verdict = torch.zeros(3).index_add(
            0, memory_labels[memory_labels != label], weights[0].detach()
        )
        assert verdict[label] == 0 and verdict.sum() == pytest.approx(1)
        expected = expected + functional.cross_entropy(logits, verdict[None])
    found = counterfactual_loss(layer, queries, memory, labels, memory_labels)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("labels", [[1, 1], [1, 0]])
def test_a_query_whose_memory_is_all_of_its_class_is_left_out(scene, labels) -> None:
    queries, memory, _, _ = scene
    layer = BaselineMemory(2, 3)
    of_one = torch.ones(4, dtype=torch.int64)
    found = counterfactual_loss(layer, queries, memory, torch.tensor(labels), of_one)
    alone = counterfactual_loss(layer, queries[1:], memory, torch.tensor([0]), of_one)
    torch.testing.assert_close(found, alone if labels == [1, 0] else torch.zeros(()))


@pytest.mark.usefixtures("tiny_training")
def test_the_encoder_learns_as_without_them(tmp_path) -> None:
    gradients = {}
    for share in (0.0, 1.0):
        training = replace(TINY, recipe=replace(SHORT, counterfactual_memories=share))
        trainer = Trainer(training, RunFolder(tmp_path), CPU)
        trainer.model.train()
        torch.manual_seed(0)
        loss, _ = trainer.objective(trainer.batches.batch(0))
        loss.backward()
        gradients[share] = {
            name: value.grad.clone() for name, value in trainer.model.named_parameters()
        }
    for name, value in gradients[0.0].items():
        alike = torch.equal(value, gradients[1.0][name])
        assert alike == name.startswith("encoder"), name


@pytest.mark.usefixtures("tiny_training")
def test_a_share_of_the_inputs_is_read_once_more(tmp_path) -> None:
    trainer = Trainer(TINY, RunFolder(tmp_path), CPU)
    model, batch = trainer.model.eval(), trainer.batches.batch(0)
    assert not batch.again.any()  # the recipe has none
    losses = {}
    with torch.no_grad():
        for share in (0.0, 0.5, 1.0):
            recipe = replace(SHORT, counterfactual_memories=share)
            batch = Batches(replace(TINY, recipe=recipe), CPU, Processes()).batch(0)
            losses[share], right = Objective(model, recipe)(batch)
        queries, memory = model.embed_both(batch.inputs, batch.memory, apart=SHORT.apart)
        parts = [
            counterfactual_loss(
                model.head, queries[half], memory, batch.labels[half], batch.memory_labels
            )
            for half in (slice(0, 8), slice(8, 16))
        ]
    assert len(batch.labels) == 16 and 0 <= right <= 16
    torch.testing.assert_close(losses[0.5] - losses[0.0], parts[0])
    torch.testing.assert_close(losses[1.0] - losses[0.0], parts[0] + parts[1])


@pytest.mark.usefixtures("tiny_training")
def test_a_network_without_memory_is_trained_as_ever(tmp_path) -> None:
    recipe = replace(SHORT, counterfactual_memories=1.0)
    trainer = Trainer(replace(TINY, recipe=recipe, variant="std"), RunFolder(tmp_path), CPU)
    batch = trainer.batches.batch(0)
    assert isinstance(batch, Batch) and batch.memory is None and len(batch.memory_labels) == 0
    model = trainer.model.eval()
    loss, _ = Objective(model, recipe)(batch)
    expected = functional.cross_entropy(model(batch.inputs), batch.labels, reduction="sum")
    torch.testing.assert_close(loss, expected)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_training")
def test_with_them_the_memory_decides(tmp_path) -> None:
    """Take away what supports an answer, and the answer is another."""
    rates = {}
    for share in (0.0, 1.0):
        recipe = replace(SHORT, epochs=12, counterfactual_memories=share)
        model = train(replace(TINY, recipe=recipe), tmp_path / str(share), progress=False)
        bank, images = model.bank, TINY.data.test.images
        answers = model.classify(images).logits.argmax(dim=1)
        others = bank.predicted[None] != answers[:, None]
        changed = model.read(model.encode(images), bank, others).logits.argmax(dim=1) != answers
        rates[share] = float(changed.double().mean())
    assert rates[1.0] > 0.9
    assert rates[1.0] > rates[0.0]
