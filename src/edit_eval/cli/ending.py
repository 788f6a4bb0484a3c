"""What is said when a run has ended: worked out of its files, and not a second time while these are the same.

A run of 100,000 samples takes ten seconds to report. What was said is kept beside the page, with the size and time of
every file that it was made of; the same command again, which finds nothing to do, says it again at once.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edit_eval import __version__
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import read_rows, summarize
from edit_eval.driver.telemetry import read_telemetry
from edit_eval.driver.usage import usage
from edit_eval.views.closing import closing_block
from edit_eval.views.report import html_report, json_report
from edit_eval.views.usage import usage_block

__all__ = ["Ending", "ending_of"]

_FORMAT = 1
_PAGE = "report/index.html"
_KEPT = "report/ending.json"
_MADE_OF = ("run.json", "samples.jsonl", "edits.jsonl", "verdicts.jsonl", "telemetry.jsonl", _PAGE)


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        text: the numbers and what they took, for a terminal.
        data: the report as JSON data, without its rows.
        unfinished: how many edits failed or verdicts are unscored.
        edits_reach, scores_reach: whether enough samples have an edit, a score (`Summary.reaches`).
    """

    text: str
    data: Mapping[str, Any]
    unfinished: int
    edits_reach: bool
    scores_reach: bool


def ending_of(run: Path, price: float | None, *, changed: bool) -> Ending:
    """Return how the run in a directory ended, and see to it that its page says the same.

    Args:
        run: run directory.
        price: of a GPU hour.
        changed: whether something was done to it just now.

    Raises:
        RunError: the run cannot be read, or its page cannot be written.
    """
    kept = None if changed else _kept(run, price)
    return kept or _worked_out(run, price)


def _worked_out(run: Path, price: float | None) -> Ending:
    before = _made_of(run, price)  # what is added while it is read makes this out of date, as it should
    reader = RunReader(run)
    rows = read_rows(reader)
    summary = summarize(reader, rows)
    used = usage(read_telemetry(run), price)
    html_report(run, summary, rows, used)
    ending = Ending(
        text="\n\n".join([closing_block(summary), *([usage_block(used)] if used else [])]),
        data=json_report(summary, [], used),
        unfinished=sum(summary.edit_failed.values()) + sum(summary.unscored.values()),
        edits_reach=summary.reaches(judged=False),
        scores_reach=summary.reaches(judged=True),
    )
    before["files"][_PAGE] = _state(run / _PAGE)
    with contextlib.suppress(OSError):
        (run / _KEPT).write_text(json.dumps({"made_of": before, "ending": asdict(ending)}))
    return ending


def _kept(run: Path, price: float | None) -> Ending | None:
    """Return what was said before, if all that it was made of is as it was; None also where that is not to be read."""
    try:
        kept = json.loads((run / _KEPT).read_text())
        if kept["made_of"] != _made_of(run, price):
            return None
        told = kept["ending"]
        is_whole = isinstance(told["text"], str) and isinstance(told["data"], dict)
        return Ending(**told) if is_whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made_of(run: Path, price: float | None) -> dict[str, Any]:
    files = {name: _state(run / name) for name in _MADE_OF}
    return {"format": _FORMAT, "edit_eval": __version__, "price": price, "files": files}


def _state(path: Path) -> list[int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]
