"""Pictures: enlarged inputs, attribution overlays, the paper's figure, the bank at a glance."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from memorywrap.images import to_pil

if TYPE_CHECKING:  # checkpoint -> figures; explain is only named here
    from memorywrap.explanation.explanation import Explanation
    from memorywrap.prediction import Cell, PatchCounterfactual, Prediction

Colour = tuple[int, int, int]

_PAPER = "Memory Wrap: La Rosa, Capobianco, Nardi, arXiv 2106.01440"


class Side(NamedTuple):
    """One side of the evidence: what it does, and how maps are painted where it is stronger.

    Attributes:
        verb: what its pixels and samples do to the answer.
        word: the colour's name.
        rgb: the colour.
    """

    verb: str
    word: str
    rgb: Colour


# Colour-blind safe; a legend and the place in the picture always say the same in words.
SUPPORT = Side("supports", "blue", (0, 90, 200))
OPPOSE = Side("opposes", "orange", (220, 100, 0))

_INK: Colour = (27, 31, 38)
_QUIET: Colour = (96, 103, 112)
_FRAME: Colour = (208, 212, 218)


_SIDE = 208  # of a picture in the paper's figure


class FigurePart(NamedTuple):
    """One picture of an explanation beside its map.

    Attributes:
        role: "input", "example", "counterfactual", "contrast" or "patch counterfactual".
        details: what it is, in plain words, point by point.
        image: the pixels as the model saw them, at their own size.
        map: the attribution overlay at the same size; of the patch counterfactual, the picture with
            its replaced cells outlined, enlarged.
        where: in which part of the picture most of the support lies, such as "upper left"; empty
            where nothing supports.
    """

    role: str
    details: tuple[str, ...]
    image: Image.Image
    map: Image.Image
    where: str

    @property
    def caption(self) -> str:
        """Role and details in one line."""
        return ", ".join((self.role, *self.details))


def enlarged(image: Image.Image, side: int = 256) -> Image.Image:
    """The image at a larger size with hard pixels, so that it shows what the model sees."""
    return image.resize((side, side), Image.Resampling.NEAREST)


def overlay(
    pixels: Tensor, attribution: Tensor, side: int = 256, *, full: float | None = None
) -> Image.Image:
    """An attribution map over a pale grey copy of its image: blue supports, orange opposes.

    Args:
        pixels: uint8 (3, height, width).
        attribution: (channels, rows, columns) of pixels or feature cells, any scale; summed over the
            channels.
        side: of the picture, in pixels.
        full: what is painted in full colour; the map's own `strength` when not given.
    """
    grey = np.asarray(to_pil(pixels).convert("L"), dtype=np.float32)[..., None]
    # A faint drawing of the image stays visible under the colours, stretched to the same contrast
    # for dark and for pale pictures.
    low, high = np.quantile(grey, (0.02, 0.98))
    pale = 186 + 64 * np.clip((grey - low) / max(high - low, 1.0), 0, 1)
    by_pixel = _by_pixel(attribution, pixels)
    scale = strength(attribution) if full is None else full
    depth = np.clip(np.abs(by_pixel) / (scale or 1.0), 0, 1)[..., None] ** 0.8
    colour = np.where(by_pixel[..., None] >= 0, SUPPORT.rgb, OPPOSE.rgb)
    blended = pale * (1 - depth) + colour * depth
    return enlarged(Image.fromarray(blended.round().astype(np.uint8)), side)


def _by_pixel(attribution: Tensor, pixels: Tensor) -> np.ndarray:
    """The attribution of each pixel (height, width); that of feature cells is spread smoothly."""
    by_place = attribution.sum(dim=0)
    if by_place.shape != pixels.shape[1:]:
        size = list(pixels.shape[1:])
        wide = functional.interpolate(by_place[None, None], size, mode="bicubic")
        by_place = wide[0, 0]
    return by_place.numpy()


def strength(attribution: Tensor) -> float:
    """How strong a map (3, height, width) is: the 99th percentile of its magnitude by pixel."""
    return float(np.quantile(attribution.sum(dim=0).abs().numpy(), 0.99))


def full_colour(explanation: Explanation) -> float:
    """What full colour stands for in all maps of an explanation, so that they can be compared: the strength
    of the strongest."""
    return max(map(strength, (explanation.input_map, *explanation.memory_maps.values())))


def most_support(attribution: Tensor) -> str:
    """In which ninth of a picture most of the support lies, in words; empty where nothing supports.

    Args:
        attribution: (3, height, width), any scale; summed over the channels.
    """
    support = attribution.sum(dim=0).clamp(min=0).numpy()
    if not support.any():
        return ""
    thirds = [
        [float(cell.sum()) for cell in np.array_split(rows, 3, axis=1)]
        for rows in np.array_split(support, 3, axis=0)
    ]
    row, column = divmod(int(np.argmax(thirds)), 3)
    names = (("upper", "middle", "lower")[row], ("left", "middle", "right")[column])
    return " ".join(dict.fromkeys(names))  # the middle is not called so twice


def outlined(pixels: Tensor, cells: Sequence[Cell], grid: int, side: int = 256) -> Image.Image:
    """A picture, enlarged, with a line around each group of cells.

    Args:
        pixels: uint8 (3, height, width).
        cells: (row, column) of a grid over the picture.
        grid: cells per side.
        side: of the result, in pixels.
    """
    image = enlarged(to_pil(pixels), side)
    draw, chosen = ImageDraw.Draw(image), set(cells)
    at = [round(side * line / grid) for line in range(grid + 1)]
    width = max(side // 64, 1)
    for colour, wide in (("white", 3 * width), (OPPOSE.rgb, width)):  # seen on any picture
        for row, column in cells:
            top, bottom, left, right = at[row], at[row + 1], at[column], at[column + 1]
            edges = {
                (row - 1, column): (left, top, right, top),
                (row + 1, column): (left, bottom, right, bottom),
                (row, column - 1): (left, top, left, bottom),
                (row, column + 1): (right, top, right, bottom),
            }
            for beside, line in edges.items():
                if beside not in chosen:
                    draw.line(line, fill=colour, width=wide)
    return image


def patch_part(patch: PatchCounterfactual) -> FigurePart:
    """The patch counterfactual as a part of a figure."""
    answer, source = patch.prediction, patch.sample
    pieces = f"{len(patch.cells)} of {patch.grid**2} cells from the {source['label']}"
    details = (
        f"predicted {source['predicted']}, {percent(answer.probabilities[answer.predicted])}",
        f"with {pieces}, no. {patch.source}",
    )
    drawn = outlined(patch.pixels, patch.cells, patch.grid, side=2 * _SIDE)
    return FigurePart("patch counterfactual", details, to_pil(patch.pixels), drawn, "")


def figure_parts(
    explanation: Explanation, patch: PatchCounterfactual | None = None
) -> list[FigurePart]:
    """Input, example, and counterfactual or contrast, each with its map on one scale, and the patch
    counterfactual, as far as they exist."""
    prediction = explanation.prediction
    side, full = prediction.pixels.shape[-1], full_colour(explanation)
    parts = [
        FigurePart(
            "input",
            (f"predicted {prediction.classes[prediction.predicted]}",),
            to_pil(prediction.pixels),
            overlay(prediction.pixels, explanation.input_map, side, full=full),
            most_support(explanation.input_map),
        )
    ]
    for role in ("example", "counterfactual", "contrast"):
        index = getattr(prediction, role)
        if index is None or index not in explanation.memory_maps:  # a method may leave it out
            continue
        pixels = prediction.require_bank().images[index]
        parts.append(
            FigurePart(
                role,
                _details(role, prediction, index),
                to_pil(pixels),
                overlay(pixels, explanation.memory_maps[index], side, full=full),
                most_support(explanation.memory_maps[index]),
            )
        )
    return parts if patch is None else [*parts, patch_part(patch)]


def paper_figure(
    explanation: Explanation,
    patch: PatchCounterfactual | None = None,
    *,
    scale: int = 2,
    model: str = "",
    label: str | None = None,
) -> Image.Image:
    """The paper's figure: input, example, and counterfactual or contrast, each beside its map, and the
    patch counterfactual where it is given.

    Args:
        explanation: what to show.
        patch: of the same prediction.
        scale: device pixels per pixel of the layout; 2 is crisp in print and on dense screens.
        model: what the model is called. With it the figure names the model, the day and the paper.
        label: what the input is labelled, where that is known.
    """
    prediction = explanation.prediction
    parts = figure_parts(explanation, patch)
    side, gap, margin, between = _SIDE, 8, 32, 36
    pair = 2 * side + gap
    width = 2 * margin + len(parts) * pair + (len(parts) - 1) * between
    top = margin + 60
    sheet = _Sheet(width, top + 30 + side + 62 + margin, scale)

    sheet.text((margin, margin - 6), _title(prediction), 26)
    if label is not None:
        sheet.text((margin, margin + 28), f"labelled {label}", 15, _QUIET)
    sheet.legend(width - margin, margin + 2)
    for column, part in enumerate(parts):
        left = margin + column * (pair + between)
        sheet.text((left, top), part.role, 17)
        sheet.picture((left, top + 28), part.image, side)
        sheet.picture((left + side + gap, top + 28), part.map, side)
        sheet.text((left, top + 28 + side + 10), ", ".join(part.details), 15, _QUIET)
    made = f"{explanation.method.replace('_', ' ')}, {explanation.baseline} baseline"
    if explanation.against is not None:
        made = f"against {prediction.classes[explanation.against]}: {made}"
    if explanation.completeness_error is not None:
        error = percent(explanation.completeness_error)
        made += f", {explanation.steps} steps, completeness error {error}"
    if explanation.converged is False:
        made += " (above the tolerance: read the maps with care)"
    sheet.text((margin, top + 28 + side + 40), made, 13, _QUIET)
    if model:
        source = f"{model}, {date.today().isoformat()}. {_PAPER}"
        sheet.text((margin, top + 28 + side + 60), source, 13, _QUIET)
    return sheet.image


def memory_figure(
    prediction: Prediction, *, columns: int = 8, scale: int = 2, label: str | None = None
) -> Image.Image:
    """The input over every memory sample that its prediction used, by falling weight: below each its weight, its
    number and what it is predicted as (and labelled, where that is another class); framed in blue where it
    supports, in orange where it opposes.

    Args:
        prediction: what to show.
        columns: samples in a row.
        scale: device pixels per pixel of the layout.
        label: what the input is labelled, where that is known.

    Raises:
        ValueError: it is the prediction of a plain network.
    """
    bank, used = prediction.require_bank(), prediction.used
    small, gap, margin, row = 104, 16, 32, 104 + 76
    over = 44 if label is None else 62
    top = margin + over + _SIDE + 58
    width = 2 * margin + columns * (small + gap) - gap
    sheet = _Sheet(width, top + -(-len(used) // columns) * row + margin - 20, scale)
    sheet.text((margin, margin - 6), _title(prediction), 26)
    if label is not None:
        sheet.text((margin, margin + 28), f"labelled {label}", 15, _QUIET)
    sheet.legend(width - margin, margin + 2)
    sheet.picture((margin, margin + over), to_pil(prediction.pixels), _SIDE)
    samples = f"{len(used)} of {len(bank)} memory samples were used. The weight of each, its number, and what it is predicted as:"
    sheet.text((margin, top - 34), samples, 15, _QUIET)
    for place, index in enumerate(used):
        sample = prediction.memory(index)
        left = margin + place % columns * (small + gap)
        at = (left, top + place // columns * row)
        side = SUPPORT if sample["role"] == "example" else OPPOSE
        sheet.picture(at, to_pil(bank.images[index]), small, side.rgb)
        numbered = f"{percent(sample['weight'])}, no. {index}"
        labelled = "" if sample["label"] == sample["predicted"] else f"labelled {sample['label']}"
        for line, (text, ink) in enumerate(
            ((numbered, _QUIET), (sample["predicted"], _INK), (labelled, _QUIET))
        ):
            sheet.text((left, at[1] + small + 6 + 18 * line), text, 14, ink)
    return sheet.image


def percent(part: float) -> str:
    """A share in words of percent, never rounded up to a certainty nor down to nothing."""
    value = 100 * part
    if 0 < value < 0.1:
        return "under 0.1 %"
    if 99.9 < value < 100:
        return "over 99.9 %"
    rounded = round(value, 1)  # first, so that 9.96 and 10.04 look alike
    decimals = 0 if rounded == 0 or 10 <= rounded < 99 or value >= 100 else 1
    return f"{value:.{decimals}f} %"


def _details(role: str, prediction: Prediction, index: int) -> tuple[str, ...]:
    sample = prediction.memory(index)
    if role == "contrast":
        weight = ("weight 0", "not used")
    else:
        side = SUPPORT if role == "example" else OPPOSE
        weight = (f"weight {percent(sample['weight'])}", side.verb)
    return (f"labelled {sample['label']}", f"predicted {sample['predicted']}", *weight)


@functools.cache
def _font(size: int) -> Any:
    """A face that knows more than English: Pillow's own writes boxes in place of ä and é."""
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin is not None:
        file = Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
        with contextlib.suppress(OSError):
            return ImageFont.truetype(str(file), round(0.93 * size))  # it is wider
    return ImageFont.load_default(size)


def _title(prediction: Prediction) -> str:
    share = percent(prediction.probabilities[prediction.predicted])
    unlike = "; unlike everything known" if prediction.unlike else ""
    return f"Predicted {prediction.classes[prediction.predicted]}, {share}{unlike}"


class _Sheet:
    """A white sheet that is drawn on in layout pixels and kept in device pixels."""

    def __init__(self, width: int, height: int, scale: int):
        self.scale = scale
        self.image = Image.new("RGB", (width * scale, height * scale), "white")
        self.draw = ImageDraw.Draw(self.image)

    def text(
        self,
        at: tuple[float, float],
        text: str,
        size: int,
        colour: Colour = _INK,
        anchor: str = "la",
    ) -> float:
        """Write one line; returns its width."""
        font = _font(size * self.scale)
        position = (at[0] * self.scale, at[1] * self.scale)
        self.draw.text(position, text, fill=colour, font=font, anchor=anchor)
        return self.draw.textlength(text, font=font) / self.scale

    def picture(
        self, at: tuple[int, int], image: Image.Image, side: int, frame: Colour = _FRAME
    ) -> None:
        left, top = (value * self.scale for value in at)
        self.image.paste(enlarged(image, side * self.scale), (left, top))
        box = (at[0] - 1, at[1] - 1, at[0] + side, at[1] + side)
        self.draw.rectangle([value * self.scale for value in box], outline=frame, width=self.scale)

    def legend(self, right: float, top: float) -> None:
        for side in (OPPOSE, SUPPORT):
            right -= self.text((right, top), side.verb, 15, _QUIET, anchor="ra") + 22
            box = [right, top + 2, right + 14, top + 16]
            self.draw.rectangle([value * self.scale for value in box], fill=side.rgb)
            right -= 18
