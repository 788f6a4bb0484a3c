"""What a run would do, without doing it: work left, where, in how much memory, for how long, on how much disk.

The same preparation and the same plan as a real start, read-only: no process that loads a model, no lock, no file (a
benchmark that draws its own images does so in a temporary folder). Times come from earlier runs beside the output
folder, or are unknown; they are never guessed.
"""

from __future__ import annotations

import math
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edit_eval.core.errors import RunError
from edit_eval.core.types import Sample
from edit_eval.driver.checkpoints import inspect_checkpoint, memory_need
from edit_eval.driver.config import Checked
from edit_eval.driver.devices import GpuMemory
from edit_eval.driver.divide import inherited, run_above
from edit_eval.driver.earlier import EarlierRun, earlier_runs, hardware_name, same_editor, same_judge
from edit_eval.driver.events import StageName
from edit_eval.driver.hashes import FileHashes, UnreadHashes
from edit_eval.driver.job import Job, StageJob, output_folder, prepare
from edit_eval.driver.ledger import read_ledger, tells_of_edit, tells_of_verdict
from edit_eval.driver.machine import nearest_folder
from edit_eval.driver.plan import Judging, Record, WantedEdit, judged_again, plan_edits, verdict_is_done
from edit_eval.driver.scratch import find_scratch
from edit_eval.driver.shards import Shard
from edit_eval.driver.store import RunReader, image_is_intact, lock_holder, refuse_foreign
from edit_eval.worker.images import UnreadableImageError, image_size

__all__ = ["Forecast", "StageForecast", "edit_bytes", "forecast"]

_THUMBNAILS_SHARE = 0.1
_MODEL_PIXELS = 1024 * 1024
_LOOKED_AT = 16

DiskUsage = Callable[[Path], Any]


@dataclass(frozen=True)
class StageForecast:
    """One stage.

    Attributes:
        title: editor or judge, with its model.
        devices: their labels.
        hardware: what these are: name of the GPU, or `CPU`; label of the first such device -> name.
        total: outcomes wanted, as far as they are known now.
        left: outcomes still to be made; of verdicts, as many as there will be if every edit succeeds.
        weights_bytes: in the wanted dtype; None for kinds without a model.
        need_bytes: on each device, margin included; None likewise.
        device_bytes: memory of the smallest device; None for CPUs and where it is not known.
        task_s: median seconds of one outcome in earlier runs; None if there are none.
        learnt_from: those runs, by folder, and how many outcomes.
    """

    title: str
    devices: Sequence[str]
    hardware: Sequence[str]
    total: int
    left: int
    weights_bytes: int | None = None
    need_bytes: int | None = None
    device_bytes: int | None = None
    task_s: float | None = None
    learnt_from: tuple[Sequence[str], int] = ((), 0)


@dataclass(frozen=True)
class Forecast:
    """What `run`, `edit` or `score` would do now.

    Attributes:
        output: run directory.
        is_new: whether it holds no run yet.
        samples: of the benchmark.
        repeats: edits a sample.
        failed: edits that failed earlier and are not taken up again.
        edit: the editing stage; None if it would not run.
        judge: the judging stage; None likewise.
        judge_calls: questions asked of a model.
        seconds: of the work left, at the least; without loading. None: unknown.
        image_bytes: of one edit and its thumbnail.
        image_bytes_known_from: how the size is known, for people.
        disk_bytes: what the images will take.
        disk_free: where they go.
        notes: what a real start would complain about.
    """

    output: str
    is_new: bool
    samples: int
    repeats: int
    failed: int
    edit: StageForecast | None
    judge: StageForecast | None
    judge_calls: int
    seconds: float | None
    image_bytes: int
    image_bytes_known_from: str
    disk_bytes: int
    disk_free: int
    notes: Sequence[str] = ()


def forecast(
    checked: Checked,
    *,
    stages: Sequence[StageName] = ("edit", "judge"),
    retry_failed: bool = False,
    verify: bool = False,
    repeat_fraction: float = 0.0,
    disk_usage: DiskUsage = shutil.disk_usage,
) -> Forecast:
    """Say what `run_job` would do with the same arguments.

    Raises:
        UserError: what a real start would be refused for, save for GPUs held by others and a run in use: these pass,
            and are among the notes.
    """
    output = output_folder(checked)
    refuse_foreign(output)
    is_new = not (output / "run.json").is_file()
    if output.is_file() or not os.access(nearest_folder(output), os.W_OK | os.X_OK):
        raise RunError(f"cannot write the run directory {output}; set another output")
    # Without ledgers there is no key to compare with, so nothing need be hashed; but what a shard has hangs on hashes.
    known = find_scratch(checked.config.scratch).hashes
    hashes = UnreadHashes() if is_new and not checked.config.shard else FileHashes(known, keep=False)
    with tempfile.TemporaryDirectory(prefix="edit-eval-dry-run-") as workspace:
        job = prepare(checked, stages=stages, hashes=hashes, workspace=Path(workspace))
        with closing(job.backend):
            foreseen = _Foreseen(
                job, stages, retry_failed=retry_failed, verify=verify, repeat_fraction=repeat_fraction
            )
            return foreseen.told(is_new, disk_usage)


class _Outcomes:
    """What a start would find in the ledgers; of a shard also what it would take over from the run above it.

    Attributes:
        edits, verdicts: last record by key.
    """

    def __init__(self, job: Job) -> None:
        self.edits: Mapping[str, Record] = read_ledger(job.output / "edits.jsonl", tells_of_edit)
        self.verdicts: Mapping[str, Record] = read_ledger(job.output / "verdicts.jsonl", tells_of_verdict)
        self._output = job.output
        self._from_above: frozenset[str] = frozenset()
        shard = job.checked.config.shard
        if shard and (above := run_above(job.output, Shard.parse(shard))):
            self._take_over(RunReader(above), job.wanted)

    def has_image(self, key: str, record: Record, *, verify: bool) -> bool:
        """Whether the image of an edit is what was recorded."""
        return key in self._from_above or image_is_intact(self._output, key, record, verify=verify)

    def _take_over(self, run: RunReader, share: Sequence[WantedEdit]) -> None:
        new = inherited(run, share, self._output, self.edits, self.verdicts)
        self._from_above = frozenset(new.edits)
        self.edits = {**self.edits, **{key: run.edits[key] for key in new.edits}}
        self.verdicts = {**self.verdicts, **{key: run.verdicts[key] for key in new.verdicts}}


class _Foreseen:
    """A prepared job with what its ledgers hold."""

    def __init__(
        self,
        job: Job,
        stages: Sequence[StageName],
        *,
        retry_failed: bool,
        verify: bool,
        repeat_fraction: float,
    ) -> None:
        self._memory = GpuMemory()
        there = _Outcomes(job)
        self._plan = plan_edits(
            job.wanted,
            there.edits,
            lambda one, record: there.has_image(one.key, record, verify=verify),
            retry_failed=retry_failed,
        )
        self._edits_left = len(self._plan.todo) if "edit" in stages else 0
        self._verdicts_left = self._verdicts_done = 0
        if job.judge:
            twice = judged_again((one.key for one in job.whole), repeat_fraction)
            keys = [
                job.judge.judging.key(one, there.edits[one.key]["image"]["sha256"], repeat=repeat)
                for one in self._plan.edited
                if job.judges(one)
                for repeat in range(2 if one.key in twice else 1)
            ]
            done = [verdict_is_done(there.verdicts.get(key), retry_failed=retry_failed) for key in keys]
            self._verdicts_done = sum(done)
            to_come = [one for one in self._plan.todo if "edit" in stages and job.judges(one)]
            self._verdicts_left = len(done) - sum(done) + len(to_come)
            self._verdicts_left += sum(one.key in twice for one in to_come)
        self._job = job.with_devices(job.backend) if self._edits_left or self._verdicts_left else job

    def told(self, is_new: bool, disk_usage: DiskUsage) -> Forecast:
        job, config = self._job, self._job.checked.config
        editors = [run for run in earlier_runs(job.output) if same_editor(run, job)]
        judges = [run for run in earlier_runs(job.output) if same_judge(run, job)]
        edit = judge = None
        if job.editor.spec:
            edit = self._stage(job.editor, len(job.wanted), self._edits_left)
            edit = _timed(edit, {str(run.path): run.edit_seconds(edit.hardware) for run in editors})
        if job.judge:
            total = self._verdicts_done + self._verdicts_left
            judge = self._stage(job.judge.stage, total, self._verdicts_left)
            judge = _timed(judge, {str(run.path): run.verdict_seconds(judge.hardware) for run in judges})
        image, known_from = _image_bytes(editors, job)
        return Forecast(
            output=str(job.output),
            is_new=is_new,
            samples=len({one.sample.id for one in job.wanted}),
            repeats=len({one.repeat for one in job.wanted}),
            failed=len(self._plan.failed),
            edit=edit,
            judge=judge,
            judge_calls=_calls_left(job.judge.judging, job.wanted, self._verdicts_left) if job.judge else 0,
            seconds=_seconds(edit, judge, overlapped=config.stages == "overlapped"),
            image_bytes=image,
            image_bytes_known_from=known_from,
            disk_bytes=image * self._edits_left,
            disk_free=int(disk_usage(nearest_folder(job.output)).free),
            notes=tuple(self._notes()),
        )

    def _stage(self, stage: StageJob, total: int, left: int) -> StageForecast:
        devices = stage.spec.devices if stage.spec else ()
        message = stage.spec.message if stage.spec else {}
        weights = None
        if message.get("model") and stage.models:  # else it is somebody else's, and takes no memory here
            parts = {name: Path(path) for name, path in message["components"].items()}
            dtype = getattr(stage.params, "dtype", None)
            found = inspect_checkpoint(Path(message["model"]), dtype, parts)
            weights = found.on_device(getattr(stage.params, "memory", "full"))
            if message.get("lora"):
                weights += Path(message["lora"][0]).stat().st_size
        sizes = [size for device in devices if (size := self._memory.total_bytes(device)) is not None]
        return StageForecast(
            title=stage.title,
            devices=tuple(device.label for device in devices),
            hardware=tuple(dict.fromkeys(hardware_name(self._memory, device) for device in devices)),
            total=total,
            left=left,
            weights_bytes=weights,
            need_bytes=None if weights is None else memory_need(weights),
            device_bytes=min(sizes, default=None),
        )

    def _notes(self) -> Iterator[str]:
        job = self._job
        if holder := lock_holder(job.output):
            yield f"{job.output} is in use by {holder}"
        specs = [job.editor.spec, job.judge.stage.spec if job.judge else None]
        devices = dict.fromkeys(device for spec in specs if spec for device in spec.devices)
        leave_out = job.checked.config.busy_gpus == "leave_out"
        for line in self._memory.taken(devices).values():
            yield f"{line}; a start would {'leave it out' if leave_out else 'be refused'}"


def _seconds(edit: StageForecast | None, judge: StageForecast | None, *, overlapped: bool) -> float | None:
    """Return the least time for the work left, without loading.

    With n devices and a median t a task, a stage of k tasks takes at least ceil(k / n) t. Stages in turn add up.
    Overlapped ones take at least the longer of the two, and at least all work over all devices.
    """
    works = [(one.left, one.task_s, one.devices) for one in (edit, judge) if one and one.left]
    if any(task_s is None for _, task_s, _ in works):
        return None
    each = [math.ceil(left / len(devices)) * (task_s or 0.0) for left, task_s, devices in works]
    if not overlapped:
        return sum(each)
    devices = {device for _, _, labels in works for device in labels}
    together = sum(left * (task_s or 0.0) for left, task_s, _ in works) / max(1, len(devices))
    return max([*each, together], default=0.0)


def _calls_left(judging: Judging, wanted: Sequence[WantedEdit], left: int) -> int:
    """Return about how many questions are still to be asked: the mean over samples, times the verdicts left."""
    calls = sum(len(judging.rubric_of(one.sample).calls) for one in wanted)
    return round(calls / len(wanted) * left) if wanted else 0


def _timed(stage: StageForecast, seconds: Mapping[str, Sequence[float]]) -> StageForecast:
    every = [one for values in seconds.values() for one in values]
    if not every:
        return stage
    runs = tuple(path for path, values in seconds.items() if values)
    return replace(stage, task_s=statistics.median(every), learnt_from=(runs, len(every)))


def _image_bytes(earlier: Sequence[EarlierRun], job: Job) -> tuple[int, str]:
    """Return the bytes of one edit with its thumbnail: the mean of earlier runs of this editor, or an upper bound."""
    sizes = [size for run in earlier for size in run.image_bytes()]
    if sizes:
        return int(statistics.mean(sizes) * (1 + _THUMBNAILS_SHARE)), f"mean of {len(sizes)} earlier edits"
    samples = [one.sample for one in job.wanted]
    return edit_bytes(job.editor.params, samples, has_model=bool(job.checked.editor.cls.model_file))


def edit_bytes(params: Any, samples: Sequence[Sample], *, has_model: bool) -> tuple[int, str]:
    """Return an upper bound of the bytes of one edit with its thumbnail, and how it is known.

    Width x height x 3, as if PNG did not compress at all, and a tenth for the thumbnail. The size is that of the
    editor's `width` and `height` parameters; else, for models, 1024 x 1024; else the sources' own (mean of the first
    16).
    """
    width, height = getattr(params, "width", None), getattr(params, "height", None)
    if isinstance(width, int) and isinstance(height, int):
        pixels: float = width * height
        how = f"uncompressed {width} x {height}"
    elif has_model:
        pixels, how = _MODEL_PIXELS, "uncompressed 1024 x 1024"
    else:
        sizes = [size for sample in samples[:_LOOKED_AT] if (size := _pixels(sample))]
        pixels = statistics.mean(sizes) if sizes else _MODEL_PIXELS
        how = "uncompressed, as large as the sources" if sizes else "uncompressed 1024 x 1024"
    return int(pixels * 3 * (1 + _THUMBNAILS_SHARE)), how


def _pixels(sample: Sample) -> int | None:
    try:
        width, height = image_size(sample.images[0])
    except (UnreadableImageError, IndexError):
        return None
    return width * height
