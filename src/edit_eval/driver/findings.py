"""What the doctor says: one finding a line, typed, with its mend; and how an error becomes one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edit_eval.core.errors import ConfigError
from edit_eval.driver.config import Checked, check_config

__all__ = ["Finding", "Level", "bad", "from_error", "ok", "salvaged", "warn"]

Level = Literal["ok", "warn", "bad"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: `bad`: a run would fail; `warn`: it would run, but worse than it could, or it could not be checked.
        what: was looked at; a config key where there is one.
        detail: what was found.
        mend: what to do; never empty for `bad`.
    """

    level: Level
    what: str
    detail: str
    mend: str = ""


def ok(what: str, detail: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding("ok", what, detail)


def warn(what: str, detail: str, mend: str = "") -> Finding:
    """Return a finding that a run survives."""
    return Finding("warn", what, detail, mend)


def bad(what: str, detail: str, mend: str) -> Finding:
    """Return a finding that a run would fail of."""
    return Finding("bad", what, detail, mend)


def from_error(what: str, error: Exception, mend: str) -> Iterator[Finding]:
    """Yield a bad finding for each fault that an error names.

    Errors meant for users read `where: what is wrong; what to do`: the parts go to their places.

    Args:
        what: was looked at.
        error: a `UserError`, or an `OSError`.
        mend: for faults that say none.
    """
    if isinstance(error, OSError):
        yield bad(what, f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), mend)
        return
    for problem in error.problems if isinstance(error, ConfigError) else [str(error)]:
        text = problem.removeprefix(f"{what}: ")
        detail, _, tail = text.partition("; ")
        if match := re.search(r" \(did you mean (.+?)\?\)", detail):
            detail, tail = detail.replace(match[0], ""), f"write {match[1]}"
        elif tail.startswith("there are "):
            tail = f"use one of {tail.removeprefix('there are ')}"
        yield bad(what, detail, tail or mend)


_PLACEHOLDERS: Mapping[str, Any] = {
    "benchmark": {"type": "scenes"},
    "editor": {"type": "scripted"},
    "judge": None,
}


def salvaged(tree: Mapping[str, Any]) -> tuple[Checked | None, frozenset[str]]:
    """Return what can still be checked of a faulty config, and the names of the sections that cannot be.

    Keys that are at fault are left out. A section that is faulty without them is replaced by a stand-in, which is not
    to be examined.
    """
    left: dict[str, Any] = dict(tree)
    lost: set[str] = set()
    for _ in range(100):
        try:
            return check_config(left), frozenset(lost)
        except ConfigError as error:
            mended: dict[str, bool] = {}
            for problem in error.problems:
                names = problem.partition(": ")[0].split(".")
                left, removed = _without(left, names)
                mended[names[0]] = mended.get(names[0], False) or removed
            for section in _PLACEHOLDERS:
                if mended.get(section) is False and section not in lost:
                    left = {**left, section: _PLACEHOLDERS[section]}
                    lost.add(section)
                    mended[section] = True
            if not any(mended.values()):
                break
    return None, frozenset(_PLACEHOLDERS)


def _without(tree: dict[str, Any], names: list[str]) -> tuple[dict[str, Any], bool]:
    """Return `tree` without the key that `names` lead to, and whether there was one; whole sections stay."""
    name, *rest = names
    if name not in tree or (not rest and name in _PLACEHOLDERS) or rest[-1:] == ["type"]:
        return tree, False
    if not rest:
        return {key: value for key, value in tree.items() if key != name}, True
    if not isinstance(tree[name], Mapping):
        return ({**tree}, False) if name in _PLACEHOLDERS else _without(tree, [name])
    inner, removed = _without(dict(tree[name]), rest)
    return {**tree, name: inner}, removed
