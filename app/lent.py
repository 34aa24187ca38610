"""A model that belongs to one visitor."""

from __future__ import annotations

import secrets
import weakref

from app.models import Models
from memorywrap import MemoryWrapClassifier


class Lent:
    """A model among those of the page under a name that nobody can guess, for as long as this is kept.

    Args:
        models: those of the page.
        classifier: the visitor's own.

    Attributes:
        name: what it is called there.
    """

    def __init__(self, models: Models, classifier: MemoryWrapClassifier):
        self.name = f"yours-{secrets.token_hex(16)}"
        models.lend(self.name, classifier)
        weakref.finalize(self, models.take_back, self.name)
