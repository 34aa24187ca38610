"""`memorywrap explain`: the figure, the maps and the JSON of an image."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from memorywrap.commands.shared import add_checkpoint, add_input, load, model_name, predict
from memorywrap.explanation.baselines import BASELINES, DEFAULT
from memorywrap.explanation.explanation import Explanation
from memorywrap.explanation.figures import enlarged, figure_parts, outlined, paper_figure
from memorywrap.explanation.methods import INTEGRATED_GRADIENTS, methods
from memorywrap.images import ImageError, to_pil
from memorywrap.patches import patch_counterfactual
from memorywrap.prediction import PatchCounterfactual


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("image", metavar="IMAGE", help="a file")
    add_input(parser)
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the files go")
    parser.add_argument(
        "--method",
        default=INTEGRATED_GRADIENTS,
        choices=methods(),
        help=f"how the maps are made (default: {INTEGRATED_GRADIENTS})",
    )
    parser.add_argument(
        "--baseline",
        default=DEFAULT,
        choices=tuple(BASELINES),
        help=f"where the attribution's path starts (default: {DEFAULT}; the paper: white)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="path steps (default: as many as the completeness error asks for)",
    )
    add_checkpoint(parser)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    classifier = load(options)
    try:
        prediction = predict(classifier, options.image, options)
        explanation = classifier.explain(
            prediction,
            method=options.method,
            baseline=options.baseline,
            steps=options.steps,
        )
    except ImageError as error:
        raise ValueError(f"{options.image}: {error}") from error
    patch = patch_counterfactual(classifier, prediction)
    for path in _write(explanation, patch, Path(options.out), model_name(options)):
        print(path)
    return 0


def _write(
    explanation: Explanation, patch: PatchCounterfactual | None, folder: Path, model: str
) -> list[Path]:
    """The figure, each picture with its map, the patch counterfactual with its cells, and the JSON;
    returns what was written."""
    pictures = {"figure": paper_figure(explanation, patch, model=model)}
    for part in figure_parts(explanation):
        pictures[part.role] = enlarged(part.image)
        pictures[f"{part.role}-map"] = enlarged(part.map)
    if patch is not None:
        pictures["patch-counterfactual"] = enlarged(to_pil(patch.pixels))
        pictures["patch-counterfactual-cells"] = outlined(patch.pixels, patch.cells, patch.grid)
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")
    text = json.dumps(explanation.to_dict(model, patch), indent=2) + "\n"
    (folder / "explanation.json").write_text(text, encoding="utf-8")
    return [*(folder / f"{name}.png" for name in pictures), folder / "explanation.json"]
