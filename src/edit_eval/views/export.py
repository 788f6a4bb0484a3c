"""The canonical export: what a run produced, one JSON line a sample and repeat, and nothing else.

Two runs that did the same thing give the same bytes, whichever machine, devices, order, number of attempts or interruptions
they had: no time, device, path, message or attempt is in it. So a diff of two exports is a diff of two results.

Keys of a line: `edit_key`, `sample` (id), `repeat`, `edit` (`edited`, `failed` or `missing`), `edit_failure` (kind or
null), `image_sha256`, `verdict_key`, `verdict` (`scored`, `unscored`, `missing` or `not applicable`), `unscored` (kind or null), `overall`,
`scores`, `reply_sha256`. The judge's reasons are read from its reply, so the reply's hash stands for them. Where the judge
wrote nothing (`timeout`, `error`) the reply is a note of ours, which may name a time or a path, and has no hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from edit_eval.core.types import Verdict
from edit_eval.driver.summary import Row

__all__ = ["canonical_lines"]

_ENCODER = json.JSONEncoder(sort_keys=True, allow_nan=False, separators=(",", ":"))


def canonical_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield one line of JSON (ASCII, sorted keys, no newline) a row, sorted by edit key, sample id and repeat.

    Raises:
        ValueError: a score is not a finite number.
    """
    for row in sorted(rows, key=lambda one: (one.edit_key, one.sample.id, one.repeat)):
        yield _ENCODER.encode(_record(row))


def _record(row: Row) -> dict[str, Any]:
    return {
        "edit_key": row.edit_key,
        "sample": row.sample.id,
        "repeat": row.repeat,
        "edit": {True: "edited", False: "failed", None: "missing"}[row.edited],
        "edit_failure": row.edit_failure[0] if row.edit_failure else None,
        "image_sha256": row.edit.get("sha256") if row.edited else None,
        "verdict_key": row.verdict_key,
        **_judged(row.verdict, applicable=row.applicable),
    }


def _judged(verdict: Verdict | None, *, applicable: bool) -> dict[str, Any]:
    if verdict is None:
        return {
            "verdict": "missing" if applicable else "not applicable",
            "unscored": None,
            "overall": None,
            "scores": {},
            "reply_sha256": None,
        }
    wrote = verdict.unscored not in {"timeout", "error"}
    reply = verdict.reply.encode("utf-8", "surrogatepass")
    return {
        "verdict": "scored" if verdict.unscored is None else "unscored",
        "unscored": verdict.unscored,
        "overall": None if verdict.overall is None else float(verdict.overall),
        "scores": {name: float(score) for name, score in verdict.scores.items()},
        "reply_sha256": hashlib.sha256(reply).hexdigest() if wrote else None,
    }
