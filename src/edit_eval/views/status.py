"""How far one row got, in words that all reports share."""

from __future__ import annotations

from edit_eval.driver.status import Status, is_missing, status_of
from edit_eval.driver.summary import Summary
from edit_eval.views.text import clean

__all__ = ["FLAG_MEANINGS", "Status", "flags_said", "is_missing", "status_of"]

FLAG_MEANINGS = {
    "blank": "one colour all over",
    "nan": "held NaN or infinity",
    "resized": "another size than the editor declares",
    "no_op": "the source, unchanged",
}
"""What each flag of an edit says of it, in a few words."""


def flags_said(summary: Summary) -> str:
    """Return `3 edits are flagged: 2 blank, 1 no_op`, most frequent flag first; empty where none is."""
    if not summary.flagged:
        return ""
    ordered = sorted(summary.flags.items(), key=lambda one: (-one[1], one[0]))
    counts = ", ".join(f"{count} {clean(flag)}" for flag, count in ordered)
    return f"{summary.flagged} edit{' is' if summary.flagged == 1 else 's are'} flagged: {counts}"
