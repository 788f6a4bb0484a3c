"""How far one row of a run got, in words that views, exports and comparisons share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edit_eval.driver.rows import Row

__all__ = ["Status", "is_missing", "status_of"]


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
