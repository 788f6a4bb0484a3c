"""The doctor: everything that a run needs, looked at one by one, each fault with its mend, before any model is loaded.

Never raises for a user's mistake, and no check stands in the way of another. Checks of one stage (interpreter, model,
devices) are in `driver.stagecheck`.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import edit_eval
from edit_eval.core.errors import ConfigError, RunFailed, UserError
from edit_eval.core.types import Sample
from edit_eval.driver.backends import Backend
from edit_eval.driver.config import Checked, StageConfig, check_config
from edit_eval.driver.devices import Device, Gpu, GpuMemory, gpu_notes, nvml_fault, visible_gpus
from edit_eval.driver.findings import Finding, bad, from_error, ok, salvaged, warn
from edit_eval.driver.forecast import edit_bytes
from edit_eval.driver.job import output_folder, prepare, stage_cache
from edit_eval.driver.ledger import read_ledger, tells_of_edit
from edit_eval.driver.machine import cores, memory, nearest_folder, size_text
from edit_eval.driver.mounts import local_locks, mount_of
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.place import open_backend
from edit_eval.driver.preflight import judge_spec, try_judge
from edit_eval.driver.registry import Found
from edit_eval.driver.rubrics import load_rubric
from edit_eval.driver.runinfo import DamagedInfo, read_info
from edit_eval.driver.samples import ImageFault, image_faults, read_samples
from edit_eval.driver.scratch import find_scratch
from edit_eval.driver.stagecheck import Measured, StageCheck
from edit_eval.driver.store import RunReader, flock_fault, lock_holder, refuse_foreign
from edit_eval.driver.surroundings import examine_surroundings
from edit_eval.worker.formats import shown_path

__all__ = ["Finding", "examine", "examine_machine"]

_GIB = 1 << 30
_LOW_MEMORY_BYTES = 2 * _GIB
_LOW_DISK_BYTES = _GIB
_GONE_MEND = "reset it (nvidia-smi -r) or reboot; until then name other devices, or set busy_gpus=leave_out"
_LONGEST_SCRATCH = 54
"""Bytes: a socket's path may have 107, and Python's own below a host's folder have up to 53 more."""

_LIBRARIES = ("numpy", "pillow", "pydantic", "nvidia-ml-py", "rich")

StageKind = Literal["editor", "judge"]
DiskUsage = Callable[[Path], Any]


def examine_machine(
    folder: Path | None = None, disk_usage: DiskUsage = shutil.disk_usage, *, alone: bool = True
) -> Iterator[Finding]:
    """Look at this machine: interpreter, cores, memory, disk, GPUs and who holds them.

    Args:
        folder: whose disk is looked at; None: the current one.
        disk_usage: as `shutil.disk_usage`.
        alone: whether no config says if GPUs are wanted.
    """
    yield ok("edit-eval", f"{edit_eval.__version__}, Python {platform.python_version()} ({sys.executable})")
    yield ok("libraries", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES))
    found = cores()
    few = f" of {found.machine}: affinity or cgroup" if found.usable < found.machine else ""
    yield ok("CPU", f"{found.usable:g} cores{few}")
    yield _memory()
    place = nearest_folder((folder or Path.cwd()).absolute())
    free = int(disk_usage(place).free)
    mend = "make room, or set output to a folder on another disk"
    text = f"{size_text(free)} free at {place}"
    yield ok("disk", text) if free >= _LOW_DISK_BYTES else warn("disk", text, mend)
    yield from examine_surroundings()
    yield from _gpus(alone=alone)


def _memory() -> Finding:
    found = memory()
    if found is None:
        return warn("memory", "/proc/meminfo does not tell")
    text = f"{size_text(found.free)} of {size_text(found.total)} free{' (cgroup)' if found.limited else ''}"
    if found.free >= _LOW_MEMORY_BYTES:
        return ok("memory", text)
    more = "ask for more (sbatch --mem, docker run -m), or " if found.limited else ""
    return warn("memory", text, f"{more}end what holds it; each model's process needs its own")


def _gpus(*, alone: bool) -> Iterator[Finding]:
    asks = GpuMemory()
    try:
        gpus = visible_gpus()
    except UserError as error:
        yield from from_error("GPUs", error, "name each GPU once in CUDA_VISIBLE_DEVICES")
        return
    if not gpus:
        fault, fault_mend = nvml_fault()
        yield from _left_out()
        masked = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = f"CUDA_VISIBLE_DEVICES={masked!r}" if masked is not None else "NVML finds none"
        mend = fault_mend or "for real models, run where there are GPUs; a container needs them passed in"
        text = f"none ({fault or why})"
        yield warn("GPUs", text, mend) if alone or fault else ok("GPUs", text)
        return
    if driver := asks.driver():
        yield ok("NVIDIA driver", f"{driver[0]}, runs CUDA up to {driver[1][0]}.{driver[1][1]}")
    for gpu in gpus:
        yield _gpu(asks, gpu)
    yield from _left_out()


def _left_out() -> Iterator[Finding]:
    """Say which GPUs are there and cannot be used."""
    for note in gpu_notes():
        if "MIG mode" in note:
            mend = "make instances (nvidia-smi mig -cgi 0 -C), or end MIG mode (nvidia-smi -mig 0)"
        elif "CUDA_VISIBLE_DEVICES" in note:
            mend = "correct the variable, or unset it; 'nvidia-smi -L' lists what there is"
        elif "does not answer" in note:
            mend = _GONE_MEND
        else:
            mend = "nothing, if it is another job's"
        yield warn("GPUs", note, mend)


def _gpu(asks: GpuMemory, gpu: Gpu) -> Finding:
    device = Device("cuda", (gpu.index,), (gpu.token,))
    total, used = asks.total_bytes(device), asks.used_bytes(device)
    name = asks.model_name(device) or "unnamed"
    if fault := asks.fault(device):
        return warn(device.label, fault, _GONE_MEND)
    if total is None or used is None:
        return ok(device.label, f"{name}; NVML does not tell its memory")
    text = f"{name}, {size_text(total - used)} of {size_text(total)} free"
    if not asks.taken([device]):
        return ok(device.label, text)
    who = ", ".join(asks.holders(device)) or "a process that cannot be seen from here"
    return warn(device.label, f"{text}; held by {who}", "wait until it is free, or name other devices")


def examine(
    read: Callable[[], Mapping[str, Any]],
    *,
    deep: bool = False,
    disk_usage: DiskUsage = shutil.disk_usage,
) -> Iterator[Finding]:
    """Look at everything a config needs, then at the machine.

    Args:
        read: returns the config's tree (`config.read_tree`); may raise `ConfigError`.
        deep: also import torch, and make one real edit and one verdict in a temporary run.
        disk_usage: as `shutil.disk_usage`.
    """
    everything: list[Finding] = []
    for finding in _examine(read, deep=deep, disk_usage=disk_usage):
        everything.append(finding)
        yield finding
    if deep:
        yield from _deep(read, everything)


def _examine(
    read: Callable[[], Mapping[str, Any]], *, deep: bool, disk_usage: DiskUsage
) -> Iterator[Finding]:
    checked, lost = None, frozenset[str]()
    problems: list[Finding] = []
    try:
        tree = read()
        try:
            checked = check_config(tree)
        except ConfigError as error:
            problems += from_error("config", error, "correct it in the config")
            checked, lost = salvaged(tree)
    except UserError as error:
        problems += from_error("config", error, "name a YAML file, or the directory of an earlier run")
    output = None
    if checked:
        try:
            output = output_folder(checked)
        except UserError as error:
            problems += from_error("output", error, "set another output")
    yield from examine_machine(output, disk_usage, alone=False)
    yield from problems or [ok("config", "every key is known")]
    if checked is None:
        return
    if output:
        yield from _output(output, lock=checked.config.lock)
    yield from _scratch(checked, disk_usage)
    if "benchmark" not in lost:
        yield from _benchmark(checked, output, disk_usage)
    measured: Measured = {}
    kinds: tuple[StageKind, ...] = ("editor", "judge")
    with closing(open_backend(checked.config.backend, gpus=visible_gpus())) as backend:
        for kind in kinds:
            if kind not in lost:
                yield from _stage(kind, checked, measured, backend, deep=deep)


def _stage(
    kind: StageKind, checked: Checked, measured: Measured, backend: Backend, *, deep: bool
) -> Iterator[Finding]:
    config: StageConfig | None = checked.config.editor if kind == "editor" else checked.config.judge
    found: Found | None = checked.editor if kind == "editor" else checked.judge
    if config is None or found is None:
        yield ok("judge", "none: this config only edits")
        return
    leave_out = checked.config.busy_gpus == "leave_out"
    params = checked.params["editor" if kind == "editor" else "judge"]
    cache = stage_cache(checked, config)
    check = StageCheck(kind, config, found, params, measured, cache, backend, leave_out=leave_out, deep=deep)
    seen = list(check.findings())
    yield from seen
    if checked.config.judge and kind == "judge":
        wanted = checked.config.judge.rubric or found.cls.default_rubric
        try:
            rubric = load_rubric(wanted or checked.benchmark.cls.default_rubric)
        except UserError as error:
            yield from from_error(
                "judge.rubric", error, "name one that 'edit-eval ls rubrics' lists, or a YAML file"
            )
        else:
            calls = len(rubric.calls)
            yield ok("judge.rubric", f"{rubric.name}: {calls} question{'' if calls == 1 else 's'} a verdict")
            if found.cls.remote_model and not any(one.level == "bad" for one in seen):
                yield from _asked(checked)


def _asked(checked: Checked) -> Iterator[Finding]:
    """Ask a judge at an endpoint one question."""
    if checked.config.preflight == "off":
        yield warn("judge", "not asked anything (preflight: off)")
        return
    try:
        yield from try_judge(judge_spec(checked))
    except UserError as error:
        yield from from_error("judge", error, "correct it in the config")


def _output(output: Path, *, lock: bool) -> Iterator[Finding]:
    """Look at the run directory: ours, writable, free."""
    place = nearest_folder(output)
    try:
        refuse_foreign(output)
        is_there = (output / "run.json").is_file()
        edits = read_ledger(output / "edits.jsonl", tells_of_edit) if is_there else None
        if is_there:
            read_info(output)
    except DamagedInfo as error:
        yield warn("output", str(error).partition("; ")[0], "a run writes it anew, and keeps the damaged one")
        return
    except (UserError, OSError) as error:
        yield from from_error("output", error, "set another output")
        return
    if output.is_file() or not os.access(place, os.W_OK | os.X_OK):
        what = f"{output} is a file" if output.is_file() else f"{place} is not writable"
        yield bad("output", what, "set another output (--output DIR)")
        return
    if fault := flock_fault(place):
        mend = "set output to a folder on another disk"
        text = f"{place}: this file system has no flock ({fault})"
        if lock:
            yield bad("output", text, f"{mend}, or lock=false if only one start is ever at work")
            return
        yield warn("output", text, f"{mend}; until then see to it that only one start is at work")
    elif option := local_locks(mount_of(place)):
        text = f"{place}: locks are not seen by other machines (mounted {option})"
        yield warn("output", text, "start this run on one machine at a time")
    if holder := lock_holder(output):
        yield bad("output", f"{output} is in use by {holder}", "wait for it, or set another output")
        return
    yield ok(
        "output",
        f"{output} ({'new' if edits is None else f'goes on; {len(edits)} outcomes of edits are there'})",
    )


def _scratch(checked: Checked, disk_usage: DiskUsage) -> Iterator[Finding]:
    """Look at where hosts put what they compile, and their temporary files."""
    try:
        found = find_scratch(checked.config.scratch, disk_usage)
    except UserError as error:
        yield from from_error("scratch", error, "set scratch to another folder")
        return
    if found.folder is None:
        yield ok("scratch", "each library has its own place")
    elif not found.asked:
        yield ok("scratch", f"{found.folder}, for the home folder cannot be written")
    elif len(os.fsencode(found.folder)) > _LONGEST_SCRATCH:
        mend = "give a shorter path if something says 'AF_UNIX path too long'"
        yield warn("scratch", f"{found.folder} is so long that sockets in it may not work", mend)
    else:
        free = int(disk_usage(nearest_folder(found.folder)).free)
        yield ok("scratch", f"{found.folder}, {size_text(free)} free")


def _benchmark(checked: Checked, output: Path | None, disk_usage: DiskUsage) -> Iterator[Finding]:
    """Look at the samples and their images, and at the disk that the edits will take."""
    config = checked.config
    try:
        with tempfile.TemporaryDirectory(prefix="edit-eval-doctor-") as scratch:
            samples = read_samples(checked, Path(scratch), Path(scratch))
            faults = image_faults(samples)
            size = edit_bytes(
                checked.params["editor"], samples, has_model=bool(checked.editor.cls.model_file)
            )
    except (UserError, OSError) as error:
        yield from from_error("benchmark", error, "correct benchmark.path, or the file that it names")
        return
    count = f"{len(samples)} samples of {config.benchmark.type}"
    if faults:
        yield bad(
            "benchmark",
            f"{count}; {_image_faults(faults)}",
            "put them there, or set benchmark.params.images to their folder"
            if checked.benchmark.name == "folder"
            else "put them there",
        )
    else:
        yield ok("benchmark", f"{count}; every image is there")
    if output:
        yield _disk(samples, config.repeats, output, size, disk_usage)


def _image_faults(faults: Sequence[ImageFault]) -> str:
    number = f"{len(faults)} image{'s are' if len(faults) > 1 else ' is'}"
    first = faults[0]
    if {one.kind for one in faults} == {"missing"}:
        return f"{number} missing, the first is {shown_path(first.path)} of sample {first.sample_id!r}"
    return f"{number} of no use; {first}"


def _disk(
    samples: list[Sample], repeats: int, output: Path, size: tuple[int, str], disk_usage: DiskUsage
) -> Finding:
    """Compare what the edits will take at most with what is free. What is there already is not counted again."""
    try:
        there = sum(
            one.get("status") == "edited"
            for one in read_ledger(output / "edits.jsonl", tells_of_edit).values()
        )
    except UserError:
        there = 0
    wanted = max(0, len(samples) * repeats - there)
    free = int(disk_usage(nearest_folder(output)).free)
    text = f"{wanted} edits take at most {size_text(wanted * size[0])} ({size[1]}); {size_text(free)} free"
    if wanted * size[0] > free:
        return bad("disk for edits", text, "make room, or set output to a folder on another disk")
    return ok("disk for edits", text)


# One real edit and one verdict -----------------------------------------------------------------------------------


def _deep(read: Callable[[], Mapping[str, Any]], before: list[Finding]) -> Iterator[Finding]:
    """Put one sample through the real pipeline, on the first free device of each stage, in a temporary run."""
    if any(one.level == "bad" for one in before):
        yield warn("deep", "not tried: a run would fail", "mend the bad lines above, then try --deep again")
        return
    with tempfile.TemporaryDirectory(prefix="edit-eval-doctor-") as scratch:
        try:
            checked = _one_sample(check_config(read()), Path(scratch) / "run")
            job = prepare(checked)
            run_job(job, lambda _event: None)
            yield from _outcomes(RunReader(job.output), judged=job.judge is not None)
        except RunFailed as error:
            yield bad("deep", str(error), "correct what the reason names; see docs/troubleshooting.md")
        except UserError as error:
            yield from from_error("deep", error, "see docs/troubleshooting.md")


def _one_sample(checked: Checked, output: Path) -> Checked:
    import dataclasses

    from edit_eval.driver.place import stage_devices

    memory_of = GpuMemory()
    stages: dict[str, Any] = {}
    of_stages: Sequence[tuple[StageKind, Found | None]] = (
        ("editor", checked.editor),
        ("judge", checked.judge),
    )
    with closing(open_backend(checked.config.backend, gpus=visible_gpus())) as backend:
        for kind, found in of_stages:
            stage: StageConfig | None = getattr(checked.config, kind)
            if stage is None or found is None:
                continue
            devices = stage_devices(kind, stage, found, backend)
            taken = memory_of.taken(devices)
            first = next((one for one in devices if one not in taken), devices[0])
            names = ["ray:1"] if first.node else [f"{first.kind}:{index}" for index in first.indices]
            stages[kind] = stage.model_copy(update={"devices": [names] if len(names) > 1 else names})
    changes = {"limit": 1, "repeats": 1, "output": str(output), "preflight": "off", **stages}
    return dataclasses.replace(checked, config=checked.config.model_copy(update=changes))


def _outcomes(run: RunReader, *, judged: bool) -> Iterator[Finding]:
    facts = run.info["starts"][-1]["hosts"]
    loads = {name.split()[0]: f", loaded in {one['load_s']:.1f} s" for name, one in facts.items()}
    for record in run.edits.values():
        if record["status"] != "edited":
            reason = record["reason"].splitlines()[0] if record["reason"] else record["kind"]
            yield bad(
                "deep edit", f"{record['kind']}: {reason}", "the reason is the editor's own; correct that"
            )
            return
        size = f"{record['image']['width']} x {record['image']['height']} px"
        yield ok("deep edit", f"{record['seconds']:.1f} s, {size}{loads.get('edit', '')}")
    for record in run.verdicts.values():
        verdict = record["verdict"]
        text = f"{record['seconds']:.1f} s{loads.get('judge', '')}"
        if verdict["unscored"] is None:
            yield ok("deep verdict", f"scored {verdict['overall']:.2f}, {text}")
        elif verdict["unscored"] == "error":
            yield bad(
                "deep verdict",
                f"error: {verdict['reply'][:200]}",
                "the reason is the judge's own; correct that",
            )
        else:
            mend = (
                "see 'Everything is unscored' in docs/troubleshooting.md, if it is so for other samples too"
            )
            yield warn("deep verdict", f"unscored ({verdict['unscored']}), {text}", mend)
    if judged and not run.verdicts:
        yield bad("deep verdict", "the judge gave none", "see docs/troubleshooting.md")
