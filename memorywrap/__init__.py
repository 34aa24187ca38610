"""Memory Wrap: image classifiers that show the training samples behind each prediction."""

from memorywrap.bank import MemoryBank
from memorywrap.checkpoints.config import Config
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.encoders import register_encoder
from memorywrap.explanation.explanation import Explanation
from memorywrap.explanation.methods import Maps, methods, register_method
from memorywrap.layer import BaselineMemory, MemoryWrapLayer
from memorywrap.prediction import Prediction
from memorywrap.what_if import flip_set

__all__ = [
    "BaselineMemory",
    "Config",
    "Explanation",
    "Maps",
    "MemoryBank",
    "MemoryWrapClassifier",
    "MemoryWrapLayer",
    "Prediction",
    "flip_set",
    "methods",
    "register_encoder",
    "register_method",
]
