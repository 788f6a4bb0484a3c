"""How strong runs are that were compared two at a time (`judge.against`): one scale for all that a judge compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edit_eval.core.stats.agreement import BradleyTerry, bradley_terry
from edit_eval.driver.judges import main_judge, other_judges
from edit_eval.driver.rows import read_rows, rows_of
from edit_eval.driver.store import RunReader

__all__ = ["Tournament", "tournaments"]


@dataclass(frozen=True)
class Tournament:
    """What one judge, with one set of rubrics, said of pairs of runs.

    Attributes:
        judge: as people know it: type and model.
        found: strengths of the runs, by the paths of their directories.
    """

    judge: str
    found: BradleyTerry


def tournaments(runs: Sequence[RunReader]) -> list[Tournament]:
    """Return the strengths of runs, one list for each judge that compared any, in the order of its first comparison.

    A run that others were compared with takes part whether or not it is given. A comparison is one edit against one edit;
    those of one source image are dependent, whichever runs they are of. What has no score is no comparison.

    Raises:
        RunError: a run, or what it keeps of another one, cannot be read.
    """
    played: dict[str, tuple[str, list[tuple[str, str, float, str]]]] = {}
    for run in runs:
        own = main_judge(run.info)
        rows = read_rows(run, thumbnails=False)
        for judge in [*([own] if own else []), *other_judges(run.info)]:
            against = judge.judging.against
            if against is None:
                continue
            _, games = played.setdefault(replace(judge.judging, against=None).id, (judge.title, []))
            names = _name(run.path), _name(Path(against.run))
            for row in rows_of(run, rows, judge.judging):
                if row.verdict is not None and row.verdict.overall is not None:
                    games.append((*names, _outcome(row.verdict.overall), row.sample.cluster))
    return [
        Tournament(title, bradley_terry(*map(list, zip(*games, strict=True))))
        for title, games in played.values()
        if games
    ]


def _name(path: Path) -> str:
    return str(path.resolve())


def _outcome(overall: float) -> float:
    """Return 1, 0.5 or 0: a rubric of one's own may give shares of a win."""
    return ((overall > 0.5) - (overall < 0.5) + 1) / 2
