"""What hosts are told so that what changes no score is chosen once, alike, and as the run has begun.

A judge's engine; whether an editor's denoiser is compiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edit_eval.driver.plan import Judging, WantedEdit

__all__ = ["compile_options", "engine_options"]


def compile_options(edits: int, devices: int, starts: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Return the options of an editor's hosts.

    Args:
        edits: how many are left.
        devices: how many share them.
        starts: of run.json, the latest last.

    Returns:
        `edits`: how many each device will make, about; `compile`: `on` or `off`, as the last host of this run had it.
    """
    options: dict[str, Any] = {"edits": -(-edits // max(1, devices))}
    taken = [facts["compile"] for start in starts for facts in _hosts(start, "edit") if facts.get("compile")]
    return {**options, "compile": taken[-1]} if taken else options


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
        `questions`: how many each device will be asked, about; `engine` and `compile`: what the last host of this run's
        judge took, where one did and it had a choice.
    """
    questions = sum(len(judging.rubric_of(one.sample).calls) for one in left)
    options: dict[str, Any] = {"questions": -(-questions // max(1, devices))}
    hosts = [facts for start in starts for facts in _hosts(start, "judge")]
    for name in ("engine", "compile"):
        if taken := [facts[name] for facts in hosts if facts.get(name)]:
            options[name] = taken[-1]
    return options


def _hosts(start: Mapping[str, Any] | None, stage: str) -> Iterable[Mapping[str, Any]]:
    hosts: Mapping[str, Mapping[str, Any]] = (start or {}).get("hosts") or {}
    return [facts for name, facts in hosts.items() if name.startswith(f"{stage} ")]
