"""What is answered by whichever door it is asked: a picture classified, explained, or with another memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from PIL import Image
from torch import Tensor

from app.lanes import Busy
from app.models import Models
from app.uploads import ArgumentError, checked_box
from memorywrap import (
    Correspondence,
    MemoryBank,
    MemoryWrapClassifier,
    Prediction,
    corresponding,
)
from memorywrap.edits import parsed
from memorywrap.explanation.explanation import MOST_STEPS
from memorywrap.explanation.figures import FigurePart, figure_parts
from memorywrap.explanation.methods import methods
from memorywrap.images import ImageError, refuse_plain, to_pil

METHODS = tuple(methods())

# Pictures that are whole in memory at the same time, however many wait: a photograph takes megabytes.
_READING = threading.BoundedSemaphore(8)
_PATIENCE = 30  # seconds that one waits for it

Read = Callable[[], Image.Image]  # the picture, once all else has been found in order


def classified(models: Models, name: str, read: Read, crop: Any) -> dict[str, Any]:
    """The object of /classify."""
    models.get(name)  # says what is wrong with it before the picture is read
    return _predicted(models, name, read, crop).to_dict(name)


def explained(
    models: Models, name: str, read: Read, method: Any, baseline: Any, steps: Any, crop: Any
) -> tuple[dict[str, Any], list[FigurePart]]:
    """The object of /explain, and its pictures."""
    classifier = models.get(name)
    settings = checked_settings(classifier, method, baseline, steps)
    prediction = _predicted(models, name, read, crop)
    patching = models.patch_meanwhile(classifier, prediction)
    explanation = models.explain(classifier, prediction, **settings)
    patch = patching.result()
    told = explanation.to_dict(name, patch)
    told["correspondence"] = [one.to_dict() for one in correspondences(classifier, prediction)]
    return told, figure_parts(explanation, patch)


def correspondences(
    classifier: MemoryWrapClassifier, prediction: Prediction
) -> list[Correspondence]:
    """How the similarities of the example and of the counterfactual, or else the next example, come about,
    where that can be said."""
    first, other = prediction.example, prediction.counterfactual
    if other is None:
        other = next((index for index in prediction.used if index != first), None)
    found = (
        corresponding(classifier, prediction, one) for one in (first, other) if one is not None
    )
    return [one for one in found if one is not None]


def memory(models: Models, name: str) -> list[dict[str, Any]]:
    """The memory of a model: index, label and predicted class of each sample."""
    classes = models.get(name).config.classes
    bank = _bank(models, name)
    pairs = zip(bank.labels.tolist(), bank.predicted.tolist(), strict=True)  # type: ignore[union-attr]
    return [
        {"index": index, "label": classes[label], "predicted": classes[predicted]}
        for index, (label, predicted) in enumerate(pairs)
    ]


def memory_picture(models: Models, name: str, index: int) -> Image.Image:
    """The picture of a memory sample."""
    bank = _bank(models, name)
    if not 0 <= index < len(bank):
        raise ArgumentError(f"There is no such memory: expected 0 to {len(bank) - 1}.")
    return to_pil(bank.images[index])


def _bank(models: Models, name: str) -> MemoryBank:
    classifier = models.get(name)
    if not classifier.has_memory:
        raise ArgumentError("This model has no memory.")
    return classifier.require_bank()


def edited(
    models: Models,
    name: str,
    read: Read,
    edits: Any,
    crop: Any,
    read_added: Callable[[Any], Image.Image],
) -> dict[str, Any]:
    """The object of /whatif."""
    classifier = models.get(name)
    if not classifier.has_memory:
        raise ArgumentError("This model has no memory, so there is nothing to edit.")
    before = _predicted(models, name, read, crop)
    # What the model sees of files of a form, once however often one is named.
    seen: dict[str, Tensor] = {}

    def added(file: Any) -> Tensor:
        if not isinstance(file, str):
            return classifier.input(read_added(file))
        if file not in seen:
            seen[file] = classifier.input(read_added(file))
        return seen[file]

    try:
        listed = parsed(edits, classifier, added)
    except ImageError:
        raise
    except ValueError as error:
        raise ArgumentError(str(error)) from None
    after = classifier.predict(before, bank=models.edited(name, listed))
    return {"before": before.to_dict(name), "after": after.to_dict(name)}


def _seen(models: Models, name: str, picture: Image.Image, crop: Any) -> Tensor:
    """What the model sees of a picture, uint8 (3, size, size)."""
    box = checked_box(crop, picture)
    if box is None:
        box = models.suggest_boxes(name, picture)[0]
    return models.get(name).input(picture, box)


def _predicted(models: Models, name: str, read: Read, crop: Any) -> Prediction:
    """The prediction for a part of a picture; the suggested square when none is given."""
    if not _READING.acquire(timeout=_PATIENCE):
        raise Busy(5)
    try:
        seen = _seen(models, name, read(), crop)
    finally:
        _READING.release()
    prediction = models.predict_input(name, seen)
    refuse_plain(prediction.pixels)
    return prediction


def known(what: str, value: Any, choices: Any) -> str:
    """The value, if it is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(f"Unknown {what}: expected one of {', '.join(choices)}.")
    return value


def checked_steps(steps: Any) -> int | None:
    """Steps of the path; None for automatic."""
    if steps is None or steps == "" or steps == 0:
        return None
    if isinstance(steps, bool) or steps not in range(1, MOST_STEPS + 1):
        raise ArgumentError(f"The steps are expected as 0 for automatic, or 1 to {MOST_STEPS}.")
    return int(steps)


def checked_settings(
    classifier: MemoryWrapClassifier, method: Any, baseline: Any, steps: Any
) -> dict[str, Any]:
    """Settings of `explain` as they came in a request."""
    return {
        "method": known("method", method, METHODS),
        "baseline": known("baseline", baseline, classifier.baselines),
        "steps": checked_steps(steps),
    }
