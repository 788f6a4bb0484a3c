"""Whether data read from a file of a run has the shape that is read of it.

A run's files can be damaged, cut off, or written by hand. What they hold is checked here, once, where it is read, so
that whoever uses it need not doubt it. A shape is

- a type: `str`, `int` (of 64 bits), `float` (any finite number), `bool`, `dict`, `list`, or `None`; a bool is no
  number;
- a frozenset of texts: one of them;
- a tuple of shapes: any of them;
- a list of one shape: a list of such things;
- a dict of name to shape: an object in which what is there of these names has that shape; a name that begins with `!`
  must be there. Other names are left alone;
- `Each(shape)`: an object in which every value has that shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Each", "Misfit", "misfit_of"]

Misfit = Callable[[Any], str | None]
"""Returns the place (`starts.0.hosts`) where a value from JSON has not the shape, or None if it has."""

_BEYOND = 1 << 63
_ALL = "all of it"
_MISSING = object()


@dataclass(frozen=True)
class Each:
    """An object, of which every value has `shape`."""

    shape: Any


def misfit_of(shape: Any) -> Misfit:
    """Return the check for a shape (see the top of this module)."""
    if isinstance(shape, dict):
        return _names(shape)
    if isinstance(shape, Each):
        part = misfit_of(shape.shape)
        return lambda value: _first(value.items(), part) if isinstance(value, dict) else _ALL
    if isinstance(shape, list):
        part = misfit_of(shape[0])
        return lambda value: _first(enumerate(value), part) if isinstance(value, list) else _ALL
    if isinstance(shape, tuple):
        return _any_of([misfit_of(one) for one in shape])
    return _leaf(shape)


def _any_of(several: Sequence[Misfit]) -> Misfit:
    def check(value: Any) -> str | None:
        deepest = _ALL
        for one in several:
            found = one(value)
            if found is None:
                return None
            deepest = deepest if found == _ALL else found
        return deepest

    return check


def _leaf(shape: Any) -> Misfit:
    if shape is int:
        return lambda value: None if type(value) is int and -_BEYOND <= value < _BEYOND else _ALL
    if shape is float:
        return lambda value: None if _is_number(value) else _ALL
    if shape is None:
        return lambda value: None if value is None else _ALL
    if isinstance(shape, frozenset):
        return lambda value: None if type(value) is str and value in shape else _ALL
    return lambda value: None if type(value) is shape else _ALL


def _is_number(value: Any) -> bool:
    if type(value) is int:
        return -_BEYOND <= value < _BEYOND
    return type(value) is float and math.isfinite(value)


def _first(parts: Any, check: Misfit) -> str | None:
    for name, value in parts:
        found = check(value)
        if found is not None:
            return _at(name, found)
    return None


def _names(shape: Mapping[str, Any]) -> Misfit:
    checks = [(name.removeprefix("!"), name.startswith("!"), misfit_of(one)) for name, one in shape.items()]

    def check(value: Any) -> str | None:
        if type(value) is not dict:
            return _ALL
        for name, must, part in checks:
            one = value.get(name, _MISSING)
            if one is _MISSING:
                if must:
                    return name
                continue
            found = part(one)
            if found is not None:
                return _at(name, found)
        return None

    return check


def _at(name: object, found: str) -> str:
    return str(name) if found == _ALL else f"{name}.{found}"
