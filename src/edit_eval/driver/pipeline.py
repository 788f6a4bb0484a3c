"""The pipeline: a job's work left, put through the pool; every outcome into a ledger the moment it arrives.

Edits become verdict tasks as they finish. Owns the run directory while it runs; emits events; prints nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import edit_eval
from edit_eval.core.identity import canonical_json
from edit_eval.core.types import EditFailureKind, UnscoredKind, Verdict
from edit_eval.driver.backends import Backend
from edit_eval.driver.backends.local import LocalBackend
from edit_eval.driver.config import without_secrets
from edit_eval.driver.control import Control
from edit_eval.driver.devices import Device, GpuMemory
from edit_eval.driver.events import (
    EditFailed,
    EditFinished,
    Emit,
    Note,
    RunStarted,
    StageName,
    StageStarted,
    StepProgress,
    VerdictGiven,
)
from edit_eval.driver.job import Job
from edit_eval.driver.plan import EditPlan, Judging, WantedEdit, plan_edits, verdict_is_done
from edit_eval.driver.pool import Pool
from edit_eval.driver.queue import Task
from edit_eval.driver.stage import StageSpec
from edit_eval.driver.store import RunStore, image_is_intact, image_path, link_names, thumbnail_path
from edit_eval.driver.telemetry import Recorder

__all__ = ["Pipeline", "run_job"]

_ALTERED = "AlteredImageError: "
"""How the reason begins with which a host says that an edit's image is not the recorded one (`worker.roles`)."""

_UNSCORED: Mapping[str, UnscoredKind] = {"timeout": "timeout"}


def run_job(
    job: Job,
    emit: Emit,
    *,
    stages: Sequence[StageName] = ("edit", "judge"),
    retry_failed: bool = False,
    verify: bool = False,
    backend: Backend | None = None,
    tick: Callable[[], None] = lambda: None,
    control: Control | None = None,
) -> bool:
    """Do what is left of a job, in its run directory.

    Args:
        job: from `prepare`.
        emit: receives every event.
        stages: `edit`, `judge` or both.
        retry_failed: take up failed edits and unscored verdicts again.
        verify: hash every edit's image instead of trusting its size and modification time.
        backend: where keepers run; this machine by default.
        tick: called a few times a second, for displays.
        control: how the run is told to end or to pause.

    Returns:
        Whether there was anything to do.

    Raises:
        UserError: the directory or a model cannot be used.
        RunFailed: the run could not go on.
        Interrupted: `control` asked for the end.
    """
    control = control or Control()
    control.grace_s = job.checked.config.grace_s
    control.watch(job.output)
    with RunStore(job.output) as store:
        pipeline = Pipeline(job, store, emit, stages, retry_failed=retry_failed, verify=verify, tick=tick)
        return pipeline.run(backend or LocalBackend(), control)


class Pipeline:
    """One start of one run; see `run_job`. It is the pool's handler."""

    def __init__(
        self,
        job: Job,
        store: RunStore,
        emit: Emit,
        stages: Sequence[StageName],
        *,
        retry_failed: bool,
        verify: bool,
        tick: Callable[[], None],
    ) -> None:
        self._job = job
        self._store = store
        self._now = _stopwatch()
        self._recorder = Recorder(store.path, emit, self._now)
        self._emit = self._recorder.emit
        self._editing = "edit" in stages
        self._judge = job.judge if "judge" in stages else None
        self._retry_failed = retry_failed
        self._verify = verify
        self._tick = tick
        self._by_key = {one.key: one for one in job.wanted}
        self._edit_of: dict[str, WantedEdit] = {}  # by verdict key
        self._edited_sha256: dict[str, str] = {}  # by edit key
        self._pool: Pool | None = None
        self._info: dict[str, Any] = {}
        self._links: Mapping[str, str] | None = None  # by edit key; made at the first finished edit
        self._links_work = True

    def run(self, backend: Backend, control: Control) -> bool:
        """Plan, work, and say whether there was work."""
        _remove_leftovers(self._store.path)
        plan = plan_edits(
            self._job.wanted, self._store.edits.records, self._intact, retry_failed=self._retry_failed
        )
        edits = [self._edit_task(one) for one in plan.todo] if self._editing else []
        self._edited_sha256 = plan.edited_sha256
        verdicts = self._verdict_tasks(plan.edited)
        self._record_start(working=bool(edits or verdicts))
        self._store.write_wanted(self._job.wanted)
        if not edits and not verdicts:
            return False
        memory = GpuMemory()
        specs = [self._on_free_devices(spec, memory) for spec in self._specs(edits, verdicts)]
        self._announce(plan, verdicts, specs)
        overlap = self._job.checked.config.stages == "overlapped"
        logs = self._store.path / "logs"
        self._pool = Pool(
            specs,
            self,
            backend,
            logs,
            self._emit,
            overlap=overlap,
            memory=memory,
            clock=self._now,
            control=control,
        )
        if edits:
            self._pool.add("edit", edits)
        if self._judge and (edits or verdicts):
            self._pool.add("judge", verdicts)
        with self._recorder.begin(len(self._info["starts"]), {spec.name: spec.devices for spec in specs}):
            self._pool.run()
        self._pool = None  # it knows us: nothing of a long run is to wait for a search for garbage
        return True

    def _specs(self, edits: Sequence[Task], verdicts: Sequence[Task]) -> list[StageSpec]:
        specs = [self._job.editor.spec] if edits else []
        if self._judge and (edits or verdicts):
            specs.append(self._judge.stage.spec)
        return [spec for spec in specs if spec]

    def _on_free_devices(self, spec: StageSpec, memory: GpuMemory) -> StageSpec:
        """Return `spec` without the devices that others hold, if the config says that these may be left out."""
        leave_out = self._job.checked.config.busy_gpus == "leave_out"
        where = {"edit": "editor.devices", "judge": "judge.devices"}[spec.name]
        free = memory.free(spec.devices, leave_out=leave_out, where=where)
        for line in memory.taken(device for device in spec.devices if device not in free).values():
            self._emit(Note(self._now(), "warning", f"left out: {line}"))
        return replace(spec, devices=free)

    # Planning

    def _intact(self, one: WantedEdit, record: Mapping[str, Any]) -> bool:
        return image_is_intact(self._store.path, one.key, record, verify=self._verify)

    def _edit_task(self, one: WantedEdit) -> Task:
        return Task(one.key, partial(self._edit_payload, one), estimate=float(len(one.sample.images)))

    def _edit_payload(self, one: WantedEdit) -> dict[str, Any]:
        root = self._store.path
        return {
            "sample": one.sample.to_json(),
            "seed": one.seed,
            "repeat": one.repeat,
            "image": str(root / image_path(one.key)),
            "thumbnail": str(root / thumbnail_path(one.key)),
            "source_thumbnail": str(root / thumbnail_path(one.source_sha256[0])),
        }

    def _verdict_tasks(self, edited: Sequence[WantedEdit]) -> list[Task]:
        tasks = [self._verdict_task(one) for one in edited]
        return [task for task in tasks if task is not None]

    def _verdict_task(self, one: WantedEdit) -> Task | None:
        """Return the task of judging this edit, or None if its verdict stands (or nothing is judged)."""
        if self._judge is None:
            return None
        judging = self._judge.judging
        key = judging.key(one, self._edited_sha256[one.key])
        if self._has_verdict(key):
            return None
        self._edit_of[key] = one
        return Task(key, partial(self._verdict_payload, one, judging))

    def _verdict_payload(self, one: WantedEdit, judging: Judging) -> dict[str, Any]:
        return {
            "sample": one.sample.to_json(),
            "edited": str(self._store.path / image_path(one.key)),
            "edited_sha256": self._edited_sha256[one.key],
            "prompts": [
                {"call": prompt.call, "text": prompt.text, "images": list(prompt.images)}
                for prompt in judging.prompts(one.sample)
            ],
            "seed": one.seed,
        }

    def _has_verdict(self, key: str) -> bool:
        records = self._store.verdicts.records
        if key not in records:
            return False
        return not self._retry_failed or verdict_is_done(records[key], retry_failed=True)

    # The record of this start

    def _record_start(self, *, working: bool) -> None:
        """Write run.json: what the run is now, and (if there is work) this start; say what changed since the last."""
        job = self._job
        info = self._store.info()
        before = info.get("identity")
        identity = job.identity()
        if job.judge is None and before is not None:
            identity |= {name: before.get(name) for name in ("judge", "rubric")}
        if before is not None:
            for line in _changes(before, identity):
                text = f"changed since this run began: {line}; what depends on it is done anew, the old stays on disk"
                self._emit(Note(self._now(), "warning", text))
        start = {
            "at": _utc_now(),
            "edit_eval": edit_eval.__version__,
            "python": sys.version.split()[0],
            "hosts": {},
        }
        self._info = {
            "created": info.get("created", _utc_now()),
            "name": job.output.name,
            "config": without_secrets(job.checked.config),
            "identity": identity,
            "editor": job.editor.title,
            "size_policy": {"editor": job.editor.size_policy},
            "min_coverage": job.checked.config.min_coverage,
            **self._judge_info(info),
            "starts": [*info.get("starts", []), *([start] if working else [])],
        }
        self._store.write_info(self._info)

    def _judge_info(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """Return what run.json says of the judge; a start that only edits leaves what was said before."""
        names = ("protocol", "judge", "judge_size_policy", "judging")
        judge = self._job.judge
        if judge is None:
            kept = {name: before.get(name) for name in names}
            return {**kept, "protocol": kept["protocol"] or self._job.protocol}
        said = (self._job.protocol, judge.stage.title, judge.stage.size_policy, judge.judging.to_json())
        return dict(zip(names, said, strict=True))

    def _announce(self, plan: EditPlan, verdicts: Sequence[Task], specs: Sequence[StageSpec]) -> None:
        job = self._job
        self._emit(
            RunStarted(
                self._now(),
                output=str(job.output),
                editor=job.editor.title,
                judge=self._judge.label if self._judge else None,
                samples=len(job.wanted),
                devices={spec.name: tuple(device.label for device in spec.devices) for spec in specs},
                batch_size=self._judge.batch_size if self._judge else 1,
            )
        )
        if self._editing and plan.todo:
            total = len(job.wanted)
            self._emit(StageStarted(self._now(), "edit", total, total - len(plan.todo)))
        if self._judge:
            total = len(plan.edited) + (len(plan.todo) if self._editing else 0)
            self._emit(StageStarted(self._now(), "judge", total, len(plan.edited) - len(verdicts)))

    # What the pool tells

    def started(self, stage: StageName, device: Device, pid: int) -> None:
        """Have a host's processes counted."""
        self._recorder.started(stage, device, pid)

    def sent(self, stage: StageName, device: Device) -> None:
        """Have a device's work recorded."""
        self._recorder.sent(stage, device)

    def loaded(self, stage: StageName, device: Device, facts: dict[str, Any]) -> None:
        """Record the versions and the device a host really has."""
        self._info["starts"][-1]["hosts"][f"{stage} {device.label}"] = facts
        self._store.write_info(self._info)

    def progress(self, stage: StageName, task: Task, device: Device, step: int, steps: int) -> None:
        """Pass on a denoising step, or a judge's token."""
        one = self._by_key[task.id] if stage == "edit" else self._edit_of[task.id]
        self._emit(StepProgress(self._now(), device.label, one.index, one.sample.id, step, steps, stage))

    def done(
        self, stage: StageName, task: Task, outcome: dict[str, Any], device: Device, seconds: float
    ) -> None:
        """Append an outcome to its ledger."""
        steps = outcome.get("steps", 0) if stage == "edit" else 0
        self._recorder.ended(stage, device, ok=True, seconds=seconds, steps=steps)
        if stage == "edit":
            self._edited(task, outcome, device)
        else:
            self._judged(task, Verdict.from_json(outcome), device, seconds)

    def failed(self, stage: StageName, task: Task, kind: str, reason: str, device: Device) -> None:
        """Append a failure: of an edit as such, of a judgement as an unscored verdict."""
        self._recorder.ended(stage, device, ok=False)
        if stage == "edit":
            one = self._by_key[task.id]
            self._store.edits.append(
                {
                    **self._about(one, task, device),
                    "key": one.key,
                    "status": "failed",
                    "kind": kind,
                    "reason": reason,
                }
            )
            first_line = reason.splitlines()[0] if reason else kind
            failure = cast("EditFailureKind", kind)
            self._emit(EditFailed(self._now(), one.index, one.sample.id, failure, first_line))
        elif reason.startswith(_ALTERED):
            self._doubt(self._edit_of[task.id], reason.removeprefix(_ALTERED))
        else:
            verdict = Verdict(unscored=_UNSCORED.get(kind, "error"), reply=f"{kind}: {reason}")
            self._judged(task, verdict, device, 0.0)

    def _doubt(self, one: WantedEdit, reason: str) -> None:
        """Make the next start look at an image's bytes, whatever its size and time; no verdict is given on it now."""
        record = self._store.edits.records[one.key]
        self._store.edits.append({**record, "image": {**record["image"], "mtime_ns": 0}})
        text = f"sample {one.sample.id!r} is not judged: {reason}; the next run edits it anew"
        self._emit(Note(self._now(), "warning", text))

    def tick(self) -> None:
        """Bring ledgers to the disk and let the display breathe."""
        self._store.sync()
        self._recorder.tick()
        self._tick()

    def _edited(self, task: Task, outcome: dict[str, Any], device: Device) -> None:
        one = self._by_key[task.id]
        image = {name: outcome[name] for name in ("sha256", "bytes", "mtime_ns", "width", "height")}
        self._store.edits.append(
            {
                **self._about(one, task, device),
                "key": one.key,
                "status": "edited",
                "image": image,
                "source_size": outcome["source_size"],
                "seconds": outcome["seconds"],
                "steps": outcome["steps"],
            }
        )
        self._link(one)
        self._emit(
            EditFinished(
                self._now(), device.label, one.index, one.sample.id, outcome["seconds"], outcome["steps"]
            )
        )
        self._edited_sha256[one.key] = outcome["sha256"]
        verdict_task = self._verdict_task(one)
        if verdict_task and self._pool:
            self._pool.add("judge", [verdict_task])

    def _link(self, one: WantedEdit) -> None:
        """Make the link for people; where there cannot be links, that is said once and the run goes on."""
        if self._links is None:
            self._links = link_names(self._job.wanted)
        if self._links_work:
            try:
                self._store.link_by_id(one, self._links[one.key])
            except OSError as error:
                self._links_work = False
                text = f"no links under {self._store.path / 'by-id'}: {error.strerror}"
                self._emit(Note(self._now(), "warning", text))

    def _judged(self, task: Task, verdict: Verdict, device: Device, seconds: float) -> None:
        one = self._edit_of[task.id]
        self._store.verdicts.append(
            {
                **self._about(one, task, device),
                "key": task.id,
                "edit_key": one.key,
                "edited_sha256": self._edited_sha256[one.key],
                "seconds": round(seconds, 4),
                "verdict": verdict.to_json(),
            }
        )
        self._emit(VerdictGiven(self._now(), device.label, one.index, one.sample.id, verdict))

    @staticmethod
    def _about(one: WantedEdit, task: Task, device: Device) -> dict[str, Any]:
        return {
            "sample": one.sample.id,
            "repeat": one.repeat,
            "device": device.label,
            "attempts": task.attempts,
            "at": _utc_now(),
        }


def _stopwatch() -> Callable[[], float]:
    """Return what tells the seconds from now on. It knows no pipeline, so that one and all its samples are freed at once."""
    began = time.monotonic()
    return lambda: time.monotonic() - began


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


_LEFTOVERS: Mapping[str, re.Pattern[str]] = {
    ".": re.compile(r"\.(run\.json|samples\.jsonl)\.\d+\.tmp"),
    "images/*": re.compile(r"\..*\.tmp"),
    "thumbs/*": re.compile(r"\..*\.tmp"),
    "by-id/*": re.compile(r"\..*\.\d+"),
    "report": re.compile(r"\.index-.*\.html"),
}
"""What is being written has such a name until it is whole; `edit-eval report` writes without the lock."""

_ABANDONED_S = 60.0


def _remove_leftovers(root: Path) -> None:
    """Remove temporary files that were being written when a process was killed; what cannot be removed stays."""
    for place, name in _LEFTOVERS.items():
        for folder in root.glob(place) if place != "." else [root]:
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                left = [entry for entry in entries if name.fullmatch(entry.name)]
                for entry in left:
                    age_s = time.time() - entry.stat(follow_symlinks=False).st_mtime
                    if place != "report" or age_s > _ABANDONED_S:
                        os.unlink(entry.path)  # noqa: PTH108 - an open scandir has strings


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what changed between the identities of two starts; a stage that was not there before is no change."""
    known = {name: value for name, value in before.items() if value is not None}
    # Both as JSON would give them back: a tuple is a list, 4.0 is 4.
    old, new = (json.loads(canonical_json({name: one.get(name) for name in known})) for one in (before, now))
    return [] if old == new else _differences(old, new)


def _differences(before: Any, now: Any, where: str = "") -> list[str]:
    """Return what changed between two identities, one line per leaf."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        lines: list[str] = []
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                lines += _differences(before.get(key), now.get(key), f"{where}.{key}" if where else str(key))
        return lines
    return [f"{where}: {_short(before)} -> {_short(now)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
