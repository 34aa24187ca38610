"""The registry of attribution methods: what each is asked, and what it gives.

A new method is a function with `@register_method("name")`, in a module that `explanation.py` imports or
in one of your own; the page, the web API, the command line and the reports offer what is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor, nn

from memorywrap.explanation.baselines import DEFAULT
from memorywrap.explanation.passes import Embed
from memorywrap.explanation.path_cache import PathCache

INTEGRATED_GRADIENTS = "integrated_gradients"  # the default

# (queries (batch, dim), memory embeddings (batch, used, dim)) -> the attributed logit (batch,).
Logit = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Case:
    """One prediction to attribute: the logit of a class to an image and the samples it used.

    Attributes:
        image: (3, height, width) in [0, 1].
        memory: the used samples (used, 3, height, width) in [0, 1].
        target: the class whose logit is attributed.
        against: attribute the logit of `target` minus the logit of this class instead.
        shown: positions of the used samples whose maps are wanted.
        contrast: a sample (3, height, width) in [0, 1] that was not used and whose map is wanted,
            with its key.
        keys: one key per used sample for the cache, as `MemoryBank.keys` gives them.
    """

    image: Tensor
    memory: Tensor
    target: int
    against: int | None = None
    shown: Sequence[int] = ()
    contrast: tuple[Tensor, bytes] | None = None
    keys: Sequence[bytes] | None = None


@dataclass(frozen=True, eq=False)
class Maps:
    """Attribution maps, each (3, height, width).

    Attributes:
        input_map: of the input.
        memory_maps: of the shown samples, by position.
        contrast_map: of the contrast, as if it stood beside the used samples: it has no weight at
            the end of a path, but may have some on the way. None if not asked for.
    """

    input_map: Tensor
    memory_maps: dict[int, Tensor]
    contrast_map: Tensor | None


class Attribute(Protocol):
    """Attributes predictions; see `integrated_gradients` for the arguments. A method that takes no
    steps or has no use for the cache ignores them."""

    def __call__(
        self,
        embed: Embed,
        layer: nn.Module,
        cases: Sequence[Case],
        *,
        baseline: str = DEFAULT,
        steps: int | None = None,
        cache: PathCache | None = None,
    ) -> Sequence[Maps]: ...


class Method(NamedTuple):
    """An attribution method.

    Attributes:
        attribute: what gives the maps.
        has_baseline: whether the baseline makes a difference to them.
    """

    attribute: Attribute
    has_baseline: bool


METHODS: dict[str, Method] = {}

_Attribute = TypeVar("_Attribute", bound=Attribute)


def register_method(name: str, *, has_baseline: bool = False) -> Callable[[_Attribute], _Attribute]:
    """Makes an attribution method known under a name.

    Args:
        name: what it is called everywhere. A name that is taken is given to the new one.
        has_baseline: whether the baseline makes a difference to its maps.
    """

    def add(attribute: _Attribute) -> _Attribute:
        METHODS[name] = Method(attribute, has_baseline)
        return attribute

    return add


def methods() -> list[str]:
    """Names of the attribution methods, the default first."""
    return sorted(METHODS, key=lambda name: name != INTEGRATED_GRADIENTS)


def has_baseline(method: str) -> bool:
    """Whether the baseline makes a difference to a method."""
    return METHODS[method].has_baseline


def logit_of(layer: nn.Module, target: int, against: int | None = None) -> Logit:
    """The logit of a class, or how far it is above the logit of another class."""

    def logit(queries: Tensor, memory: Tensor) -> Tensor:
        logits = layer(queries, memory)  # (batch, classes)
        return logits[:, target] if against is None else logits[:, target] - logits[:, against]

    return logit
