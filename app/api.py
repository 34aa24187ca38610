"""The endpoints of the web API: /models, /classify and /explain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypedDict

import gradio as gr
from gradio.data_classes import FileDataDict
from gradio.processing_utils import save_pil_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from app.models import ModelError, Models
from app.uploads import checked_box, read_upload, speaks
from memorywrap import Explanation, MemoryWrapClassifier, Prediction
from memorywrap.attribution import BASELINES
from memorywrap.figures import figure_parts
from memorywrap.images import Box

METHODS = ("integrated_gradients",)
MOST_STEPS = 200


class Picture(TypedDict):
    """One map of the gallery of /explain."""

    image: FileDataDict
    caption: str


class ArgumentError(ValueError):
    """An argument that is not understood; the message says which values are known."""


def classify(model: MemoryWrapClassifier, image: Image.Image, box: Box | None) -> Prediction:
    """The prediction for a part of an image; the suggested square when none is given."""
    return model.predict(image, box=model.suggest_box(image) if box is None else box)


def explain(
    models: Models, model: MemoryWrapClassifier, prediction: Prediction, **settings: Any
) -> Explanation:
    """The explanation of a prediction, one at a time."""
    if not model.has_memory:
        raise ModelError("This model has no memory, so there is nothing to explain by examples.")
    with models.explaining:
        return model.explain(prediction, **settings)


def known(what: str, value: Any, choices: Any) -> str:
    """The value, if it is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(f"Unknown {what}: expected one of {', '.join(choices)}.")
    return value


def checked_steps(steps: Any) -> int | None:
    """Steps of the path; None for automatic."""
    if steps is None or steps == "" or steps == 0:
        return None
    whole = isinstance(steps, (int, float)) and not isinstance(steps, bool) and steps == int(steps)
    if not whole or not 1 <= steps <= MOST_STEPS:
        raise ArgumentError(f"The steps are expected as 0 for automatic, or 1 to {MOST_STEPS}.")
    return int(steps)


def add_endpoints(
    models: Models, accelerate: Callable[..., Any] = lambda function: function
) -> None:
    """Register the public endpoints in the Blocks being built."""
    default = models.default

    def list_models() -> list[dict[str, Any]]:
        """The models: name, title, classes, size of the memory bank, and whether it can answer."""
        return models.describe()

    def classify_image(
        image: FileDataDict, model: str = default, crop: list[int] | None = None
    ) -> dict[str, Any]:
        """Predict the class of an image, with the memory samples that the prediction used.

        Args:
            image: an uploaded image file.
            model: a name that /models lists.
            crop: [left, top, right, bottom] in pixels of the upright image; null for a suggestion.

        Returns:
            {model, predicted, probabilities, memory: [{index, label, predicted, weight, role}],
            example, counterfactual, contrast}.
        """
        classifier = models.get(model)
        picture = read_upload(image)
        return classify(classifier, picture, checked_box(crop, picture)).to_dict(model)

    def explain_image(
        image: FileDataDict,
        model: str = default,
        method: Literal["integrated_gradients"] = "integrated_gradients",
        baseline: Literal["white", "black"] = "white",
        steps: int | None = None,
        crop: list[int] | None = None,
    ) -> tuple[dict[str, Any], list[Picture]]:
        """Predict an image and explain the prediction with attribution maps.

        Args:
            image: an uploaded image file.
            model: a name that /models lists.
            method: integrated_gradients.
            baseline: white or black, where the path of the attribution starts.
            steps: path steps; 0 or null lets the completeness error decide.
            crop: [left, top, right, bottom] in pixels of the upright image; null for a suggestion.

        Returns:
            The object of /classify with {method, baseline, steps, completeness_error,
            contributions}, and a gallery of maps: input, example, counterfactual or contrast.
        """
        classifier = models.get(model)
        known("method", method, METHODS)
        known("baseline", baseline, BASELINES)
        settings = {"baseline": baseline, "steps": checked_steps(steps)}
        picture = read_upload(image)
        prediction = classify(classifier, picture, checked_box(crop, picture))
        explanation = explain(models, classifier, prediction, **settings)
        gallery = [_picture(part.map or part.image, part.caption) for part in figure_parts(explanation)]
        return explanation.to_dict(model), gallery

    gr.api(speaks(list_models), api_name="models", queue=False)
    gr.api(
        accelerate(speaks(classify_image)),
        api_name="classify",
        concurrency_limit=2,
        concurrency_id="classify",
    )
    gr.api(
        accelerate(speaks(explain_image)),
        api_name="explain",
        concurrency_limit=1,
        concurrency_id="explain",
    )


def _picture(image: Image.Image, caption: str) -> Picture:
    path = save_pil_to_cache(image, cache_dir=get_upload_folder(), name="map", format="png")
    file = {"path": path, "mime_type": "image/png", "meta": {"_type": "gradio.FileData"}}
    return {"image": file, "caption": caption}  # type: ignore[typeddict-item]

