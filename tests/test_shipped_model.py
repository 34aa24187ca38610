"""The digits model in checkpoints/: what it must do on pictures that it has never seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from drawings import DRAWINGS, Drawing

from app.panels.picture import EXAMPLES
from memorywrap import MemoryWrapClassifier
from memorywrap.data.digits import render_digits
from memorywrap.data.others import render_others
from memorywrap.data.scenes import compose_scene
from memorywrap.images import read_image

pytestmark = pytest.mark.slow

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "digits"
FRESH_SEED = 20_000  # training used 0, its exam 1


@pytest.fixture(scope="module")
def model() -> MemoryWrapClassifier:
    return MemoryWrapClassifier.from_pretrained(CHECKPOINT, device="cpu")


@pytest.fixture(scope="module")
def fresh() -> tuple[torch.Tensor, torch.Tensor]:
    """Rendered with Pillow's own font, which every machine has."""
    return render_digits(500, FRESH_SEED, fonts=[None], workers=1)


def test_fresh_renders_are_recognised(model, fresh):
    images, labels = fresh
    predicted = model.classify(images)[0].argmax(dim=1)
    assert (predicted == labels).float().mean() >= 0.95


@pytest.mark.parametrize(
    "drawing",
    [pytest.param(drawing, id=f"{i}-{drawing.digit}") for i, drawing in enumerate(DRAWINGS)],
)
def test_a_drawing_made_with_a_mouse_is_recognised(model, drawing: Drawing):
    pad = drawing.image()
    for box in (None, model.suggest_box(pad)):
        prediction = model.predict(pad, box=box)
        assert prediction.classes[prediction.predicted] == drawing.digit


def test_explanations_add_up(model, fresh):
    explanations = [model.explain(image) for image in fresh[0][:3].permute(0, 2, 3, 1).numpy()]
    assert max(explanation.completeness_error for explanation in explanations) <= 0.02


@pytest.mark.parametrize(("ink", "paper"), [("white", "black"), ("black", "white")])
def test_maps_of_drawings_lie_on_their_strokes_whether_light_or_dark(model, ink, paper):
    shares = []
    for drawing in DRAWINGS:
        pad = drawing._replace(ink=ink, paper=paper).image()
        explanation = model.explain(pad)
        pixels = explanation.prediction.pixels.float().mean(dim=0)
        strokes = (pixels - pixels[0, 0]).abs() > 25
        weight = explanation.input_map.sum(dim=0).abs()
        shares.append(float(weight[strokes].sum() / weight.sum()))
    assert sum(shares) / len(shares) >= 0.6


def test_the_bank_is_balanced_and_was_not_photographed(model):
    assert len(model.bank) == 100
    assert model.bank.labels.bincount().tolist() == [10] * 10
    assert model.config.data["name"] == "digits"


def test_most_memories_are_predicted_as_labelled(model):
    assert (model.bank.predicted == model.bank.labels).float().mean() >= 0.9


def test_of_letters_and_shapes_few_are_trusted_and_of_digits_few_called_unlike(model, fresh):
    pictures, kinds = render_others(600, FRESH_SEED, ["letter", "shape"], "test", fonts=[None])
    assert set(kinds) == {"letter", "shape"}
    strangers = model.predict_inputs(list(pictures))
    assert sum((one.trust or 0.0) >= 0.95 for one in strangers) <= 0.05 * len(strangers)
    assert sum(one.unlike for one in strangers) >= 0.4 * len(strangers)
    digits = model.predict_inputs(list(fresh[0]))
    assert sum(one.unlike for one in digits) <= 0.05 * len(digits)  # in one font: 3 % over many
    assert sum((one.trust or 0.0) >= 0.95 for one in digits) >= 0.4 * len(digits)


def test_first_guesses_lie_on_digits(model):
    scenes = [
        compose_scene(seed, "test", fonts=[None]) for seed in range(FRESH_SEED, FRESH_SEED + 60)
    ]
    hits = [scene.reads(model.suggest_box(scene.image)) is not None for scene in scenes]
    assert sum(hits) >= 0.85 * len(hits)


def test_examples_teach(model):
    shown = [model.predict(path, box=model.suggest_box(read_image(path))) for path in EXAMPLES]
    with_counterfactual = sum(one.counterfactual is not None for one in shown)
    assert 2 * with_counterfactual >= len(shown)
    (stranger,) = [path.stem for path, one in zip(EXAMPLES, shown, strict=True) if one.unlike]
    assert "heart" in stranger
