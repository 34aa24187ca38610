"""Encoders, image -> embedding: their registry, those that are known, and how trained ones are used.

To add one, write a function that builds it, with `@register_encoder("name")` above, in a module that is
imported here or in one of your own.
"""

# What is registered first is named first.
from memorywrap.encoders import small

# isort: split
from memorywrap.encoders import published

# isort: split
from memorywrap.encoders import photo
from memorywrap.encoders.frozen import FrozenEncoder, folded, mirrored
from memorywrap.encoders.photo import PHOTO, PhotoEncoder, PretrainedError, Projected
from memorywrap.encoders.registry import ENCODERS, create_encoder, embedding_dim, register_encoder

__all__ = [
    "ENCODERS",
    "PHOTO",
    "FrozenEncoder",
    "PhotoEncoder",
    "PretrainedError",
    "Projected",
    "create_encoder",
    "embedding_dim",
    "folded",
    "mirrored",
    "photo",
    "published",
    "register_encoder",
    "small",
]
