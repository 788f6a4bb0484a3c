"""How far one row got, in words that all reports share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edit_eval.driver.summary import Row, Summary
from edit_eval.views.text import clean

__all__ = ["FLAG_MEANINGS", "Status", "flags_said", "is_missing", "status_of"]

FLAG_MEANINGS = {
    "blank": "one colour all over",
    "nan": "held NaN or infinity",
    "resized": "another size than the editor declares",
    "no_op": "the source, unchanged",
}
"""What each flag of an edit says of it, in a few words."""


@dataclass(frozen=True)
class Status:
    """How far a row got.

    Attributes:
        name: one of six.
        kind: of the failure; None where there is none.
        reason: why, in the judge's or the editor's words; may be empty.
    """

    name: Literal["scored", "unscored", "edit-failed", "not judged", "not edited", "not applicable"]
    kind: str | None = None
    reason: str = ""

    @property
    def label(self) -> str:
        """The name with its kind: `unscored (refused)`."""
        return f"{self.name} ({self.kind})" if self.kind else self.name


def flags_said(summary: Summary) -> str:
    """Return `3 edits are flagged: 2 blank, 1 no_op`, most frequent flag first; empty where none is."""
    if not summary.flagged:
        return ""
    ordered = sorted(summary.flags.items(), key=lambda one: (-one[1], one[0]))
    counts = ", ".join(f"{count} {clean(flag)}" for flag, count in ordered)
    return f"{summary.flagged} edit{' is' if summary.flagged == 1 else 's are'} flagged: {counts}"


def is_missing(row: Row) -> bool:
    """Whether a row is done and has no score: `edit-failed` or `unscored`."""
    if row.edited is None or row.verdict is None:
        return row.edited is False
    return row.edited is False or row.verdict.overall is None


def status_of(row: Row) -> Status:
    """Return how far `row` got."""
    if row.edited is False:
        kind, message = row.edit_failure or ("error", "")
        return Status("edit-failed", kind, message)
    if row.edited is None:
        return Status("not edited")
    if not row.applicable:
        return Status("not applicable", reason="the run that it is compared with has no edit of this sample")
    if row.verdict is None:
        return Status("not judged")
    if row.verdict.overall is None:
        return Status("unscored", row.verdict.unscored, row.verdict.reply)
    return Status(
        "scored", None, next((one for one in row.verdict.reasons.values() if one), row.verdict.reply)
    )
