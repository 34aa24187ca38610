"""What settings must be: checks that name the one that is wrong."""

from __future__ import annotations

import math
from typing import Any, get_origin, get_type_hints

_CALLED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a tuple",
}


def check_types(settings: Any) -> None:
    """Check that the fields of a dataclass hold what they are annotated with. A whole number is a
    number, too; true and false are none.

    Raises:
        ValueError: names the first field that does not.
    """
    for name, hint in get_type_hints(type(settings)).items():
        kind, value = get_origin(hint) or hint, getattr(settings, name)
        if kind in _CALLED:
            fits = type(value) in ((int, float) if kind is float else (kind,))
        else:
            fits = isinstance(value, hint)
        if not fits:
            wanted = _CALLED.get(kind, getattr(hint, "__name__", str(hint)))
            raise ValueError(f"{name}: expected {wanted}, received {value!r}")


def check_range(settings: Any, least: float, most: float, *names: str) -> None:
    """Check that settings lie between two numbers, infinity excluded.

    Raises:
        ValueError: names the first that does not.
    """
    for name in names:
        value = getattr(settings, name)
        if not (math.isfinite(value) and least <= value <= most):
            wanted = f"at least {least:g}" if most == math.inf else f"{least:g} to {most:g}"
            raise ValueError(f"{name}: expected {wanted}, received {value}")


def check_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Check that a setting is one of those known.

    Raises:
        ValueError: names it and what is known.
    """
    if value not in known:
        raise ValueError(f"unknown {name} {value!r}: expected one of {', '.join(known)}")
