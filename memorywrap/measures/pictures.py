"""What a model says of many pictures, as one file: a table to look at, or one to reckon with."""

from __future__ import annotations

import base64
import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from jinja2 import Environment, PackageLoader
from torch import Tensor

from memorywrap.images import Box, to_pil
from memorywrap.prediction import Prediction

COLUMNS = ("file", "label", "predicted", "probability", "trust", "unlike", "memory", "memory_predicted",
           "memory_weight", "other", "other_predicted", "error")  # fmt: skip
_SIDE = 64  # pixels of a picture in the table
_TOLD = {
    "sure, %": "how the model divides its certainty among its classes",
    "right, %": "how often an answer with such evidence is right; empty where that cannot be said",
}


@dataclass(frozen=True, eq=False)
class Row:
    """One picture.

    Attributes:
        file: its name, as it was asked for.
        label: its class, where its folder says so.
        prediction: what the model says; None where the file is no picture.
        error: why not.
        explained: the figure of its explanation, seen from the table's folder; empty where there is none.
        crop: the square that was looked at (left, top, right, bottom), in the picture's pixels.
    """

    file: str
    label: str | None
    prediction: Prediction | None
    error: str = ""
    explained: str = ""
    crop: Box | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether it has a label, and the model says something else."""
        return (
            self.label is not None and self.prediction is not None and self.label != self.predicted
        )

    @property
    def predicted(self) -> str:
        """The class that the model says; empty where it says nothing."""
        one = self.prediction
        return "" if one is None else one.classes[one.predicted]

    def values(self) -> dict[str, object]:
        """By the names of `COLUMNS`; what is not known is None."""
        found: dict[str, object] = dict.fromkeys(COLUMNS)
        found |= {"file": self.file, "label": self.label, "error": self.error or None}
        one = self.prediction
        if one is None:
            return found
        found |= {"predicted": self.predicted, "probability": max(one.probabilities)}
        found |= {"trust": one.trust, "unlike": one.unlike}
        if one.bank is not None:
            strongest, other = one.memory(one.used[0]), one.other
            found |= {"memory": strongest["index"], "memory_predicted": strongest["predicted"]}
            found |= {"memory_weight": strongest["weight"], "other": other}
            found["other_predicted"] = None if other is None else one.memory(other)["predicted"]
        return found


def label_of(file: Path, classes: Sequence[str]) -> str | None:
    """The name of the folder that a file lies in, where that is one of the classes."""
    name = file.absolute().parent.name
    return name if name in classes else None


def files_in(folder: Path, classes: Sequence[str]) -> Iterator[tuple[Path, str | None]]:
    """The files of a folder and of those in it, each with its label."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.startswith("."):
            yield file, label_of(file, classes)


def chosen(
    rows: Iterable[Row],
    *,
    wrong: bool = False,
    label: str | None = None,
    predicted: str | None = None,
    sort: str | None = None,
) -> list[Row]:
    """The rows to look at.

    Args:
        rows: of pictures that the model was asked about.
        wrong: only those that are not answered as they are labelled.
        label: only those labelled so.
        predicted: only those answered so.
        sort: a column of numbers, the least first; before them what is unlike everything known, of which no
            trust is told.

    Raises:
        ValueError: the model does not tell that column.
    """
    kept = [
        row
        for row in rows
        if (not wrong or row.is_wrong)
        and label in (None, row.label)
        and predicted in (None, row.predicted)
    ]
    if sort is None:
        return kept
    numbers = {row: cast("float | None", row.values()[sort]) for row in kept}
    judged = (row for row in kept if row.prediction is not None and not row.prediction.unlike)
    if None in (numbers[row] for row in judged):
        raise ValueError(
            f"this model does not tell the {sort} of its answers: sort by probability, or teach it by memorywrap gauge"
        )
    return sorted(kept, key=lambda row: numbers[row] or 0.0)


def as_csv(rows: Iterable[Row]) -> str:
    """A line per picture, under the names of `COLUMNS`, and "explained" where some are."""
    rows = list(rows)
    more = ("explained",) if any(row.explained for row in rows) else ()
    text = io.StringIO()
    writer = csv.DictWriter(text, (*COLUMNS, *more), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row.values() | dict.fromkeys(more, row.explained))
    return text.getvalue()


def as_parquet(rows: Iterable[Row]) -> bytes:
    """The same as a Parquet file, whose columns have types.

    Raises:
        ValueError: the package pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ValueError("a Parquet file needs the package pyarrow: pip install pyarrow") from None
    kinds = dict.fromkeys(COLUMNS, pyarrow.string())
    kinds |= dict.fromkeys(("probability", "trust", "memory_weight"), pyarrow.float64())
    kinds |= dict.fromkeys(("memory", "other"), pyarrow.int64())
    kinds["unlike"] = pyarrow.bool_()
    table = pyarrow.Table.from_pylist(
        [row.values() for row in rows], schema=pyarrow.schema(list(kinds.items()))
    )
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


def as_html(
    rows: Sequence[Row], classes: Sequence[str], title: str, of: Sequence[Row] | None = None
) -> str:
    """A page that needs nothing else: the table, which sorts, and where there are labels, how many are right
    and which classes are taken for which.

    Args:
        rows: the pictures in the table.
        classes: names of the classes.
        title: of the page.
        of: all pictures, where the table shows some of them; so many are right among these.
    """
    every = rows if of is None else of
    labelled, pairs = (
        _labelled(every),
        Counter((row.label, row.predicted) for row in _labelled(rows)),
    )
    shown = [name for name in classes if any(name in pair for pair in pairs)]
    return _TEMPLATES.get_template("pictures.html.jinja").render(
        rows=rows,
        told=_TOLD,
        every=len(every),
        classes=shown,
        pairs=pairs,
        labelled=len(labelled),
        right=sum(not row.is_wrong for row in labelled),
        title=title,
    )


def _labelled(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.label is not None and row.prediction is not None]


def shared(kind: str) -> str:
    """The "css" or the "js" of such a table, for pages that make one themselves."""
    return Path(__file__).with_suffix(f".{kind}").read_text(encoding="utf-8")


def _picture(pixels: Tensor) -> str:
    """Pixels uint8 (3, height, width) as a data: address."""
    file = io.BytesIO()
    image = to_pil(pixels)
    image.thumbnail((_SIDE, _SIDE))
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


_TEMPLATES = Environment(
    loader=PackageLoader("memorywrap.measures", "."),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["picture"] = _picture
