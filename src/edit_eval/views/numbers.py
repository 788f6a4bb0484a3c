"""The numbers of a run as its page holds them: written into the page's head, read back by a start that has nothing to do.

A page says what it was made from. As long as that is the same, so is all that it shows, and neither has to be made
again. What cannot be read back (of another version, changed by hand) is as if it were not there.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from edit_eval import __version__
from edit_eval.core.identity import digest
from edit_eval.driver.against import PREFIX
from edit_eval.driver.hashes import file_fact
from edit_eval.driver.summary import Row, Summary
from edit_eval.driver.usage import Usage
from edit_eval.views.status import is_missing

__all__ = ["FEW", "Numbers", "made_from", "numbers_of", "read_numbers", "written"]

_READ = ("run.json", "samples.jsonl", "edits.jsonl", "verdicts.jsonl", "telemetry.jsonl")
_HEAD_LINES = 12
FEW = 5
"""Rows without a score that a run names at its end."""
_META = re.compile(r'<meta name="edit-eval-(made-from|numbers)" content="([^"]*)">')


@dataclass(frozen=True)
class Numbers:
    """What a start says at its end.

    Attributes:
        summary: of the run.
        usage: of the run; None where nothing was recorded.
        missing: how many rows got no score, or no edit.
        first_missing: the first few of them.
    """

    summary: Summary
    usage: Usage | None
    missing: int
    first_missing: tuple[Row, ...]


def numbers_of(summary: Summary, rows: Sequence[Row], usage: Usage | None) -> Numbers:
    """Return the numbers of a run."""
    missing = [row for row in rows if is_missing(row)]
    first = sorted(missing, key=lambda row: row.index)[:FEW]
    return Numbers(summary, usage, len(missing), tuple(first))


def made_from(run_dir: Path, price: float | None = None) -> str:
    """Return what a page made now is made from: 64 hex digits, the same as long as none of the run's files changed.

    Size, time of change and inode are looked at, as for images; where the run lies; and the version of edit-eval. To be asked before the
    files are read: what is appended meanwhile makes the page old.

    Args:
        run_dir: the run directory.
        price: of a GPU hour.
    """
    facts: list[object] = [__version__, price, os.path.realpath(run_dir)]  # links of the page are relative
    beside = [*run_dir.glob(f"{PREFIX}*"), *run_dir.glob("shards/*/telemetry.jsonl")]
    for name in [*_READ, *sorted(str(one.relative_to(run_dir)) for one in beside)]:
        try:
            facts.append(file_fact(name, os.stat(run_dir / name)))  # noqa: PTH116
        except OSError:
            facts.append(None)
    return digest(facts)


def written(numbers: Numbers, made_from: str) -> tuple[str, str]:
    """Return what the page's head holds: what it was made from, with a digest of the numbers; and these.

    Both are empty for numbers that JSON cannot hold, so that such a page is always made again.
    """
    try:
        text = json.dumps(asdict(numbers), allow_nan=False)
    except (TypeError, ValueError):
        return "", ""
    return f"{made_from} {digest(text)}", text


def read_numbers(page: Path, made_from: str) -> Numbers | None:
    """Return the numbers of a page that was made from just this; None if it is another, damaged, or not there."""
    from pydantic import TypeAdapter, ValidationError

    try:
        with page.open(encoding="utf-8") as file:
            found = filter(None, map(_META.match, islice(file, _HEAD_LINES)))
            head = {match[1]: match[2] for match in found}
    except (OSError, ValueError):
        return None
    text = html.unescape(head.get("numbers", ""))
    if head.get("made-from") != f"{made_from} {digest(text)}":
        return None
    try:
        return TypeAdapter(Numbers).validate_json(text)
    except ValidationError:
        return None
