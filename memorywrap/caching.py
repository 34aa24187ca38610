"""Properties that are computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from functools import cached_property
else:

    class cached_property:
        """That of functools as it is from Python 3.12 on. Before, all instances of a class share a lock
        for it: the work of one thread holds up all others, and a process that is forked meanwhile
        finds it held for ever."""

        def __init__(self, compute: Callable[[Any], Any]):
            self._compute = compute
            self.__doc__ = compute.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            value = self._compute(instance)
            # Found there from now on, since a property without __set__ comes second.
            instance.__dict__[self._name] = value
            return value


__all__ = ["cached_property"]
