"""The tables that `memorywrap replicate` makes, row by row, and the paper's numbers beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from memorywrap.checkpoints.config import VARIANTS
from memorywrap.training.few_shot import READERS

# MobileNetV2 in arXiv 2106.01440: mean accuracy in percent of 15 runs, with so many training samples. It has no rows
# of the baseline.
_PAPER_SIZES = (1000, 2000, 5000, None)
_PAPER_ROWS = {
    ("svhn", "std"): (42.71, 70.87, 85.52, 95.95),
    ("svhn", "memory-wrap"): (66.93, 81.44, 88.68, 95.63),
    ("cifar10", "std"): (38.57, 50.36, 72.77, 88.78),
    ("cifar10", "memory-wrap"): (43.87, 57.12, 75.33, 88.49),
    ("cinic10", "std"): (29.61, 36.40, 50.41, 78.85),
    ("cinic10", "memory-wrap"): (32.34, 39.48, 52.18, 78.88),
}
PAPER: dict[tuple[str, str, int | None], float] = {
    (data, variant, samples): accuracy
    for (data, variant), row in _PAPER_ROWS.items()
    for samples, accuracy in zip(_PAPER_SIZES, row, strict=True)
}


@dataclass(frozen=True)
class Row:
    """One row of a table: what is trained, once per seed. No `samples` is all of them. The variant is that of a
    model, or one of `few_shot.READERS` to compare with."""

    data: str
    variant: str
    samples: int | None
    recipe: str
    encoder: str
    settings: tuple[tuple[str, str], ...] = ()  # changes of the recipe, by name

    def folder(self, seed: int) -> str:
        """The name of a run folder."""
        size = "all" if self.samples is None else str(self.samples)
        changes = [f"{name}={value}" for name, value in self.settings]
        data = self.data.replace("/", "_").replace(":", "_")
        return "-".join(
            [data, size, self.variant, self.encoder, self.recipe, *changes, f"seed{seed}"]
        )


def _rows(data: str, recipe: str, encoder: str, sizes: tuple[int | None, ...]) -> tuple[Row, ...]:
    return tuple(
        Row(data, variant, size, recipe, encoder) for size in sizes for variant in VARIANTS
    )


# A memory that decides: one line more, of the recipe with counterfactual memories.
_DECIDES = (("counterfactual_memories", "0.25"),)


def _evidence(data: str, sizes: tuple[int | None, ...]) -> tuple[Row, ...]:
    return tuple(
        row
        for size in sizes
        for row in (
            *_rows(data, "fast", "whitened", (size,)),
            Row(data, "memory-wrap", size, "fast", "whitened", _DECIDES),
        )
    )


_MOBILENET = "mobilenet_v2_cifar"  # as the paper's repository has it
_OTHERS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("resnet18", ()),
    ("efficientnet_b0_320", ()),
    ("shufflenet_v2_x0_5", ()),
    ("densenet121_growth12", ()),
    ("googlenet", ()),
    ("wide_resnet28_10", ()),
    # Of its recipe, AutoAugment, CutMix, MixUp and label smoothing are not here.
    (
        "vit_7x384",
        (
            ("optimizer", "adamw"),
            ("learning_rate", "0.001"),
            ("schedule", "cosine"),
            ("warmup", "0.025"),
            ("epochs", "200"),
        ),
    ),
)
_PARTS = Row("cifar10", "memory-wrap", 2000, "fast", "whitened")

TABLES: dict[str, tuple[Row, ...]] = {
    "paper-cifar10": _rows("cifar10", "paper", _MOBILENET, _PAPER_SIZES),
    "paper-svhn": _rows("svhn", "paper", _MOBILENET, _PAPER_SIZES),
    "paper-cinic10": _rows("cinic10", "paper", _MOBILENET, _PAPER_SIZES),
    # What torchvision's network and its initial weights make of the same recipe.
    "paper-svhn-torchvision": _rows("svhn", "paper", "mobilenet_v2", (1000, 2000)),
    # The other networks of the paper and of its journal version, in the sizes that they have there.
    "paper-encoders": tuple(
        Row("svhn", variant, 1000, "paper", encoder, settings)
        for encoder, settings in _OTHERS
        for variant in ("std", "memory-wrap")
    )
    # Is it only more parameters? Plain networks that have more of them.
    + tuple(
        Row("svhn", "std", 1000, "paper", encoder) for encoder in ("resnet34", "shufflenet_v2")
    ),
    # Networks that answer by the labels of their memory, beside ours.
    "few-shot-svhn": tuple(
        Row("svhn", variant, size, "fast", "whitened")
        for size in (1000, 2000)
        for variant in ("memory-wrap", "baseline", *READERS)
    ),
    "paper-few-shot": tuple(
        Row("svhn", variant, size, "paper", _MOBILENET)
        for size in (1000, 2000)
        for variant in ("memory-wrap", *READERS)
    ),
    "fast-cifar10": _rows("cifar10", "fast", "whitened", (1000, 2000, 5000, None)),
    "fast-svhn": _rows("svhn", "fast", "whitened", (1000, 2000)),
    "evidence-cifar10": _evidence("cifar10", (1000, 2000, 5000)),
    "evidence-svhn": _evidence("svhn", (1000, 2000, None)),  # "all" are fewer than 5,000
    # The fast recipe, and what is left of it without each of its parts.
    "fast-parts": (
        _PARTS,
        *(
            replace(_PARTS, settings=((name, value),))
            for name, value in (
                ("augment.cutout", "0"),
                ("augment.translate", "0"),
                ("augment.flip", "false"),
                ("label_smoothing", "0"),
                ("average", "0"),
                ("warmup", "0"),
                ("memory", "20"),
            )
        ),
        replace(_PARTS, encoder="compact"),
    ),
}
TABLES["paper"] = (*TABLES["paper-svhn"], *TABLES["paper-cifar10"], *TABLES["paper-cinic10"])


def has_encoder(table: str, encoder: str | None) -> bool:
    """Whether a named table has rows with an encoder."""
    return any(row.encoder == encoder for row in TABLES.get(table, ()))


def rows(
    table: str,
    *,
    variants: Sequence[str] | None = None,
    samples: Sequence[int | None] | None = None,
    encoder: str | None = None,
    recipe: str | None = None,
    settings: Sequence[tuple[str, str]] = (),
) -> list[Row]:
    """The rows of a named table, fewer of them or with another encoder or recipe where asked.

    An encoder of the table asks for its rows; any other takes the place of the table's.

    Raises:
        ValueError: no such table, or no row left.
    """
    if table not in TABLES:
        raise ValueError(f"unknown table {table!r}: expected one of {', '.join(TABLES)}")
    replaced = None if has_encoder(table, encoder) else encoder
    found = [
        replace(
            row,
            recipe=recipe or row.recipe,
            encoder=replaced or row.encoder,
            settings=(*row.settings, *settings),
        )
        for row in TABLES[table]
        if (samples is None or row.samples in samples)
        and (variants is None or row.variant in variants)
        and (encoder in (replaced, row.encoder))
    ]
    if not found:
        sizes = dict.fromkeys(
            "all" if row.samples is None else str(row.samples) for row in TABLES[table]
        )
        kinds = dict.fromkeys(row.variant for row in TABLES[table])
        raise ValueError(
            f"table {table}: no row is left of what was asked for: it has samples {', '.join(sizes)} and variants "
            f"{', '.join(kinds)}"
        )
    return found
