"""What else was said of an edit: second verdicts, other judges, the spread of several readings.

Where these differ, the judge is least sure, and a person may want to look. Nothing of it moves a score.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edit_eval.core.types import Rubric, Verdict
from edit_eval.driver.judges import RecordedJudge, main_judge, other_judges
from edit_eval.driver.rows import Row, rows_of
from edit_eval.driver.store import RunReader

__all__ = ["Opinion", "Opinions", "opinions_on"]


@dataclass(frozen=True)
class Opinion:
    """Another verdict on the same edit.

    Attributes:
        judge: who gave it; empty for the run's own judge, asked again.
        overall: its overall score, on that judge's scale.
        apart: how far it is from the run's own verdict, as a share of the scale (of either judge), 0..1.
    """

    judge: str
    overall: float
    apart: float


@dataclass(frozen=True)
class Opinions:
    """What else was said of one edit.

    Attributes:
        others: other verdicts that have a score.
        spread: the largest standard deviation of several readings of one dimension, as a share of its scale; None where the
            judge read once.
    """

    others: tuple[Opinion, ...] = ()
    spread: float | None = None

    @property
    def disagreement(self) -> float:
        """The largest of what they are apart, as a share of the scale."""
        return max([one.apart for one in self.others] + ([] if self.spread is None else [self.spread]))


def opinions_on(run: RunReader, rows: Sequence[Row]) -> dict[int, Opinions]:
    """Return what else was said, by the rows' index; of an edit without a score, or of which nothing was, there is none.

    Args:
        run: the run.
        rows: all of its rows, from `read_rows`.
    """
    own = main_judge(run.info)
    if own is None:
        return {}
    others: dict[int, list[Opinion]] = defaultdict(list)
    for judge, title, theirs in _asked(run, rows, own):
        verdicts = {row.index: row.verdict for row in theirs}
        for row in rows:
            opinion = _opinion(row, own, judge, title, verdicts.get(row.index))
            if opinion:
                others[row.index].append(opinion)
    found = {}
    for row in rows:
        spread = _spread(row, own)
        if spread is not None or row.index in others:
            found[row.index] = Opinions(tuple(others.get(row.index, ())), spread)
    return found


def _asked(
    run: RunReader, rows: Sequence[Row], own: RecordedJudge
) -> list[tuple[RecordedJudge, str, Sequence[Row]]]:
    """Return whose verdicts there may be beside those that count, what they are called, and the rows with them."""
    found: list[tuple[RecordedJudge, str, Sequence[Row]]] = []
    twice = run.judged_twice(own.repeat_fraction)
    if twice:
        found.append((own, "", rows_of(run, rows, own.judging, repeat=1, among=twice)))
    found += [(one, one.title, rows_of(run, rows, one.judging)) for one in other_judges(run.info)]
    return found


def _opinion(
    row: Row, own: RecordedJudge, judge: RecordedJudge, title: str, verdict: Verdict | None
) -> Opinion | None:
    score = row.verdict.overall if row.verdict else None
    if score is None or verdict is None or verdict.overall is None:
        return None
    apart = abs(
        _placed(score, own.judging.rubric_of(row.sample))
        - _placed(verdict.overall, judge.judging.rubric_of(row.sample))
    )
    return Opinion(title, verdict.overall, apart)


def _placed(score: float, rubric: Rubric) -> float:
    """Return where a score lies on its scale, 0..1."""
    return (score - rubric.low) / (rubric.high - rubric.low)


def _spread(row: Row, own: RecordedJudge) -> float | None:
    if row.verdict is None or row.verdict.overall is None:
        return None
    spread = row.verdict.facts.get("spread")
    if not isinstance(spread, Mapping):
        return None
    scales = {one.name: one.high - one.low for one in own.judging.rubric_of(row.sample).dimensions}
    shares = [
        value / scales[name]
        for name, value in spread.items()
        if name in scales and isinstance(value, (int, float)) and math.isfinite(value)
    ]
    return max(shares, default=None)
