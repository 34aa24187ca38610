"""Memory Wrap: image classifiers that show the training samples behind each prediction."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memorywrap.bank import MemoryBank
    from memorywrap.checkpoints.config import Config
    from memorywrap.classifier import MemoryWrapClassifier
    from memorywrap.correspondence import Correspondence, corresponding
    from memorywrap.encoders import register_encoder
    from memorywrap.explanation.explanation import Explanation, methods
    from memorywrap.explanation.methods import Maps, register_method
    from memorywrap.layer import BaselineMemory, MemoryWrapLayer
    from memorywrap.patches import patch_counterfactual
    from memorywrap.prediction import PatchCounterfactual, Prediction
    from memorywrap.training.teaching import Lesson, looked_at, teach
    from memorywrap.what_if import flip_set

__all__ = [
    "BaselineMemory",
    "Config",
    "Correspondence",
    "Explanation",
    "Lesson",
    "Maps",
    "MemoryBank",
    "MemoryWrapClassifier",
    "MemoryWrapLayer",
    "PatchCounterfactual",
    "Prediction",
    "corresponding",
    "flip_set",
    "looked_at",
    "methods",
    "patch_counterfactual",
    "register_encoder",
    "register_method",
    "teach",
]

# Imported when they are asked for: torch takes two seconds, which `memorywrap --help` can do without.
_HOMES = {
    "BaselineMemory": "layer",
    "Config": "checkpoints.config",
    "Correspondence": "correspondence",
    "Explanation": "explanation.explanation",
    "Lesson": "training.teaching",
    "Maps": "explanation.methods",
    "MemoryBank": "bank",
    "MemoryWrapClassifier": "classifier",
    "MemoryWrapLayer": "layer",
    "PatchCounterfactual": "prediction",
    "Prediction": "prediction",
    "corresponding": "correspondence",
    "flip_set": "what_if",
    "looked_at": "training.teaching",
    "methods": "explanation.explanation",  # which has registered them
    "patch_counterfactual": "patches",
    "register_encoder": "encoders",
    "register_method": "explanation.methods",
    "teach": "training.teaching",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'memorywrap' has no attribute {name!r}")
    return getattr(import_module(f"memorywrap.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
