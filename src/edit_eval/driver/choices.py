"""What a judge's hosts are told so that they choose an engine once, alike, and as the run has begun."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edit_eval.driver.plan import Judging, WantedEdit

__all__ = ["engine_options"]


def engine_options(
    judging: Judging, left: Iterable[WantedEdit], devices: int, starts: Sequence[Mapping[str, Any] | None]
) -> dict[str, Any]:
    """Return the options of a judge's hosts.

    Args:
        judging: gives the rubric of each sample.
        left: the edits that are to be judged.
        devices: how many share them.
        starts: of run.json, the latest last.

    Returns:
        `questions`: how many each device will be asked, about; `engine`: what the last host of this run's judge took,
        where one did and it had a choice.
    """
    questions = sum(len(judging.rubric_of(one.sample).calls) for one in left)
    options: dict[str, Any] = {"questions": -(-questions // max(1, devices))}
    hosts = [facts for start in starts for facts in _judges(start)]
    taken = [facts["engine"] for facts in hosts if facts.get("engine")]
    return {**options, "engine": taken[-1]} if taken else options


def _judges(start: Mapping[str, Any] | None) -> Iterable[Mapping[str, Any]]:
    hosts: Mapping[str, Mapping[str, Any]] = (start or {}).get("hosts") or {}
    return [facts for name, facts in hosts.items() if name.startswith("judge ")]
