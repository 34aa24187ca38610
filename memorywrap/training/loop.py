"""The training loop: inputs and a newly drawn memory at every step.

Chance at a step depends on (seed, epoch, step) alone, so a resumed run repeats an uninterrupted one.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from memorywrap import devices
from memorywrap.bank import MemoryBank
from memorywrap.checkpoints.card import write_card
from memorywrap.checkpoints.config import library_versions
from memorywrap.checkpoints.folder import load_strictly
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.sampling import balanced
from memorywrap.data.sets import ImageData
from memorywrap.devices import choose_device
from memorywrap.images import to_unit
from memorywrap.loading import legible_bank, load_classifier
from memorywrap.measures import accuracy
from memorywrap.training import distributed
from memorywrap.training.batches import Batches
from memorywrap.training.chance import own_chance, seed_torch
from memorywrap.training.distributed import Processes
from memorywrap.training.recipes import Training, learning_rate, make_optimizer
from memorywrap.training.runs import RunFolder, packed, stop_on_interrupt, unpack

_SECONDS_BETWEEN_SAVES = 15
_PREPARING = 5000  # training images that an encoder may look at before the first step
_OFTEN = 20  # tests on so many epochs of a run at most: testing is not what the time is for
_TESTED = 1000  # test images for each of them; the end of a run is measured on all


class Interrupted(Exception):
    """Ctrl-C: the run was saved after its last whole step."""


def train(
    training: Training, folder: str | Path, *, device: str = "auto", progress: bool = True
) -> MemoryWrapClassifier:
    """Train a classifier, or go on where the run in the folder stopped.

    Under torchrun, all processes make the steps together and the first one writes; the folder must
    then be visible to all.

    Returns:
        The averaged model with its bank, in full precision.

    Raises:
        RunError: the folder cannot be written or holds another run.
        Interrupted: Ctrl-C; the folder holds a loadable checkpoint and can be resumed.
    """
    processes, chosen = distributed.join(device)
    trainer = Trainer(training, RunFolder(folder), chosen, processes)
    return trainer.run(progress=progress and processes.first)


def train_and_measure(
    training: Training,
    folder: str | Path,
    exams: Sequence[str] = (),
    *,
    device: str = "auto",
    progress: bool = True,
) -> dict[str, Any] | None:
    """`train`, then measure the model as saved, and note the result and the model card.

    Returns:
        The content of RUN/result.json; None in all processes but the first.

    Raises:
        As `train`.
    """
    run = RunFolder(folder)
    model = train(training, folder, device=device, progress=progress)
    processes, _ = distributed.join(device)
    distributed.leave(processes)
    if not processes.first:
        return None
    measured = _finish(run.checkpoint, training.data, exams, model.device)
    seconds = sum(row["seconds"] or 0.0 for row in run.metrics())
    return finish_run(run, measured, seconds, model.device, processes.count)


def finish_run(
    run: RunFolder,
    measured: dict[str, Any],
    seconds: float,
    device: torch.device,
    processes: int = 1,
) -> dict[str, Any]:
    """Note in RUN/result.json what a run reached, and what it took; returns that."""
    result = {
        "measured": measured,
        "seconds": round(seconds, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": (run.config or {})["precision"],
        "processes": processes,
        "versions": library_versions(),
    }
    run.finish(result)
    return result


def _finish(
    checkpoint: Path, data: ImageData, exams: Sequence[str], device: torch.device
) -> dict[str, Any]:
    """Give the model as saved a bank that people can read, where the bank travels inside; measure it,
    and note in its configuration and card what it reached."""
    classifier = load_classifier(checkpoint, device=device)
    if classifier.bank is not None and classifier.config.bank is None:
        legible = legible_bank(classifier, data.train)
        if legible.keys != classifier.bank.keys:
            classifier.set_bank(legible)  # drops a trust gauge, which is for the bank before
    measured = accuracy.measure(classifier, data, exams)
    classifier.config = replace(classifier.config, measured=measured)
    classifier.save_pretrained(checkpoint)
    write_card(checkpoint)
    return measured


class Trainer:
    """The state of a training between two steps, and how to make the next one."""

    def __init__(
        self,
        training: Training,
        run: RunFolder,
        device: torch.device,
        processes: Processes | None = None,
    ):
        self.training, self.run_folder, self.device = training, run, device
        self.processes = processes or Processes()
        self.recipe, self.data = training.recipe, training.data
        self.model = make_network(training, device)
        if not self.recipe.train_encoder:  # what it keeps fixed itself stays so where it learns
            self.model.encoder.requires_grad_(False)
        self.averaged = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.objective = distributed.share_training(self.model, self.recipe, self.processes)
        self.optimizer = make_optimizer(self.model, self.recipe)
        self.half = training.is_half(device)
        self.batches = Batches(training, device, self.processes)
        self.step = 0
        # Of the present epoch: summed loss, right predictions, inputs seen.
        self.sums = torch.zeros(3, device=device)
        self.seconds = 0.0

    @property
    def total_steps(self) -> int:
        """Of the whole training."""
        return self.recipe.epochs * self.batches.per_epoch

    def run(self, progress: bool = True) -> MemoryWrapClassifier:
        """All steps from here to the last, with everything written to the run folder.

        Raises:
            As the function `train`.
        """
        if self.processes.first:
            size = sum(value.nbytes for value in self.model.state_dict().values())
            config = {**self.training.config(), "precision": self.precision}
            self.run_folder.prepare(config, needed_bytes=6 * size)
        self.processes.wait()
        self.load(self.run_folder.load_state())
        if self.step == self.total_steps and self.averaged.has_memory:
            self.averaged.set_bank(self.bank())
        saved = shown = time.monotonic()
        with own_chance(self.device), stop_on_interrupt() as wished, self._bar(progress) as bar:
            while self.step < self.total_steps:
                started = time.monotonic()
                stop = self.make_step(wished())
                self.seconds += time.monotonic() - started
                bar.update(self.batches.inputs)
                if time.monotonic() - shown > 0.2:  # reading the sums waits for a GPU
                    bar.set_postfix_str(self._standing(), refresh=False)
                    shown = time.monotonic()
                if self.step % self.batches.per_epoch == 0:
                    self.finish_epoch(progress)
                last = self.step == self.total_steps
                # Epochs of a second are not saved one by one: writing would take as long.
                if (
                    stop
                    or last
                    or (
                        self.step % self.batches.per_epoch == 0
                        and time.monotonic() - saved > _SECONDS_BETWEEN_SAVES
                    )
                ):
                    self.save()
                    saved = time.monotonic()
                if stop and not last:
                    self.processes.wait()  # torchrun ends all when one ends: the first still saves
                    raise Interrupted(
                        f"interrupted and saved after step {self.step} of {self.total_steps}; "
                        "the same command resumes it"
                    )
        self.processes.wait()
        return self.averaged

    @property
    def precision(self) -> str:
        """What the network multiplies in."""
        return "bfloat16" if self.half else "float32"

    def make_step(self, wish_to_stop: bool = False) -> bool:
        """One step: forward, backward, new weights, new average.

        Returns:
            Whether any process wishes to stop.
        """
        batch = self.batches.batch(self.step)
        # Dropout draws from torch's own generator.
        seed_torch(self.batches.seed_of(self.step) + self.processes.rank, self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step, self.batches.per_epoch)
        self.model.train()
        self.model.encoder.train(self.recipe.train_encoder)
        with devices.half_precision(self.device, self.half):
            summed, right = self.objective(batch)
        self.optimizer.zero_grad(set_to_none=True)
        # DistributedDataParallel averages the gradients of the processes: each counts for its share.
        (summed * (self.processes.count / self.batches.inputs)).backward()
        self.optimizer.step()
        self.step += 1
        # Early averages must forget the initial weights: the decay grows with the steps made.
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        move_average(self.averaged, self.model, 1 - decay)
        stop = torch.tensor(float(wish_to_stop), device=self.device)
        count = torch.tensor(float(len(batch.labels)), device=self.device)
        sums = self.processes.total(torch.stack([summed.detach(), right, count, stop]))
        self.sums += sums[:3]
        return wish_to_stop if self.processes.count == 1 else sums[3].item() > 0

    def finish_epoch(self, progress: bool = True) -> None:
        """Measure and write down what the epoch brought."""
        epoch = self.step // self.batches.per_epoch
        loss, right, count = self.sums.tolist()
        seconds, self.seconds = self.seconds, 0.0
        self.sums.zero_()
        if not self.processes.first:
            return
        tested = None
        if epoch % -(-self.recipe.epochs // _OFTEN) == 0 or epoch == self.recipe.epochs:
            tested = self._test()
        self.run_folder.add_metrics(
            {
                "epoch": epoch,
                "loss": loss / count,
                "accuracy": 100 * right / count,
                "test_accuracy": tested,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "seconds": round(seconds, 3),
            }
        )
        if tested is not None and progress:
            tqdm.write(f"epoch {epoch}: loss {loss / count:.3f}, test accuracy {tested:.2f} %")

    def _test(self) -> float:
        """Accuracy of the averaged model on some test images; nothing is chosen by it."""
        if self.averaged.has_memory:
            self.averaged.set_bank(self.bank())
        test = self.data.test
        apart = max(1, len(test) // _TESTED)  # they may lie class by class
        with devices.half_precision(self.device, self.half):
            predicted = accuracy.predictions(self.averaged, test.images[::apart])
        return accuracy.accuracy(predicted, test.labels[::apart])

    def bank(self) -> MemoryBank:
        """A bank for the averaged model: balanced training samples, drawn by the seed."""
        drawn = self.data.train.rows(
            balanced(self.data.train.labels, self.training.bank, self.training.seed)
        )
        return self.averaged.make_bank(drawn.images, drawn.labels)

    def save(self) -> None:
        """State for resuming, and the averaged model as a checkpoint folder."""
        if not self.processes.first:
            return
        tensors = {
            "step": torch.tensor(self.step),
            "sums": self.sums,
            "seconds": torch.tensor(self.seconds),
        }
        if self.averaged.has_memory:
            self.averaged.set_bank(self.bank())  # the weights have moved since the last one
        self.averaged.save_pretrained(self.run_folder.checkpoint)
        self.run_folder.draw_curves()
        # Last: whoever finds this step in the state finds its checkpoint, too.
        self.run_folder.save_state(tensors | packed(self._modules, self.optimizer))

    def load(self, tensors: dict[str, Tensor] | None) -> None:
        """Go to where `save` was called."""
        if tensors is None:
            return
        self.step, self.seconds = int(tensors["step"]), float(tensors["seconds"])
        self.sums = tensors["sums"].to(self.device)
        unpack(tensors, self._modules, self.optimizer)

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, "averaged": self.averaged}

    def _bar(self, progress: bool) -> tqdm:
        return tqdm(
            total=self.total_steps * self.batches.inputs,
            initial=self.step * self.batches.inputs,
            unit=" images",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not progress,
        )

    def _standing(self) -> str:
        loss, right, count = self.sums.tolist()
        return f"loss {loss / count:.3f}, accuracy {100 * right / count:.1f} %" if count else ""


def make_network(training: Training, device: torch.device) -> MemoryWrapClassifier:
    """The network before the first step: fresh, or with the weights that training begins with."""
    with own_chance(processor := torch.device("cpu")):  # where weights are made
        seed_torch(training.seed, processor)
        model = MemoryWrapClassifier(training.model_config()).to(device)
    # torch's own annotations do not know of it.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    prepare = getattr(model.encoder, "prepare", None)
    if training.start is not None:
        load_strictly(model, training.start.weights)
    elif prepare is not None:
        images = training.data.train.images
        apart = max(1, len(images) // _PREPARING)  # they may lie class by class
        prepare((to_unit(images[::apart].to(device)) - model.mean) / model.std)
    return model


@torch.no_grad()
def move_average(averaged: nn.Module, model: nn.Module, share: float) -> None:
    """Move averaged weights, and the normalisation's statistics, by a share of the way to the model's.

    torch's AveragedModel copies the weights at its first step and cannot average the statistics where
    there are whole numbers among them.
    """
    mine, theirs = averaged.state_dict(), model.state_dict()
    floating = [name for name, value in mine.items() if value.is_floating_point()]
    torch._foreach_lerp_(
        [mine[name] for name in floating], [theirs[name] for name in floating], share
    )
    for name in mine.keys() - set(floating):
        mine[name].copy_(theirs[name])


def epochs_within(training: Training, minutes: float, device: str = "auto") -> int:
    """How many epochs fit into so many minutes here, judged by a few steps; one at least.

    Raises:
        ValueError: no time at all, or time without end.
    """
    if not 0 < minutes < math.inf:
        raise ValueError(f"minutes: expected a number above 0, received {minutes:g}")
    trial = Trainer(training, RunFolder("unused"), choose_device(device))
    count = max(1, min(6, trial.total_steps - 1))
    with own_chance(trial.device):
        trial.make_step()  # the first one chooses kernels and allocates
        started = time.monotonic()
        for _ in range(count):
            trial.make_step()
    seconds = (time.monotonic() - started) / count
    # Tests and checkpoints between the epochs cost about a twentieth.
    return max(1, int(0.95 * 60 * minutes / seconds / trial.batches.per_epoch))
