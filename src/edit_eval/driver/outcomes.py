"""What a host may say that came of a task: held against what was asked, before a word of it is recorded.

A host runs other people's code, and whatever writes to its socket speaks in its name. Knows ledgers' records, not how
they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edit_eval.core.types import Rubric, Verdict
from edit_eval.driver.store import image_is_intact, image_path
from edit_eval.judges.contract import held_to

__all__ = ["checked_edit", "checked_verdict"]


def checked_edit(root: Path, key: str, outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the ledger records of an edit: `image`, `source_size`, `seconds`, `steps`, `flags` ...

    Args:
        root: run directory.
        key: of the edit.
        outcome: what the host sent.

    Raises:
        ValueError: a field is missing or of another kind, or the image that it speaks of is not there.
    """
    whole = {name: _whole(outcome, name) for name in ("bytes", "mtime_ns", "width", "height", "steps")}
    sha256 = outcome.get("sha256")
    if not isinstance(sha256, str) or len(sha256) != 64:
        raise ValueError("an edit without the hash of its image")
    seconds = outcome.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        raise ValueError(f"an edit that took {seconds!r:.80} seconds")
    sizes = _numbers(outcome, "source_size")
    if len(sizes) != 2:
        raise ValueError("an edit without the size of its source")
    steps = whole.pop("steps")
    record = {
        "image": {"sha256": sha256, **whole},
        "source_size": sizes,
        "seconds": seconds,
        "steps": steps,
        "flags": _names(outcome, "flags"),
    }
    if outcome.get("first_frames"):
        record["first_frames"] = _numbers(outcome, "first_frames")
    if not image_is_intact(root, key, record):
        raise ValueError(f"an edit whose image is not in {root / image_path(key)}")
    return record


def checked_verdict(rubric: Rubric, outcome: Mapping[str, Any]) -> Verdict:
    """Return the verdict that a host sent. Raises `ValueError` for one that the rubric does not allow."""
    try:
        return held_to(rubric, Verdict.from_json(outcome))
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"a verdict of another shape: {error}") from error


def _whole(fields: Mapping[Any, Any], name: Any) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise ValueError(f"an edit with {name} {value!r:.80}")
    return value


def _names(fields: Mapping[str, Any], name: str) -> list[str]:
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"an edit with {name} {value!r:.80}")
    return value


def _numbers(fields: Mapping[str, Any], name: str) -> list[int]:
    value = fields.get(name)
    if not isinstance(value, list):
        raise ValueError(f"an edit with {name} {value!r:.80}")  # noqa: TRY004 - what a host says is of no type
    return [_whole({name: one}, name) for one in value]
