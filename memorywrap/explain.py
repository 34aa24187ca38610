"""The import name of before: explanations are at home in `memorywrap.explanation`."""

from memorywrap.explanation.explanation import Explanation, explain
from memorywrap.explanation.methods import INTEGRATED_GRADIENTS, has_baseline, methods
from memorywrap.prediction import Prediction

__all__ = [
    "INTEGRATED_GRADIENTS",
    "Explanation",
    "Prediction",
    "explain",
    "has_baseline",
    "methods",
]
