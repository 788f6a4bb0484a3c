"""Whether every verdict that is wanted was there when last looked for, and nothing that says so has changed since.

To know which verdicts are missing, every question is written out and hashed, and every verdict read: of 100,000 samples,
300 and 100 MB. What goes into that is the judge, samples.jsonl (compared before with what is wanted), the edits' hashes
in edits.jsonl, and the keys in verdicts.jsonl. As long as all of it is the same, so is the answer; else everything is
looked for again.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from edit_eval import __version__
from edit_eval.core.identity import digest
from edit_eval.driver.hashes import file_fact
from edit_eval.driver.plan import Judging
from edit_eval.driver.runinfo import WHOLE

__all__ = ["is_settled", "ledger_is_as_noted", "note_settled", "verdicts_hang_on"]

_NOTE = ".settled"
"""Holds what `verdicts_hang_on` returned when none was missing, and what `_ledger` said."""

_LEDGER = "verdicts.jsonl"
_FILES = ("samples.jsonl", "edits.jsonl", _LEDGER)


def verdicts_hang_on(root: Path, judging: Judging, *, twice: float, retry_failed: bool) -> str:
    """Return a digest of all that decides which verdicts are missing on the edits that are there.

    It is empty where that cannot be said: a file is missing, or the judge compares with the edits of another run.

    Args:
        root: run directory; samples.jsonl is what is wanted.
        judging: who judges.
        twice: share of the edits that are judged twice, 0..1.
        retry_failed: whether unscored verdicts are to be tried again.
    """
    if judging.against:
        return ""
    try:
        facts = [file_fact(name, os.stat(root / name)) for name in _FILES]  # noqa: PTH116
        with contextlib.suppress(FileNotFoundError):  # of a shard alone, says what is judged twice
            facts.append(file_fact(WHOLE, os.stat(root / WHOLE)))  # noqa: PTH116
    except OSError:
        return ""
    return digest([__version__, judging.id, judging.reads, twice, retry_failed, facts])


def is_settled(root: Path, hanging_on: str) -> bool:
    """Whether no verdict was missing when last looked for, and what that hangs on is the same."""
    return bool(hanging_on) and _noted(root)[0] == hanging_on


def ledger_is_as_noted(root: Path) -> bool:
    """Whether the ledger of verdicts was read to its end by this version, and is still the same file."""
    try:
        return _noted(root)[1] == _ledger(root)
    except OSError:
        return False


def note_settled(root: Path, hanging_on: str) -> None:
    """Note that no verdict is missing; where that cannot be written, they are looked for again."""
    if hanging_on and not (is_settled(root, hanging_on) and ledger_is_as_noted(root)):
        with contextlib.suppress(OSError):
            (root / _NOTE).write_text(f"{hanging_on} {_ledger(root)}", encoding="utf-8")


def _noted(root: Path) -> tuple[str, str]:
    """Return what was noted; empty texts if nothing was."""
    try:
        hanging_on, _, ledger = (root / _NOTE).read_text(encoding="utf-8").partition(" ")
    except (OSError, ValueError):
        return "", ""
    return hanging_on, ledger


def _ledger(root: Path) -> str:
    """Return a digest of which file the ledger is, and who read it. Raises `OSError`."""
    return digest([__version__, file_fact(_LEDGER, os.stat(root / _LEDGER))])  # noqa: PTH116
