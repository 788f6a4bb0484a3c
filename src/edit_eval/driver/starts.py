"""What run.json says from one start to the next: what the run is now, its judges, the start itself, and what changed.

Pure but for the versions of Python and edit-eval that a start is marked with.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import edit_eval
from edit_eval.driver.changes import changes
from edit_eval.driver.config import without_secrets
from edit_eval.driver.job import Job, JudgeJob
from edit_eval.driver.judges import is_beside, judges_info, main_judge
from edit_eval.driver.plan import Judging
from edit_eval.driver.shards import Shard

__all__ = ["next_info", "starts_of"]


def next_info(
    job: Job, before: Mapping[str, Any], *, at: str, working: bool, beside: bool, repeat_fraction: float
) -> tuple[dict[str, Any], list[str]]:
    """Return what run.json says from this start on, and one line for each thing that changed.

    Args:
        job: what is wanted now.
        before: what run.json said; empty for a new run.
        at: the time, as text.
        working: whether there is work; a start without is not noted.
        beside: whether the job's judge was asked beside the run's own.
        repeat_fraction: share of the edits that it is asked about twice.
    """
    identity, known = job.identity(), before.get("identity")
    config = without_secrets(job.checked.config)
    beside = beside and job.judge is not None and main_judge(before) is not None
    if known is not None and (beside or job.judge is None):
        identity |= {name: known.get(name) for name in ("judge", "rubric")}
    now = None
    if job.judge:
        now = {**_of_judge(job, job.judge, config["judge"]), "repeat_fraction": repeat_fraction}
    if beside and before.get("config"):  # whichever judge was asked, the run's own stays that of its config
        config["judge"] = before["config"].get("judge")
    other = beside and job.judge is not None and is_beside(before, job.judge.judging)
    judges = judges_info(before, now, beside=other)
    if job.judge is None:
        judges["protocol"] = judges["protocol"] or job.protocol
    start: dict[str, Any] = {
        "at": at,
        "edit_eval": edit_eval.__version__,
        "python": sys.version.split()[0],
        "judge": job.judge.judging.judge_id if job.judge else None,
        "hosts": {},
    }
    info = {
        "created": before.get("created", at),
        "name": _name(job),
        "config": config,
        "identity": identity,
        "data": {name: dict(facts) for name, facts in job.data.items()} or before.get("data", {}),
        "editor": job.editor.title,
        "size_policy": {"editor": job.editor.size_policy},
        "min_coverage": job.checked.config.min_coverage,
        **judges,
        "starts": [*before.get("starts", []), *([start] if working else [])],
        **({"shards": before["shards"]} if before.get("shards") else {}),
    }
    return info, changes(known, identity) if known is not None else []


def _name(job: Job) -> str:
    """Return what the run is called: its directory's name; of a shard below a run, that run's and its own."""
    output, shard = job.output, job.checked.config.shard
    if shard and str(Shard.of_folder(output)) == shard:
        return f"{output.parent.parent.name} shard {shard}"
    return output.name


def _of_judge(job: Job, judge: JudgeJob, config: Any) -> dict[str, Any]:
    return {
        "protocol": job.protocol,
        "judge": judge.stage.title,
        "judge_size_policy": judge.stage.size_policy,
        "judging": judge.judging.to_json(),
        "headlines": [one.to_json() for one in judge.headlines],
        "config": config,
    }


def starts_of(info: Mapping[str, Any], judging: Judging) -> list[Mapping[str, Any]]:
    """Return the starts in which this judge judged; those before starts were marked had the run's own."""
    own = main_judge(info)
    unmarked = own.judging.judge_id if own else None
    starts = [start or {} for start in info.get("starts") or ()]
    return [start for start in starts if start.get("judge", unmarked) == judging.judge_id]
