"""Where the spread of a run's scores comes from: its samples, the seeds of one sample, or the judge."""

from __future__ import annotations

from collections.abc import Sequence

from edit_eval.core.stats import Variance, split
from edit_eval.driver.judges import RecordedJudge
from edit_eval.driver.rows import Row, rows_of
from edit_eval.driver.store import RunReader

__all__ = ["variance_of"]


def variance_of(run: RunReader, rows: Sequence[Row], judge: RecordedJudge) -> Variance | None:
    """Return how much of the spread is due to what, from repeats and second verdicts; None where there are neither.

    Args:
        run: the run.
        rows: all of its rows, with this judge's verdicts.
        judge: whose second verdicts count.
    """
    twice = run.judged_twice(judge.repeat_fraction)
    if not twice and not any(row.repeat for row in rows):
        return None
    again = rows_of(run, rows, judge.judging, repeat=1, among=twice) if twice else []
    scored = [
        (row.verdict.overall, row.sample.id, row.repeat)
        for row in (*rows, *again)
        if row.applicable and row.verdict and row.verdict.overall is not None
    ]
    found = split(
        [value for value, _, _ in scored], [name for _, name, _ in scored], [seed for _, _, seed in scored]
    )
    return found if found.doubled else None
