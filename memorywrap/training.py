"""The training loop: inputs and a newly drawn memory, encoded in one pass, at every step.

Chance at a step depends on (seed, epoch, step) alone, so a resumed run repeats an uninterrupted one.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from memorywrap import evaluation
from memorywrap.augment import augment
from memorywrap.bank import MemoryBank
from memorywrap.checkpoint import Config
from memorywrap.classifier import MemoryWrapClassifier, choose_device
from memorywrap.datasets import ImageData, balanced, bank_recipe
from memorywrap.recipes import Recipe
from memorywrap.runs import RunFolder

BANK_SIZE = 100
_OFTEN = 20  # tests on so many epochs of a run at most: testing is not what the time is for


@dataclass(frozen=True)
class Training:
    """What is trained: all that a run folder must agree on to be resumed.

    Attributes:
        data: the data set.
        recipe: how.
        encoder, variant: which network.
        seed: where initial weights, order, memories and augmentation come from.
        title: what the model is called on the page.
        precision: "bfloat16", "float32" or "auto".
        bank: size of the bank that the model is evaluated and saved with.
    """

    data: ImageData
    recipe: Recipe
    encoder: str = "compact"
    variant: str = "memory-wrap"
    seed: int = 0
    title: str = ""
    precision: str = "auto"
    bank: int = BANK_SIZE

    def config(self) -> dict[str, Any]:
        """For RUN/config.json."""
        return {
            "data": self.data.version,
            "classes": self.data.classes,
            "encoder": self.encoder,
            "variant": self.variant,
            "seed": self.seed,
            "bank": self.bank,
            "recipe": dataclasses.asdict(self.recipe),
        }


class Interrupted(Exception):
    """Ctrl-C: the run was saved after its last whole step."""


def train(
    training: Training, folder: str | Path, *, device: str = "auto", progress: bool = True
) -> MemoryWrapClassifier:
    """Train a classifier, or go on where the run in the folder stopped.

    Returns:
        The averaged model with its bank, as it was before saving.

    Raises:
        RunError: the folder cannot be written or holds another run.
        Interrupted: Ctrl-C; the folder holds a loadable checkpoint and can be resumed.
    """
    return Trainer(training, RunFolder(folder), choose_device(device)).run(progress=progress)


class Trainer:
    """The state of a training between two steps, and how to make the next one."""

    def __init__(self, training: Training, run: RunFolder, device: torch.device):
        self.training, self.run_folder, self.device = training, run, device
        self.recipe, self.data = training.recipe, training.data
        torch.manual_seed(training.seed)
        self.model = MemoryWrapClassifier(_model_config(training)).to(device)
        self.model.to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = _optimizer(self.model, self.recipe)
        self.half = {"bfloat16": True, "float32": False}.get(
            training.precision, evaluation.bfloat16_pays(device)
        )
        self.images = self.data.train.images.to(device)
        self.labels = self.data.train.labels.to(device)
        self.step = 0
        # Of the present epoch: summed loss, right predictions, inputs seen, seconds.
        self.sums = torch.zeros(4, dtype=torch.float64)

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.labels) / self.recipe.batch)

    @property
    def total_steps(self) -> int:
        return self.recipe.epochs * self.steps_per_epoch

    def run(self, progress: bool = True) -> MemoryWrapClassifier:
        """All steps from here to the last, with everything written to the run folder."""
        size = sum(value.nbytes for value in self.model.state_dict().values())
        self.run_folder.prepare(self.training.config(), needed_bytes=6 * size)
        self.load(self.run_folder.load_state())
        started = time.monotonic()
        with _stop_on_interrupt() as stopped, self._bar(progress) as bar:
            while self.step < self.total_steps:
                self.make_step()
                self.sums[3] += time.monotonic() - started
                started = time.monotonic()
                bar.update(min(self.recipe.batch, len(self.labels)))
                bar.set_postfix_str(self._standing(), refresh=False)
                if self.step % self.steps_per_epoch == 0:
                    self.finish_epoch()
                    started = time.monotonic()
                elif stopped():
                    self.save()
                if stopped():
                    raise Interrupted(
                        f"interrupted and saved after step {self.step} of {self.total_steps}; "
                        "the same command resumes it"
                    )
        return self.averaged

    def make_step(self) -> None:
        """One step: forward, backward, new weights, new average."""
        epoch, at = divmod(self.step, self.steps_per_epoch)
        inputs, memory, labels = self.batch(epoch, at)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step, self.steps_per_epoch)
        self.model.train()
        with evaluation.half_precision(self.device, self.half):
            logits = self.model(inputs, memory)
        loss = functional.cross_entropy(
            logits.float(), labels, label_smoothing=self.recipe.label_smoothing
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        self._average()
        right = (logits.argmax(dim=1) == labels).sum()
        count = len(labels)
        self.sums[:3] += torch.tensor([loss.item() * count, right.item(), count])

    def batch(self, epoch: int, at: int) -> tuple[Tensor, Tensor | None, Tensor]:
        """Inputs and memory samples, augmented, and the inputs' labels, of one step of an epoch."""
        recipe, count = self.recipe, len(self.labels)
        order = torch.randperm(count, generator=self._chance(epoch))
        rows = order[at * recipe.batch : (at + 1) * recipe.batch]
        inputs = len(rows)
        chance = self._chance(epoch, at)
        if self.model.has_memory:
            rows = torch.cat([rows, torch.randperm(count, generator=chance)[: recipe.memory]])
        # Dropout draws from torch's own generator.
        torch.manual_seed(chance.initial_seed())
        rows = rows.to(self.device)
        if self.device.type == "cuda":
            chance = torch.Generator(self.device).manual_seed(chance.initial_seed())
        pixels = augment(self.images[rows], recipe.augment, chance)
        pixels = pixels.to(memory_format=torch.channels_last)
        memory = pixels[inputs:] if self.model.has_memory else None
        return pixels[:inputs], memory, self.labels[rows[:inputs]]

    def finish_epoch(self) -> None:
        """Measure, write down and save after the last step of an epoch."""
        epoch = self.step // self.steps_per_epoch
        every = max(1, self.recipe.epochs // _OFTEN)
        tested = None
        if self.averaged.has_memory:
            self.averaged.set_bank(self.bank())
        if epoch % every == 0 or epoch == self.recipe.epochs:
            with evaluation.half_precision(self.device, self.half):
                predicted = evaluation.predictions(self.averaged, self.data.test.images)
            tested = evaluation.accuracy(predicted, self.data.test.labels)
        loss, right, count, seconds = self.sums.tolist()
        self.run_folder.add_metrics(
            {
                "epoch": epoch,
                "loss": loss / count,
                "accuracy": 100 * right / count,
                "test_accuracy": tested,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "seconds": seconds,
            }
        )
        self.sums.zero_()
        self.save()
        if tested is not None:
            self.run_folder.draw_curves()
            tqdm.write(f"epoch {epoch}: loss {loss / count:.3f}, test accuracy {tested:.2f} %")

    def bank(self) -> MemoryBank:
        """A bank for the averaged model: balanced training samples, drawn by the seed."""
        drawn = self.data.train.rows(
            balanced(self.data.train.labels, self.training.bank, self.training.seed)
        )
        return self.averaged.make_bank(drawn.images, drawn.labels)

    def save(self) -> None:
        """State for resuming, and the averaged model as a checkpoint folder."""
        tensors = {"step": torch.tensor(self.step), "sums": self.sums}
        tensors |= {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"averaged.{name}": value for name, value in self.averaged.state_dict().items()}
        for index, entries in self.optimizer.state_dict()["state"].items():
            for name, value in entries.items():
                if value is not None:
                    tensors[f"optimizer.{index}.{name}"] = value
        self.run_folder.save_state(tensors)
        if self.averaged.has_memory:
            self.averaged.set_bank(self.bank())  # the weights have moved since the last one
        self.averaged.save_pretrained(self.run_folder.checkpoint)

    def load(self, tensors: dict[str, Tensor] | None) -> None:
        """Go to where `save` was called."""
        if tensors is None:
            return
        self.step, self.sums = int(tensors["step"]), tensors["sums"]
        for prefix, module in (("model.", self.model), ("averaged.", self.averaged)):
            module.load_state_dict(_under(prefix, tensors))
        optimizer = self.optimizer.state_dict()
        for name, value in _under("optimizer.", tensors).items():
            index, key = name.split(".")
            optimizer["state"].setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict(optimizer)

    def _chance(self, *place: int) -> torch.Generator:
        """A generator for a place in the training: (epoch,) for its order, (epoch, step) else."""
        entropy = np.random.SeedSequence((self.training.seed, *place)).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(entropy[0] >> np.uint64(1)))

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights, and the normalisation's statistics, towards the model's."""
        # Early averages must forget the initial weights: the decay grows with the steps made.
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        mine, theirs = self.averaged.state_dict(), self.model.state_dict()
        floating = [name for name, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [mine[name] for name in floating], [theirs[name] for name in floating], 1 - decay
        )
        for name in mine.keys() - set(floating):
            mine[name].copy_(theirs[name])

    def _bar(self, progress: bool) -> tqdm:
        count = len(self.labels)
        return tqdm(
            total=self.recipe.epochs * count,
            initial=int(self.step / self.steps_per_epoch * count),
            unit=" images",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not progress,
        )

    def _standing(self) -> str:
        loss, right, count, _ = self.sums.tolist()
        return f"loss {loss / count:.3f}, accuracy {100 * right / count:.1f} %"


def epochs_within(training: Training, minutes: float, device: str = "auto") -> int:
    """How many epochs fit into so many minutes here, judged by a few steps."""
    trial = Trainer(training, RunFolder("unused"), choose_device(device))
    trial.make_step()  # the first one chooses kernels and allocates
    count = min(6, trial.total_steps - 1)
    started = time.monotonic()
    for _ in range(count):
        trial.make_step()
    seconds = (time.monotonic() - started) / count
    # Tests and checkpoints between the epochs cost about a twentieth.
    return max(1, int(0.95 * 60 * minutes / seconds / trial.steps_per_epoch))


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step (from 0)."""
    if recipe.schedule == "steps":
        passed = sum(step >= epoch * steps_per_epoch for epoch in recipe.milestones)
        return recipe.learning_rate * 0.1**passed
    done = (step + 0.5) / (recipe.epochs * steps_per_epoch)
    if done < recipe.warmup:
        return recipe.learning_rate * done / recipe.warmup
    left = (1 - done) / (1 - recipe.warmup)
    if recipe.schedule == "cosine":
        left = (1 - math.cos(math.pi * left)) / 2
    return recipe.learning_rate * left


def _model_config(training: Training) -> Config:
    return Config(
        title=training.title or training.data.name,
        encoder=training.encoder,
        classes=training.data.classes,
        variant=training.variant,
        bank=bank_recipe(training.data, training.bank, training.seed),
        recipe=dataclasses.asdict(training.recipe),
        seed=training.seed,
        data=training.data.version,
    )


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = list(model.parameters())
    weights = [value for value in parameters if value.ndim > 1 or recipe.decay_all]
    others = [value for value in parameters if value.ndim <= 1 and not recipe.decay_all]
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate)
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0
    )


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries whose names begin so, without that beginning."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Within it, the first Ctrl-C only notes the wish, so that no step is left half made."""
    wishes: list[int] = []

    def note(signum: int, frame: Any) -> None:
        if wishes:
            raise KeyboardInterrupt
        wishes.append(signum)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # only the main thread may ask for signals
        yield lambda: False
        return
    try:
        yield lambda: bool(wishes)
    finally:
        signal.signal(signal.SIGINT, before)
