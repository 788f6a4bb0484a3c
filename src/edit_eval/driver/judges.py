"""The judges that a run has had, as run.json keeps them: the one that its headline is of, and the others.

The run's own judge is that of its config; what `run.json` says of it stands at the top, as if there were no other. A judge
that was asked beside it (`edit-eval score RUN --judge FILE`), and one that was the run's own before the config named
another, is one of `other_judges`. No judge is ever dropped, and one that comes back is the same one again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edit_eval.core.headlines import Headline
from edit_eval.core.identity import canonical_json
from edit_eval.driver.plan import Judging

__all__ = ["SAID", "RecordedJudge", "is_beside", "judges_info", "main_judge", "other_judges", "same_judging"]

SAID = ("protocol", "judge", "judge_size_policy", "judging", "headlines", "repeat_fraction")
"""What run.json says of a judge; of another than its own also `config`, its section of a config."""


@dataclass(frozen=True)
class RecordedJudge:
    """A judge that a run has had.

    Attributes:
        title: as people know it: type and model.
        protocol: id of what its scores measure.
        size_policy: what sizes of images it sees, in words.
        judging: what decides its verdicts' keys.
        headlines: the benchmark's own numbers.
        repeat_fraction: share of the edits that it was asked about twice (`plan.judged_again`).
    """

    title: str
    protocol: str
    size_policy: str
    judging: Judging
    headlines: Sequence[Headline] = ()
    repeat_fraction: float = 0.0


def main_judge(info: Mapping[str, Any]) -> RecordedJudge | None:
    """Return the judge that a run's headline is of; None while nothing was judged."""
    return _read(info) if info.get("judging") else None


def other_judges(info: Mapping[str, Any]) -> list[RecordedJudge]:
    """Return the judges beside it, in the order in which they came."""
    return [_read(one) for one in info.get("other_judges") or ()]


def _read(said: Mapping[str, Any]) -> RecordedJudge:
    return RecordedJudge(
        title=str(said.get("judge") or ""),
        protocol=str(said.get("protocol") or ""),
        size_policy=str(said.get("judge_size_policy") or ""),
        judging=Judging.from_json(said["judging"]),
        headlines=tuple(Headline.from_json(one) for one in said.get("headlines") or ()),
        repeat_fraction=float(said.get("repeat_fraction") or 0.0),
    )


def is_beside(info: Mapping[str, Any], judging: Judging) -> bool:
    """Whether a judge asked with `--judge` is another one than the run's own; the first of all becomes that."""
    own = main_judge(info)
    return own is not None and not same_judging(own.judging, judging)


def judges_info(
    before: Mapping[str, Any], now: Mapping[str, Any] | None, *, beside: bool = False
) -> dict[str, Any]:
    """Return what run.json says of judges from now on.

    Args:
        before: what it said.
        now: `protocol`, `judge`, `judge_size_policy`, `judging`, `headlines`, `repeat_fraction`, and `config`, of the judge
            that is asked now; None if none is.
        beside: whether it is asked beside the run's own.
    """
    own: dict[str, Any] = {name: before.get(name) for name in SAID}
    others = list(before.get("other_judges") or ())
    if now is not None:
        known = [one for one in (own, *others) if one["judging"] and _says_same(one, now)]
        shares = [one.get("repeat_fraction") or 0.0 for one in (now, *known)]
        now = {
            **now,
            "repeat_fraction": max(shares) or None,
        }  # a second verdict, once given, is not forgotten
        if beside:
            others = _with(others, now)
        else:
            if own["judging"] and is_beside(before, Judging.from_json(now["judging"])):
                config = (before.get("config") or {}).get("judge")
                others = _with(others, {**own, "config": config})
            others = [one for one in others if not _says_same(one, now)]
            own = {name: now[name] for name in SAID}
    return {**own, "other_judges": others} if others else own


def _with(others: Sequence[Mapping[str, Any]], one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the list with `one` in the place of the same judge, or at the end."""
    places = [number for number, other in enumerate(others) if _says_same(other, one)]
    place = places[0] if places else len(others)
    return [*others[:place], one, *others[place + 1 :]]


def _says_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return same_judging(Judging.from_json(one["judging"]), Judging.from_json(other["judging"]))


def same_judging(one: Judging, other: Judging) -> bool:
    """Whether two are one judge: alike in everything, of the rubrics in those that both have used.

    A run with more samples than at its last start may use rubrics that it did not need before.
    """
    shared = one.rubrics.keys() & other.rubrics.keys()
    return (
        canonical_json(one.identity) == canonical_json(other.identity)
        and set(one.reads) == set(other.reads)
        and (one.against and one.against.run) == (other.against and other.against.run)
        and bool(shared)
        and all(one.rubrics[name] == other.rubrics[name] for name in shared)
    )
