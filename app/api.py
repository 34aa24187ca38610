"""The endpoints of the web API: /models, /classify, /explain and /whatif."""

# No postponed annotations here: Gradio reads the types of the endpoints while the program runs.
from collections.abc import Callable
from typing import Any, Literal, cast

from gradio.data_classes import FileDataDict
from gradio.processing_utils import save_pil_to_cache
from gradio.utils import get_upload_folder
from PIL import Image
from typing_extensions import TypedDict  # as pydantic, behind FastAPI, wants it before Python 3.12

from app import answers
from app.gradio_patches import publish
from app.models import Models
from app.uploads import read_upload, speaks
from memorywrap.explanation.baselines import BASELINES, DEFAULT
from memorywrap.explanation.methods import INTEGRATED_GRADIENTS

Method = Literal[answers.METHODS]  # type: ignore[valid-type]
_BASELINES = tuple(BASELINES)
Baseline = Literal[_BASELINES]  # type: ignore[valid-type]


class Model(TypedDict):
    """One model of /models."""

    name: str
    title: str
    classes: list[str]
    bank_size: int
    available: bool


class Sample(TypedDict):
    """A memory sample: its label, and what the model says of it."""

    index: int
    label: str
    predicted: str


class MemorySample(Sample):
    """A memory sample that a prediction used."""

    weight: float
    role: Literal["example", "counterfactual"]


class Verdict(TypedDict):
    """A class and its probability."""

    predicted: str
    probability: float


class Answer(TypedDict):
    """The object of /classify."""

    model: str
    predicted: str
    probabilities: dict[str, float]
    trust: float | None
    memory: list[MemorySample]
    example: int | None
    counterfactual: int | None
    contrast: int | None
    without_its_class: Verdict | None
    unlike: bool


class BeforeAndAfter(TypedDict):
    """The object of /whatif."""

    before: Answer
    after: Answer


class Contributions(TypedDict):
    """What input and memory samples (by bank index) add to the predicted class's logit."""

    input: float | None
    memory: dict[str, float]


class Patch(TypedDict):
    """The patch counterfactual: cells (row, column) of a grid over what the model sees, replaced by
    those of a memory sample that was moved by `shift` pixels (down, right) and perhaps mirrored."""

    source: int
    predicted: str
    probability: float
    cells: list[list[int]]
    grid: int
    shift: list[int]
    mirrored: bool


class Pair(TypedDict):
    """Two places, (row, column), that answer to each other, and what they add to the similarity."""

    input: list[int]
    sample: list[int]
    similarity: float


class Parts(TypedDict):
    """How the similarity of input and memory sample comes about: the strongest pairs of places of a grid."""

    index: int
    similarity: float
    grid: list[int]
    pairs: list[Pair]


class ExplainedAnswer(Answer):
    """The object of /explain. What only integrated gradients have is null for other methods."""

    method: str
    baseline: str
    against: str | None
    steps: int | None
    completeness_error: float | None
    converged: bool | None
    contributions: Contributions
    patch_counterfactual: Patch | None
    correspondence: list[Parts]


class Picture(TypedDict):
    """One map of the gallery of /explain."""

    image: FileDataDict
    caption: str


def add_endpoints(models: Models) -> None:
    """Register the public endpoints in the Blocks being built."""
    publish(speaks(_list_models(models)), "models")
    publish(speaks(_classify_image(models)), "classify", concurrency_limit=16)
    publish(speaks(_explain_image(models)), "explain", concurrency_limit=8)
    publish(speaks(_edit_memory(models)), "whatif", concurrency_limit=8)


def _list_models(models: Models) -> Callable[..., Any]:
    def list_models() -> list[Model]:
        """The models: name, title, classes, size of the memory bank, and whether it can answer."""
        return cast(list[Model], models.describe())

    return list_models


def _classify_image(models: Models) -> Callable[..., Any]:
    def classify_image(
        image: FileDataDict, model: str = models.default, crop: list[int] | None = None
    ) -> Answer:
        """Predict the class of an image, with the memory samples that the prediction used.

        Args:
            image: an uploaded image file.
            model: a name that /models lists.
            crop: [left, top, right, bottom] in pixels of the upright image; null for a suggestion.

        Returns:
            {model, predicted, probabilities, trust, memory: [{index, label, predicted, weight, role}],
            example, counterfactual, contrast}.
        """
        return cast(Answer, answers.classified(models, model, lambda: read_upload(image), crop))

    return classify_image


def _edit_memory(models: Models) -> Callable[..., Any]:
    def edit_memory(
        image: FileDataDict,
        model: str = models.default,
        edits: list[dict[str, Any]] | None = None,
        crop: list[int] | None = None,
    ) -> BeforeAndAfter:
        """What the model would say with another memory, by running it; its own memory stays as it is.

        Args:
            image: an uploaded image file.
            model: a name that /models lists.
            edits: applied in order, each an object with one of: remove or restore (index of a memory
                sample), only_class or no_class (keep, or take away, the samples that are predicted in
                a class), add ({image: an uploaded file, label: a class}), redraw (a seed).
            crop: [left, top, right, bottom] in pixels of the upright image; null for a suggestion.

        Returns:
            {before, after}, each as /classify gives it. Added samples come at the end of the memory.
        """
        told = answers.edited(models, model, lambda: read_upload(image), edits, crop, read_upload)
        return cast(BeforeAndAfter, told)

    return edit_memory


def _explain_image(models: Models) -> Callable[..., Any]:
    def explain_image(
        image: FileDataDict,
        model: str = models.default,
        method: Method = INTEGRATED_GRADIENTS,
        baseline: Baseline = DEFAULT,
        steps: int | None = None,
        crop: list[int] | None = None,
    ) -> tuple[ExplainedAnswer, list[Picture]]:
        """Predict an image and explain the prediction with attribution maps.

        Args:
            image: an uploaded image file.
            model: a name that /models lists.
            method: integrated_gradients, or another way to attribute, which has no completeness.
            baseline: where the path of the attribution starts.
            steps: path steps; 0 or null lets the completeness error decide. converged is false
                where even the most steps were not enough, and null for a number of steps.
            crop: [left, top, right, bottom] in pixels of the upright image; null for a suggestion.

        Returns:
            The object of /classify with {method, baseline, against, steps, completeness_error,
            converged, contributions, patch_counterfactual}, and a gallery: the maps of input, example,
            counterfactual or contrast, and the input with the cells that would change the answer.
        """
        told, parts = answers.explained(
            models, model, lambda: read_upload(image), method, baseline, steps, crop
        )
        return cast(ExplainedAnswer, told), [_picture(part.map, part.caption) for part in parts]

    return explain_image


def _picture(image: Image.Image, caption: str) -> Picture:
    path = save_pil_to_cache(image, cache_dir=get_upload_folder(), name="map", format="png")
    file = {"path": path, "mime_type": "image/png", "meta": {"_type": "gradio.FileData"}}
    return {"image": file, "caption": caption}  # type: ignore[typeddict-item]
