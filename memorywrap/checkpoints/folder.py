"""Save and load a checkpoint folder: config.json, model.safetensors, the bank, what else was learned.

Tensors only, never a pickle. The bank travels inside (bank.safetensors, with bank.png to look at) or
the config says how to draw it from a data set.
"""

from __future__ import annotations

import dataclasses
import json
import re
import stat
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from memorywrap.bank import MemoryBank, bank_picture
from memorywrap.checkpoints.config import Config

CONFIG, WEIGHTS, BANK, BANK_PICTURE, FAMILIARITY, FINDER = (
    "config.json",
    "model.safetensors",
    "bank.safetensors",
    "bank.png",
    "familiarity.safetensors",
    "finder.safetensors",
)
# Tensors that a model may have learned beside its own weights, by file.
Learned = dict[str, dict[str, Tensor]]

IN_RUN = "checkpoint"  # where a run folder has its checkpoint
_MOST_CONFIG = 5_000_000  # bytes
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


class CheckpointError(ValueError):
    """A folder that is not a checkpoint of ours; the message says what is wrong with it."""


@dataclass(frozen=True)
class Saved:
    """What a checkpoint folder holds: its configuration, weights, bank images with labels, and the
    tensors of its `Familiarity` and its `Finder`, where it has learned them."""

    config: Config
    weights: dict[str, Tensor]
    bank: tuple[Tensor, Tensor] | None
    learned: Learned


def write(
    folder: str | Path,
    config: Config,
    weights: dict[str, Tensor],
    bank: MemoryBank | None,
    learned: Learned,
    *,
    half: bool = True,
) -> None:
    """Write a checkpoint folder; weights in half precision where that is wanted and they fit in.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    folder = Path(folder)
    tensors = {
        name: (_compact(value) if half else value).cpu().contiguous()
        for name, value in weights.items()
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / WEIGHTS)
        if bank is not None:
            left = bank.available  # a removed sample must not come back with the next loading
            save_file({"images": bank.images[left], "labels": bank.labels[left]}, folder / BANK)
            bank_picture(bank).save(folder / BANK_PICTURE)
        for name in (FAMILIARITY, FINDER):
            (folder / name).unlink(missing_ok=True)  # one that is there may be of other weights
        for name, values in learned.items():
            save_file(
                {key: value.cpu().contiguous() for key, value in values.items()}, folder / name
            )
        text = json.dumps(dataclasses.asdict(config), indent=2)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise CheckpointError(f"{folder} cannot be written: {why}") from error


def _compact(value: Tensor) -> Tensor:
    half = value.half() if value.is_floating_point() else value
    return half if torch.equal(half.isfinite(), value.isfinite()) else value


def read(folder: Path) -> Saved:
    """Read a checkpoint folder.

    Raises:
        CheckpointError: missing or damaged file, unknown or missing key.
    """
    config = read_config(folder)
    bank = None
    if config.variant != "std" and config.bank is None:
        tensors = _read_tensors(folder / BANK)
        _check_names(f"{folder.name}/{BANK}", {"images", "labels"}, set(tensors))
        bank = (tensors["images"], tensors["labels"])
    learned = {
        name: _read_tensors(folder / name)
        for name in (FAMILIARITY, FINDER)
        if (folder / name).exists()
    }
    return Saved(config, _read_tensors(folder / WEIGHTS), bank, learned)


def load_strictly(module: nn.Module, weights: dict[str, Tensor], file: str = WEIGHTS) -> None:
    """Load weights into a module; each must be there, be known and have its shape.

    Raises:
        CheckpointError: names the weight that does not fit, with both shapes, or is not finite.
    """
    expected = module.state_dict()
    _check_names(file, set(expected), set(weights))
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise CheckpointError(
                f"{file}: {name}: expected shape {tuple(expected[name].shape)}, "
                f"found {tuple(value.shape)}"
            )
        if not value.isfinite().all():
            raise CheckpointError(f"{file}: {name}: expected finite numbers, found others")
    module.load_state_dict(weights)


def find(folder: str | Path) -> Path:
    """The local folder of a checkpoint; a name "owner/name" that is no folder comes from the Hub.

    A run folder of training stands for the checkpoint in it. What cannot be such a name, as
    "./owner/name", is a path. So is "owner/name" where a folder "owner" is here: it is mistyped then,
    and the Hub is not asked.

    Raises:
        CheckpointError: neither a folder nor a model of the Hub.
    """
    path = Path(folder)
    if path.is_dir():
        inside = path / IN_RUN
        is_run = not (path / WEIGHTS).exists() and (inside / CONFIG).exists()
        return inside if is_run else path
    owner = path.parts[0]
    if _HUB_NAME.fullmatch(str(folder)) and owner != "checkpoints" and not Path(owner).is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        try:
            wanted = [CONFIG, WEIGHTS, BANK, FAMILIARITY, FINDER]
            return Path(snapshot_download(str(folder), allow_patterns=wanted))
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            raise CheckpointError(
                f"{folder}: neither a folder nor a model that the Hugging Face Hub can give now"
            ) from error
    beside = sorted(one.parent.name for one in path.parent.glob(f"*/{CONFIG}"))
    known = f"; in {path.parent} there are {', '.join(beside)}" if beside else ""
    raise CheckpointError(
        f"there is no checkpoint folder {folder}{known}; a model of the Hugging Face Hub is named "
        "OWNER/MODEL, and asked for where no folder OWNER is here"
    )


def read_config(folder: str | Path) -> Config:
    """The configuration of a checkpoint folder, with unknown, missing and mistyped keys refused.

    Raises:
        CheckpointError: names the key that is wrong.
    """
    path = Path(folder) / CONFIG
    try:
        _check_file(path, _MOST_CONFIG)
        values = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise CheckpointError(f"{path.parent.name}/{CONFIG} is nested too deep") from error
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent.name}: {CONFIG} is missing") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path.parent.name}/{CONFIG} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path.parent.name}/{CONFIG}: expected an object of settings")
    optional = frozenset(f.name for f in dataclasses.fields(Config) if not _is_required(f))
    required = {f.name for f in dataclasses.fields(Config)} - optional
    _check_names(f"{path.parent.name}/{CONFIG}", required, set(values), optional)
    try:
        return Config(**values)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path.parent.name}/{CONFIG}: {error}") from error


def bank_size(folder: str | Path) -> int:
    """How many samples the bank in a checkpoint folder has, of which only the head is read; 0 where there is
    none that can be read."""
    try:
        with safe_open(Path(folder) / BANK, framework="pt") as file:
            return int(file.get_slice("labels").get_shape()[0])
    except (OSError, SafetensorError):
        return 0


def _is_required(setting: dataclasses.Field) -> bool:
    missing = dataclasses.MISSING
    return setting.default is missing and setting.default_factory is missing


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        _check_file(path)
        tensors = load_file(path)
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent.name}: {path.name} is missing") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path.parent.name}/{path.name} is damaged: {error}") from error
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in tensors.items()
    }


def _check_file(path: Path, most: int | None = None) -> None:
    """Refuses what is there under the name of a file and has no end, such as a pipe or a device."""
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise CheckpointError(f"{path.parent.name}: {path.name} is not a file")
    if most is not None and state.st_size > most:
        raise CheckpointError(f"{path.parent.name}: {path.name} is over {most // 1_000_000} MB")


def _check_names(
    where: str, required: set[str], found: set[str], optional: frozenset[str] = frozenset()
) -> None:
    problems = [("missing", required - found), ("unknown", found - required - optional)]
    for problem, names in problems:
        if names:
            raise CheckpointError(f"{where}: {problem} {', '.join(sorted(names))}")
