"""What changed between the identities of two starts of a run, in words. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edit_eval.core.identity import canonical_json

__all__ = ["changes"]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what changed between the identities of two starts; a stage that was not there before is no change."""
    known = {name: value for name, value in before.items() if value is not None}
    # Both as JSON would give them back: a tuple is a list, 4.0 is 4.
    old, new = (json.loads(canonical_json({name: one.get(name) for name in known})) for one in (before, now))
    return [] if old == new else _differences(old, new)


def _differences(before: Any, now: Any, where: str = "") -> list[str]:
    """Return what changed between two identities, one line per leaf."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        lines: list[str] = []
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                lines += _differences(before.get(key), now.get(key), f"{where}.{key}" if where else str(key))
        return lines
    return [f"{where}: {_short(before)} -> {_short(now)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
