"""Memory Wrap: image classifiers that show the training samples behind each prediction."""

from memorywrap.bank import MemoryBank
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.encoders import register_encoder
from memorywrap.explanation.explanation import Explanation
from memorywrap.layer import BaselineMemory, MemoryWrapLayer
from memorywrap.prediction import Prediction

__all__ = [
    "BaselineMemory",
    "Explanation",
    "MemoryBank",
    "MemoryWrapClassifier",
    "MemoryWrapLayer",
    "Prediction",
    "register_encoder",
]
