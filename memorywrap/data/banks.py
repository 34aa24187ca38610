"""Memory banks of public data sets: their images never travel in a checkpoint, so they are drawn by a
recipe, the same ones everywhere."""

from __future__ import annotations

import hashlib
from typing import Any

from memorywrap.data.cache import cache_file, keep, kept
from memorywrap.data.sampling import balanced
from memorywrap.data.sets import (
    DATA_SETS,
    DataError,
    ImageData,
    Split,
    data_set,
    known_data_set,
    load_data,
)


def bank_recipe(data: ImageData, size: int, seed: int) -> dict[str, Any] | None:
    """How `draw_bank` repeats a bank of this data, for `Config.bank`; None where the bank's images
    may travel inside the checkpoint."""
    record = known_data_set(data.name)
    if record is None or not record.public:
        return None
    bank = data.train.rows(balanced(data.train.labels, size, seed))
    recipe = {"dataset": data.name, "seed": seed, "size": size, "digest": digest_of(bank)}
    if "samples" in data.version:
        recipe["samples"] = data.version["samples"]
    return recipe


def digest_of(bank: Split) -> str:
    """Tells a bank from another one by its pixels and labels."""
    digest = hashlib.sha256(bank.images.contiguous().numpy().tobytes())
    digest.update(bank.labels.numpy().tobytes())
    return digest.hexdigest()[:12]


def draw_bank(recipe: dict[str, Any], *, fetch: bool = False) -> Split:
    """The images and labels of a bank by its recipe (`Config.bank`); kept after the first time.

    Args:
        recipe: {"dataset", "seed", "size"}; for a model of a reduced training set also "samples", and
            "held_out" where some were held out from that choice.
            "digest", where it is there, is what `digest_of` gives for the bank that the model was
            measured with. Other copies of the data set give another bank: it is drawn again each
            time, so that the right one comes as soon as the right copy is there.
        fetch: download the data set where it is missing.

    Raises:
        DataError: the data set is not there, or is none whose banks are drawn.
    """
    name, seed = recipe["dataset"], recipe["seed"]
    record = known_data_set(name)
    if record is None or not record.public:  # a checkpoint may come from anywhere
        public = ", ".join(record.name for record in DATA_SETS.values() if record.public)
        raise DataError(f"a bank's data set: expected one of {public}, received {name!r}")
    tensors = kept(_key(recipe))
    bank = None if tensors is None else Split(**tensors)
    if bank is not None and recipe.get("digest", digest_of(bank)) == digest_of(bank):
        return bank
    try:
        data = load_data(
            name,
            samples=recipe.get("samples"),
            seed=seed,
            held_out=recipe.get("held_out", 0),
            fetch=fetch,
        )
    except DataError:
        if bank is None:
            raise
        return bank  # of another copy, which is there no more
    bank = data.train.rows(balanced(data.train.labels, recipe["size"], seed))
    keep(_key(recipe), {"images": bank.images, "labels": bank.labels})
    return bank


def bank_at_hand(recipe: dict[str, Any]) -> bool:
    """Whether `draw_bank` needs no download: the bank or its data set is on this machine."""
    return cache_file(_key(recipe)).is_file() or data_set(recipe["dataset"]).at_hand()


def _key(recipe: dict[str, Any]) -> str:
    parts = [recipe["dataset"], recipe["seed"], recipe["size"], recipe.get("samples", "all")]
    parts += [recipe["held_out"]] if "held_out" in recipe else []
    return "bank/" + "-".join(str(part).replace("/", "_") for part in parts)
