"""By which judge runs are compared: scores of two judges, or by two rubrics, have no difference that says something."""

from __future__ import annotations

from collections.abc import Sequence

from edit_eval.core.errors import DataError, RunError, shown
from edit_eval.driver.judges import RecordedJudge, main_judge, other_judges, same_judging
from edit_eval.driver.made_with import differences, made_with
from edit_eval.driver.rows import Row, rows_of
from edit_eval.driver.store import RunReader

__all__ = ["common_judges"]


def common_judges(
    runs: Sequence[RunReader], rows: Sequence[Sequence[Row]], base: int, *, any_protocol: bool
) -> list[RecordedJudge]:
    """Return by whose verdicts each run is compared: one judge that all have in common, the base's own first of all.

    Of several the first is taken by which each run has verdicts.

    Args:
        runs: two or more.
        rows: of each, from `read_rows`.
        base: the place of the one that all others are compared with.
        any_protocol: where they have none in common, take each run's own.

    Raises:
        RunError: a run was never judged.
        DataError: they have no judge in common; the line says how to give them one.
    """
    own: list[RecordedJudge] = []
    for run in runs:
        judge = main_judge(run.info)
        if judge is None:
            raise RunError(f"{run.path} has no scores; 'edit-eval score {run.path}' has its edits judged")
        own.append(judge)
    had = [[judge, *other_judges(run.info)] for run, judge in zip(runs, own, strict=True)]
    common = [found for candidate in had[base] if (found := _had_by_all(candidate, had)) is not None]
    for found in common:
        if all(
            any(row.verdict for row in rows_of(run, its_rows, judge.judging))
            for run, its_rows, judge in zip(runs, rows, found, strict=True)
        ):
            return found
    if common:
        return common[0]
    if not any_protocol:
        raise DataError(_not_alike(runs, own, base))
    return own


def _had_by_all(
    candidate: RecordedJudge, had: Sequence[Sequence[RecordedJudge]]
) -> list[RecordedJudge] | None:
    """Return the judges of all runs that are this one; None if a run never had it."""
    found = [
        next((one for one in judges if same_judging(one.judging, candidate.judging)), None) for judges in had
    ]
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else None


def _not_alike(runs: Sequence[RunReader], judges: Sequence[RecordedJudge], base: int) -> str:
    """Return one line about runs that no judge has judged alike, and what to do."""
    other = next(
        number for number, judge in enumerate(judges) if not same_judging(judges[base].judging, judge.judging)
    )
    names = ("protocol", "judge.", "rubrics", "judge compares with")
    found = differences(*(made_with(runs[number].info, judges[number]) for number in (base, other)))
    said = [
        f"{one.label} {shown(one.base, 60)} and {shown(one.other, 60)}"
        for one in found
        if one.label.startswith(names)
    ]
    more = f" and {len(said) - 2} more" if len(said) > 2 else ""
    return (
        f"{runs[base].path} and {runs[other].path} are not judged alike ({'; '.join(said[:2])}{more}): "
        f"'edit-eval score {runs[other].path} --judge {runs[base].path}' has both judged by one judge; "
        "--any-protocol compares them as they are"
    )
