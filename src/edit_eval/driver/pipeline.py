"""The pipeline: a job's work left, put through the pool; every outcome into a ledger the moment it arrives.

Edits become verdict tasks as they finish. Owns the run directory while it runs; emits events; prints nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, cast

from edit_eval.core.errors import RunError, shown
from edit_eval.core.types import EditFailureKind, UnscoredKind, Verdict
from edit_eval.driver.against import against_file, against_lines
from edit_eval.driver.backends import Backend, Readings
from edit_eval.driver.choices import compile_options, engine_options
from edit_eval.driver.control import Control
from edit_eval.driver.devices import Device, GpuMemory
from edit_eval.driver.events import (
    DevicesJoined,
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
from edit_eval.driver.handler import OutcomeError
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.job import Job, JudgeJob
from edit_eval.driver.loading import weights_of
from edit_eval.driver.outcomes import checked_edit, checked_verdict
from edit_eval.driver.payloads import edit_payload, verdict_payload
from edit_eval.driver.plan import EditPlan, Judging, WantedEdit, judged_again, plan_edits, verdict_is_done
from edit_eval.driver.pool import Pool
from edit_eval.driver.preflight import preflight
from edit_eval.driver.queue import Task
from edit_eval.driver.refusals import why_not
from edit_eval.driver.settled import is_settled, note_settled, verdicts_hang_on
from edit_eval.driver.spending import Budget, earlier_than
from edit_eval.driver.stage import StageSpec
from edit_eval.driver.starts import next_info, starts_of
from edit_eval.driver.store import RunStore, image_is_intact, link_names
from edit_eval.driver.telemetry import Recorder
from edit_eval.driver.upkeep import (
    is_tidy,
    make_thumbnails,
    missing_links,
    missing_thumbnails,
    note_tidy,
    remove_leftovers,
)

__all__ = ["Pipeline", "run_job"]

_INFO_EVERY_S = 1.0
"""Seconds between two writings of run.json while hosts load."""

_UNSCORED: Mapping[str, UnscoredKind] = {"timeout": "timeout"}


def run_job(
    job: Job,
    emit: Emit,
    *,
    stages: Sequence[StageName] = ("edit", "judge"),
    retry_failed: bool = False,
    verify: bool = False,
    beside: bool = False,
    repeat_fraction: float = 0.0,
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
        beside: the job's judge judges beside the run's own, which stays what it is.
        repeat_fraction: share of the edits that the judge is asked about twice, 0..1.
        backend: where keepers run; by default the job's own. It is closed at the end.
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
    with (
        closing(backend or job.backend) as keepers,
        RunStore(job.output, lock=job.checked.config.lock) as store,
    ):
        pipeline = Pipeline(
            job,
            store,
            emit,
            stages,
            retry_failed=retry_failed,
            verify=verify,
            beside=beside,
            repeat_fraction=repeat_fraction,
            tick=tick,
        )
        return pipeline.run(keepers, control)


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
        beside: bool,
        repeat_fraction: float,
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
        self._beside = beside
        self._repeat_fraction = repeat_fraction
        self._twice = judged_again((one.key for one in job.whole), repeat_fraction)
        self._tick = tick
        self._by_key = {one.key: one for one in job.wanted}
        self._edit_of: dict[str, WantedEdit] = {}  # by verdict key
        self._again: set[str] = set()  # keys of second verdicts on an edit
        self._edited_sha256: dict[str, str] = {}  # by edit key
        self._pool: Pool | None = None
        self._weights_bytes: Mapping[StageName, int] = {}
        self._info: dict[str, Any] = {}
        self._budget: Budget | None = None
        self._given = 0  # verdicts, of this start
        self._info_is_new = False
        self._info_written_at = -_INFO_EVERY_S
        self._links_work = job.checked.config.links
        self._thumbnails_work = True

    def run(self, backend: Backend, control: Control) -> bool:
        """Plan, work, and say whether there was work."""
        remove_leftovers(self._store.path, tidy=is_tidy(self._store.path))
        if note := self._store.lock_note:
            self._warn(f"{note}; see to it that only one start is at work")
        for line in self._store.mended:
            self._warn(line)
        plan = self._plan()
        edits = [self._edit_task(one) for one in plan.todo] if self._editing else []
        self._edited_sha256 = plan.edited_sha256
        self._store.write_wanted(
            self._job.wanted, self._job.whole if self._job.checked.config.shard else None
        )
        hanging_on = self._verdicts_hang_on(plan)
        settled = is_settled(self._store.path, hanging_on)
        verdicts = [] if settled else self._verdict_tasks(plan.edited)
        held_back = self._hold_back(len(verdicts))
        if held_back:
            verdicts = []
        if self._job.judge and (against := self._job.judge.judging.against):
            self._store.write_lines(against_file(against), lambda: against_lines(against))
        if edits or verdicts:
            self._job = self._job.with_devices(backend)
            self._judge = self._judge and self._job.judge
        self._record_start(working=bool(edits or verdicts))
        if edits or verdicts:
            if self._judge and self._judge.stage.spec:
                preflight(self._job.checked, self._judge.stage.spec, self._warn, editing=bool(edits))
            self._work(plan, edits, verdicts, backend, control)
        elif not held_back:
            note_settled(self._store.path, hanging_on)
        self._restore(plan, control)
        return bool(edits or verdicts or held_back)

    def _hold_back(self, waiting: int) -> int:
        """Open the budget, if there is one; say how many edits are not judged because it is spent already."""
        judge = self._judge
        if judge is None or judge.budget is None:
            return 0
        self._budget = Budget(judge.budget, judge.most_cost, self._store.verdicts.records.values())
        if not self._budget.is_closed:
            return 0
        if waiting:
            self._warn(self._budget.closing_line(waiting))
        self._judge = None
        return waiting

    def _room(self, stage: StageName, in_flight: int) -> int | None:
        """Return how many more tasks a stage may have under way; None: any number."""
        return self._budget.room(in_flight) if self._budget and stage == "judge" else None

    def _warn(self, text: str) -> None:
        self._emit(Note(self._now(), "warning", text))

    def _work(
        self,
        plan: EditPlan,
        edits: Sequence[Task],
        verdicts: Sequence[Task],
        backend: Backend,
        control: Control,
    ) -> None:
        """Put what is left through the pool."""
        memory = GpuMemory()
        specs = [self._on_free_devices(spec, memory) for spec in self._specs(edits, verdicts)]
        self._weights_bytes = {spec.name: spec.weights.size for spec in specs}
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
            room=self._room,
        )
        if edits:
            self._pool.add("edit", edits)
        if self._judge and (edits or verdicts):
            self._pool.add("judge", verdicts)
        try:
            with self._recorder.begin(len(self._info["starts"]), {spec.name: spec.devices for spec in specs}):
                self._pool.run()
            if self._judge and self._budget and (left := len(self._edit_of) - self._given):
                self._warn(self._budget.closing_line(left))
        finally:
            self._write_info(0.0)
            self._pool = None  # it knows us: nothing of a long run is to wait for a search for garbage
            remove_leftovers(self._store.path)  # every host has ended, some in the middle of a file

    def _specs(self, edits: Sequence[Task], verdicts: Sequence[Task]) -> list[StageSpec]:
        specs = []
        editor = self._job.editor
        if edits and editor.spec:
            chosen = compile_options(len(edits), len(editor.spec.devices), self._info.get("starts") or ())
            specs.append(replace(editor.spec.with_options(chosen), weights=weights_of(editor.models)))
        if self._judge and (edits or verdicts) and (spec := self._judge.stage.spec):
            left = [self._by_key[one.id] for one in edits] + [self._edit_of[one.id] for one in verdicts]
            earlier = starts_of(self._info, self._judge.judging)
            chosen = engine_options(self._judge.judging, left, len(spec.devices), earlier)
            weights = weights_of(self._judge.stage.models)
            specs.append(replace(spec.with_options(chosen), weights=weights))
        return specs

    def _on_free_devices(self, spec: StageSpec, memory: GpuMemory) -> StageSpec:
        """Return `spec` without the devices that others hold, if the config says that these may be left out."""
        leave_out = self._job.checked.config.busy_gpus == "leave_out"
        where = {"edit": "editor.devices", "judge": "judge.devices"}[spec.name]
        free = memory.free(spec.devices, leave_out=leave_out, where=where)
        kept = frozenset(free)
        for line in memory.taken(device for device in spec.devices if device not in kept).values():
            self._warn(f"left out: {line}")
        return replace(spec, devices=free)

    # Planning

    def _plan(self) -> EditPlan:
        root, verify = self._store.path, self._verify
        with FileHashes(self._job.scratch.hashes) as known:

            def intact(one: WantedEdit, record: Mapping[str, Any]) -> bool:
                return image_is_intact(root, one.key, record, verify=verify, sha256=known.sha256)

            return plan_edits(
                self._job.wanted, self._store.edits.records.kept, intact, retry_failed=self._retry_failed
            )

    def _verdicts_hang_on(self, plan: EditPlan) -> str:
        """Return what says whether a verdict is missing; empty if that has to be looked for in any case."""
        if self._judge is None or plan.todo or self._job.judged_now is not None:
            return ""
        return verdicts_hang_on(
            self._store.path,
            self._judge.judging,
            twice=self._repeat_fraction,
            retry_failed=self._retry_failed,
        )

    def _restore(self, plan: EditPlan, control: Control) -> None:
        """Make again what people look at and somebody took away: links and thumbnails of edits that are there."""
        if is_tidy(self._store.path):
            return
        links = list(missing_links(self._store.path, plan.edited, self._link_names))
        for one, name in links:
            self._link(one, name)
        thumbnails = missing_thumbnails(self._store.path, plan.edited)
        if not links and not thumbnails:
            note_tidy(self._store.path)
        if thumbnails:
            self._emit(Note(self._now(), "info", f"making {len(thumbnails)} missing thumbnails again"))
            make_thumbnails(thumbnails, lambda: control.ending)

    def _edit_task(self, one: WantedEdit) -> Task:
        return Task(
            one.key, partial(edit_payload, one, self._store.path), estimate=float(len(one.sample.images))
        )

    def _verdict_tasks(self, edited: Sequence[WantedEdit]) -> list[Task]:
        """Return the tasks of judging these edits whose verdicts do not stand; what is judged twice, again at the end."""
        if self._judge is None:
            return []
        judging, known = self._judge.judging, self._store.verdicts.records
        twice = [one for one in edited if one.key in self._twice] if self._twice else []
        tasks = []
        for repeat, some in enumerate((edited, twice)):
            for one in some:
                if self._job.judges(one):
                    key = judging.key(one, self._edited_sha256[one.key], repeat=repeat)
                    if not self._stands(key, known):
                        tasks.append(self._verdict_task(key, one, judging, repeat))
        return tasks

    def _verdict_task(self, key: str, one: WantedEdit, judging: Judging, repeat: int) -> Task:
        """Return the task of judging this edit."""
        self._edit_of[key] = one
        if repeat:
            self._again.add(key)
        edited = self._edited_sha256[one.key]
        return Task(key, partial(verdict_payload, one, self._store.path, judging, edited, repeat))

    def _stands(self, key: str, known: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether there is a verdict of this key, and it is not to be tried again."""
        return key in known and (not self._retry_failed or verdict_is_done(known[key], retry_failed=True))

    # The record of this start

    def _record_start(self, *, working: bool) -> None:
        """Write run.json: what the run is now, and (if there is work) this start; say what changed since the last."""
        self._info, changed = next_info(
            self._job,
            self._store.info(),
            at=_utc_now(),
            working=working,
            beside=self._beside,
            repeat_fraction=self._repeat_fraction,
        )
        for line in changed:
            self._warn(
                f"changed since this run began: {line}; what depends on it is done anew, the old stays on disk"
            )
        self._store.write_info(self._info)

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
            there, to_come = (
                sum(2 if one.key in self._twice else 1 for one in edits if self._job.judges(one))
                for edits in (plan.edited, plan.todo if self._editing else ())
            )
            self._emit(StageStarted(self._now(), "judge", there + to_come, there - len(verdicts)))

    def _write_info(self, every_s: float) -> None:
        """Bring run.json up to date, if that is to be and was not done just now: a thousand hosts may load at once."""
        now = time.monotonic()
        if self._info_is_new and now - self._info_written_at >= every_s:
            self._info_is_new = False
            self._info_written_at = now
            self._store.write_info(self._info)

    # What the pool tells

    def joined(self, devices: Sequence[tuple[Device, Collection[StageName]]]) -> None:
        """Say which devices came, and have them recorded."""
        by_stage: dict[StageName, tuple[Device, ...]] = {}
        for device, stages in devices:
            for stage in stages:
                by_stage[stage] = (*by_stage.get(stage, ()), device)
        self._recorder.joined(by_stage)
        labels = {stage: tuple(one.label for one in many) for stage, many in by_stage.items()}
        self._emit(DevicesJoined(self._now(), labels))

    def read(self, readings: Readings) -> None:
        """Have recorded what a node read."""
        self._recorder.read(readings)

    def started(self, stage: StageName, device: Device, pid: int) -> None:
        """Have a host's processes counted."""
        self._recorder.started(stage, device, pid)

    def sent(self, stage: StageName, device: Device) -> None:
        """Have a device's work recorded."""
        self._recorder.sent(stage, device)

    def loaded(self, stage: StageName, device: Device, facts: dict[str, Any]) -> None:
        """Record the versions and the device a host really has.

        Raises `RunError` if a file of its model is no longer what was hashed: it may have loaded the one or the other.
        """
        where, job = ("editor", self._job.editor) if stage == "edit" else ("judge", self._job.judge)
        parts = job.stage.models if isinstance(job, JudgeJob) else job.models if job else ()
        for path in filter(None, (model.changed_file() for model in parts)):
            raise RunError(
                f"{where}: {path} changed while the run went on, so what was loaded is not what was hashed; what was "
                "finished before is kept: give the same command again once the model is whole"
            )
        size = self._weights_bytes.get(stage, 0)
        known = {"weights_bytes": size} if size else {}
        self._info["starts"][-1]["hosts"][f"{stage} {device.label}"] = {**facts, **known}
        self._info_is_new = True
        self._write_info(_INFO_EVERY_S)

    def progress(self, stage: StageName, task: Task, device: Device, step: int, steps: int) -> None:
        """Pass on a denoising step, or a judge's token."""
        one = self._by_key[task.id] if stage == "edit" else self._edit_of[task.id]
        self._emit(StepProgress(self._now(), device.label, one.index, one.sample.id, step, steps, stage))

    def done(
        self, stage: StageName, task: Task, outcome: dict[str, Any], device: Device, seconds: float
    ) -> None:
        """Append an outcome to its ledger. Raises `OutcomeError` for one that cannot be."""
        record: dict[str, Any] = {}
        verdict: Verdict | None = None
        try:
            if stage == "edit":
                record = checked_edit(self._store.path, task.id, outcome)
            elif self._judge:
                verdict = checked_verdict(
                    self._judge.judging.rubric_of(self._edit_of[task.id].sample), outcome
                )
        except ValueError as error:
            raise OutcomeError(str(error)) from error
        self._recorder.ended(stage, device, ok=True, seconds=seconds, steps=record.get("steps", 0))
        if verdict:
            self._judged(task, verdict, device, seconds)
        else:
            self._edited(task, record, device)
            self._note_thumbnail(outcome.get("no_thumbnail"))

    def failed(self, stage: StageName, task: Task, kind: str, reason: str, device: Device) -> None:
        """Append a failure: of an edit as such, of a judgement as an unscored verdict; of changed files, only say it."""
        self._recorder.ended(stage, device, ok=False)
        one = self._by_key[task.id] if stage == "edit" else self._edit_of[task.id]
        if kind == "changed":
            self._say_undone(one, "edited" if stage == "edit" else "judged", reason)
        elif kind == "altered":
            self._doubt(one, reason)
        elif stage == "edit":
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
        else:
            verdict = Verdict(unscored=_UNSCORED.get(kind, "error"), reply=f"{kind}: {reason}")
            self._judged(task, verdict, device, 0.0)

    def _doubt(self, one: WantedEdit, reason: str) -> None:
        """Make the next start look at an image's bytes, whatever its size and time; no verdict is given on it now."""
        self._given += 1
        record = self._store.edits.records[one.key]
        self._store.edits.append({**record, "image": {**record["image"], "mtime_ns": 0}})
        self._say_undone(one, "judged", f"{reason}; the next run edits it anew")

    def _say_undone(self, one: WantedEdit, what: str, reason: str) -> None:
        self._warn(f"sample {shown(one.sample.id)} is not {what}: {reason}")

    def tick(self) -> None:
        """Bring ledgers to the disk and let the display breathe."""
        self._store.sync()
        self._write_info(_INFO_EVERY_S)
        self._recorder.tick()
        self._tick()

    def _edited(self, task: Task, record: Mapping[str, Any], device: Device) -> None:
        one = self._by_key[task.id]
        about = self._about(one, task, device)
        self._store.edits.append({**about, "key": one.key, "status": "edited", **record})
        self._link(one, self._link_names[one.key])
        self._emit(
            EditFinished(
                self._now(),
                device.label,
                one.index,
                one.sample.id,
                record["seconds"],
                record["steps"],
                tuple(record["flags"]),
            )
        )
        self._edited_sha256[one.key] = record["image"]["sha256"]
        verdict_tasks = self._verdict_tasks([one])
        if verdict_tasks and self._pool:
            self._pool.add("judge", verdict_tasks)

    @cached_property
    def _link_names(self) -> Mapping[str, str]:
        return link_names(self._job.wanted)

    def _link(self, one: WantedEdit, name: str) -> None:
        """Make the link for people; where there cannot be links, that is said once and the run goes on."""
        if self._links_work:
            try:
                self._store.link_by_id(one, name)
            except OSError as error:
                self._links_work = False
                place = self._store.path / "by-id"
                text = f"no links under {place}: {why_not(error, place)}"
                self._warn(text)

    def _note_thumbnail(self, reason: Any) -> None:
        """Say once that thumbnails cannot be written; the next start makes those that are missing."""
        if reason and self._thumbnails_work:
            self._thumbnails_work = False
            self._warn(f"no thumbnails: cannot write {reason}")

    def _judged(self, task: Task, verdict: Verdict, device: Device, seconds: float) -> None:
        one, again = self._edit_of[task.id], task.id in self._again
        record = {
            **self._about(one, task, device),
            "key": task.id,
            "edit_key": one.key,
            "edited_sha256": self._edited_sha256[one.key],
            "judge": self._judge.judging.judge_id if self._judge else None,
            **({"again": 1} if again else {}),
            "seconds": round(seconds, 4),
            "verdict": verdict.to_json(),
            **earlier_than(self._store.verdicts.records.get(task.id)),
        }
        self._store.verdicts.append(record)
        self._given += 1
        if self._budget:
            self._budget.add(record)
        self._emit(VerdictGiven(self._now(), device.label, one.index, one.sample.id, verdict, again))

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
