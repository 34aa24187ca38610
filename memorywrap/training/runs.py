"""Run folders: what a training writes, so that it can be resumed, compared and shown.

RUN/config.json       what is trained, on what and how; a resumed run must agree with it
RUN/metrics.csv       one line per epoch
RUN/curves.png        the same as a picture
RUN/state.safetensors everything the next step needs, tensors only
RUN/checkpoint/       the model as it is now, for `MemoryWrapClassifier.from_pretrained`
RUN/result.json       what the finished model reached
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from memorywrap.checkpoints.folder import IN_RUN
from memorywrap.measures.reports import blank_figure
from memorywrap.training.recipes import Recipe

COLUMNS = ("epoch", "loss", "accuracy", "test_accuracy", "learning_rate", "seconds")
_SPARE_BYTES = 50_000_000


class RunError(ValueError):
    """A run folder that cannot be used; the message says why and what to do."""


class RunFolder:
    """The files of one run."""

    def __init__(self, folder: str | Path):
        self.path = Path(folder)
        self.checkpoint = self.path / IN_RUN

    def prepare(self, config: dict[str, Any], needed_bytes: int) -> None:
        """Create the folder or check that it holds the same run, and that it can be written.

        Raises:
            RunError: read-only, nearly full, or the folder of another run.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.write_bytes(b"\0")
            probe.unlink()
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror}") from error
        free, needed = shutil.disk_usage(self.path).free, needed_bytes + _SPARE_BYTES
        if free < needed:
            raise RunError(
                f"{self.path} has {free // 10**6} MB free: a run needs {needed // 10**6} MB"
            )
        # What JSON makes of it (lists for tuples), as it comes back from the file.
        config = json.loads(json.dumps(config))
        present = self._read("config.json")
        if present is None:
            self._write("config.json", config)
            return
        differing = [
            f"{key} is {there!r} there and {here!r} here"
            for key, there, here in _differences(completed(present), completed(config))
        ]
        if differing:
            raise RunError(
                f"{self.path} holds another run ({'; '.join(differing)[:400]}): "
                "choose another folder, or the same settings to resume it"
            )

    @property
    def config(self) -> dict[str, Any] | None:
        """What is trained; None before the run has begun."""
        return self._read("config.json")

    @property
    def result(self) -> dict[str, Any] | None:
        """What the finished model reached; None until it is finished."""
        return self._read("result.json")

    def finish(self, result: dict[str, Any]) -> None:
        """Note what the finished model reached, fit for JSON."""
        self._write("result.json", result)

    def load_state(self) -> dict[str, Tensor] | None:
        """Where an interrupted run stopped; None for a new one.

        Raises:
            RunError: the file is damaged.
        """
        path = self.path / "state.safetensors"
        try:
            return load_file(path)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError) as error:
            raise RunError(f"{path} is damaged ({error}): remove it to start again") from error

    def save_state(self, tensors: dict[str, Tensor]) -> None:
        """Write where the run stands; a crash leaves the file of before whole.

        Raises:
            RunError: the file cannot be written.
        """
        partial = self.path / "state.partial"
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)
        except SafetensorError as error:
            raise RunError(f"{partial} cannot be written: {error}") from error
        os.replace(partial, self.path / "state.safetensors")

    def metrics(self) -> list[dict[str, float | None]]:
        """The lines of metrics.csv.

        Raises:
            RunError: the file is damaged.
        """
        try:
            with (self.path / "metrics.csv").open(newline="", encoding="utf-8") as file:
                return [
                    {key: float(value) if value else None for key, value in row.items()}
                    for row in csv.DictReader(file)
                ]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError) as error:  # TypeError: a line that is cut short or too long
            path = self.path / "metrics.csv"
            raise RunError(f"{path} is damaged ({error}): remove the run to start again") from error

    def add_metrics(self, row: dict[str, float | None]) -> None:
        """Add an epoch's line; lines of that epoch or later (of a run cut short) are replaced."""
        epoch = row["epoch"] or 0
        rows = [old for old in self.metrics() if (old["epoch"] or 0) < epoch] + [row]
        partial = self.path / "metrics.partial"
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(partial, self.path / "metrics.csv")

    def draw_curves(self) -> None:
        """curves.png: loss and accuracy over the epochs."""
        rows = self.metrics()
        figure = blank_figure(9, 3.6)
        left, right = figure.subplots(1, 2)
        epochs = [row["epoch"] for row in rows]
        left.plot(epochs, [row["loss"] for row in rows], marker=".")
        left.set(xlabel="epoch", ylabel="training loss")
        right.plot(epochs, [row["accuracy"] for row in rows], marker=".", label="training")
        tested = [row for row in rows if row["test_accuracy"] is not None]
        right.plot(
            [row["epoch"] for row in tested],
            [row["test_accuracy"] for row in tested],
            marker=".",
            label="test",
        )
        right.set(xlabel="epoch", ylabel="accuracy in percent")
        right.legend()
        figure.savefig(self.path / "curves.png")

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            values = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise RunError(f"{self.path / name} is not valid JSON: {error}") from error
        if not isinstance(values, dict):
            raise RunError(f"{self.path / name}: expected an object of settings")
        return values

    def _write(self, name: str, values: dict[str, Any]) -> None:
        partial = self.path / f"{name}.partial"
        partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, self.path / name)


def completed(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a run, as written by any version, with the settings that it did not know yet."""
    if not isinstance(config.get("recipe"), dict):
        return config
    recipe = json.loads(json.dumps(dataclasses.asdict(Recipe("", epochs=1)))) | config["recipe"]
    return {**config, "recipe": recipe}


def _differences(there: dict[str, Any], here: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Keys with different values; those of groups such as the recipe are named one by one."""
    for key in sorted(there.keys() | here.keys()):
        old, new = there.get(key), here.get(key)
        if key == "precision" and None in (old, new):  # not noted before
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            yield from ((f"{key}.{name}", *pair) for name, *pair in _differences(old, new))
        elif old != new:
            yield key, old, new


def packed(modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What modules and their optimizer know, as named tensors."""
    tensors = {
        f"{prefix}.{name}": value
        for prefix, module in modules.items()
        for name, value in module.state_dict().items()
    }
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            if value is not None:
                tensors[f"optimizer.{index}.{name}"] = value
    return tensors


def unpack(
    tensors: dict[str, Tensor], modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> None:
    """Undo `packed`, into modules and an optimizer of the same kind."""
    for prefix, module in modules.items():
        module.load_state_dict(_under(prefix, tensors))
    state = optimizer.state_dict()
    for name, value in _under("optimizer", tensors).items():
        index, key = name.split(".")
        state["state"].setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(state)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries PREFIX.name, as name."""
    start = f"{prefix}."
    return {
        name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)
    }


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Within it, the first Ctrl-C only notes the wish, so that no step is left half made; the second
    one is a KeyboardInterrupt as ever."""
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
