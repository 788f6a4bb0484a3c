"""One run of the real pool, and what happened in it: what `pipeline.py` and `headline.py` have in common.

Models are `full` (Qwen-Image-Edit-2509 and Qwen3-VL-30B-A3B at their released sizes, random weights made on the device),
`tiny` (toy checkpoints of the same classes, on CPU slots) or `scripted` (no model, no torch: an editor that sleeps and a
judge that measures). Times are those of the driver's own clock, from its events; nothing is computed from a plan.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import shutil
import statistics
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edit_eval.driver.config import check_config
from edit_eval.driver.devices import visible_gpus
from edit_eval.driver.events import (
    DeviceState,
    EditFinished,
    Event,
    Note,
    StageName,
    StepProgress,
    Unloaded,
    VerdictGiven,
)
from edit_eval.driver.job import prepare
from edit_eval.driver.machine import memory
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.store import RunReader
from edit_eval.driver.telemetry import read_telemetry
from edit_eval.driver.timeline import Start, timelines
from edit_eval.driver.usage import Usage, usage

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from entry import need_gpus  # noqa: E402

__all__ = ["Models", "Ran", "Setting", "Watch", "devices_here", "run", "start_lines", "vllm_is_here"]

Models = Literal["full", "tiny", "scripted"]
_MEMORY_EVERY_S = 0.2


@dataclass(frozen=True)
class Setting:
    """What every run of one measurement has in common.

    Attributes:
        folder: for runs, toy checkpoints and the rubric.
        models: see the module.
        engine: of the judge: `vllm` or `transformers`.
        steps, size: of an edit: denoising steps, pixels a side.
        tokens: that a judge writes for a verdict.
        batch_size: of the judge on transformers.
        scratch: where compiled kernels are kept; a folder that is used again makes warm starts.
        editor: further parameters of the editor.
        judge: further parameters of the judge.
    """

    folder: Path
    models: Models
    engine: str
    steps: int
    size: int
    tokens: int
    batch_size: int = 4
    scratch: Path | None = None
    editor: Mapping[str, Any] = field(default_factory=dict)
    judge: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rubric(self) -> Path:
        """The rubric file that judges use, of three dimensions and one question."""
        path = self.folder / "perf.yaml"
        if not path.exists():
            from judge import rubric
            from scaling import as_file

            path.write_text(json.dumps(as_file(rubric(3))))
        return path


@dataclass
class Watch:
    """What happened on one device; times in seconds since the run began.

    Attributes:
        states: (moment, stage, state).
        steps: (moment, index of the sample, step) of edits.
        edits, verdicts: when each was there.
    """

    states: list[tuple[float, str, str]] = field(default_factory=list)
    steps: list[tuple[float, int, int]] = field(default_factory=list)
    edits: list[float] = field(default_factory=list)
    verdicts: list[float] = field(default_factory=list)

    def at(self, stage: str, state: str) -> float:
        """Return when the device first was in `state` of `stage`. Raises `LookupError` if it never was."""
        for at, where, what in self.states:
            if (where, what) == (stage, state):
                return at
        raise LookupError(f"no {stage} {state} on this device")

    def load_s(self, stage: str) -> float:
        """Return the seconds from the order to start a host to its being ready."""
        return self.at(stage, "ready") - self.at(stage, "starting")

    def step_s(self) -> float | None:
        """Return the median time of a step of an edit, the first one left out; fast ones are told of in groups."""
        pairs = itertools.pairwise(self.steps)
        gaps = [(b[0] - a[0]) / (b[2] - a[2]) for a, b in pairs if b[1] == a[1] and b[2] > a[2]]
        return statistics.median(gaps) if gaps else None

    def edit_s(self) -> float:
        """Return the median time from one edit to the next, all that is around it included."""
        ends = [self.at("edit", "ready"), *self.edits]
        gaps = [b - a for a, b in itertools.pairwise(ends)]
        return statistics.median(gaps[1:] or gaps)

    def first_extra_s(self) -> float:
        """Return how much longer the first edit took than the others: compilation, and what is done once."""
        return max(0.0, self.edits[0] - self.at("edit", "ready") - self.edit_s())

    def edits_per_s(self) -> float:
        """Return edits a second from the first edit on: neither load nor compilation, nor waiting at the end."""
        if len(self.edits) == 1:
            return 1 / self.edit_s()
        return (len(self.edits) - 1) / (self.edits[-1] - self.edits[0])

    def hand_over_s(self) -> float:
        """Return the seconds from the last edit to the first verdict."""
        return self.verdicts[0] - self.edits[-1]

    def judge_start_s(self) -> float:
        """Return the seconds from the order to start a judge to its first verdict."""
        return self.verdicts[0] - self.at("judge", "starting")

    def first_batch_s(self) -> float:
        """Return the seconds from the judge's being ready to its first verdict."""
        return self.verdicts[0] - self.at("judge", "ready")

    def unload_s(self, stage: str) -> float:
        """Return the seconds from the order to end a host to its memory being free."""
        return self.at(stage, "off") - self.at(stage, "stopping")


@dataclass(frozen=True)
class Ran:
    """One run.

    Attributes:
        watches: by device, those that worked.
        unloads: stage -> seconds from the first order to the last device's memory being free, one after another or not.
        wall_s: of the whole run.
        memory_share: the most of the machine's memory that was taken at once, page cache left out, 0..1.
        memory_bytes: the same in bytes.
        hosts: what each said of itself.
        start, usage: of the run's telemetry.
        output: the run directory.
        notes: warnings.
    """

    watches: Mapping[str, Watch]
    unloads: Mapping[str, float]
    wall_s: float
    memory_share: float
    memory_bytes: int
    hosts: Mapping[str, Mapping[str, Any]]
    start: Start
    usage: Usage
    output: Path
    notes: Sequence[str]

    def editors(self) -> list[Watch]:
        """Return the devices that made an edit."""
        return [one for one in self.watches.values() if one.edits]

    def judges(self) -> list[Watch]:
        """Return the devices that gave a verdict."""
        return [one for one in self.watches.values() if one.verdicts]

    def edits_per_s(self) -> float:
        """Return edits a second of all devices, load, compilation and waiting at the end left out."""
        return sum(one.edits_per_s() for one in self.editors())

    def verdicts_per_s(self) -> float:
        """Return verdicts a second of all devices, start left out."""
        return sum(len(one.verdicts) / (one.verdicts[-1] - one.at("judge", "ready")) for one in self.judges())

    def busy_share(self, device: str) -> float:
        """Return the share of a device's editing stage in which it edited: from its editor's being ready to its last edit."""
        watch = self.watches[device]
        begin, end = watch.at("edit", "ready"), watch.edits[-1]
        worked = sum(
            seconds
            for segment, seconds in self.start.lanes[device].between(begin, end)
            if segment.doing == "edit"
        )
        return worked / (end - begin)

    def facts(self) -> dict[str, Any]:
        """Return all this as plain JSON: what `pipeline.py` keeps of a run, to compose from."""
        devices: dict[str, dict[str, Any]] = {}
        for name, one in self.watches.items():
            found: dict[str, Any] = {"edits": len(one.edits), "verdicts": len(one.verdicts)}
            if one.edits:
                found |= {
                    "load_s": one.load_s("edit"),
                    "first_extra_s": one.first_extra_s(),
                    "step_s": one.step_s(),
                    "edit_s": one.edit_s(),
                    "edits_per_s": one.edits_per_s(),
                    "busy": self.busy_share(name),
                    "unload_s": one.unload_s("edit"),
                }
            if one.verdicts:
                found |= {
                    "judge_load_s": one.load_s("judge"),
                    "judge_start_s": one.judge_start_s(),
                    "first_batch_s": one.first_batch_s(),
                    "judge_unload_s": one.unload_s("judge"),
                }
            if one.edits and one.verdicts:
                found |= {
                    "hand_over_s": one.hand_over_s(),
                    "until_judge_ready_s": one.at("judge", "ready") - one.edits[-1],
                }
            devices[name] = found
        return {
            "devices": devices,
            "edits_per_s": self.edits_per_s(),
            "verdicts_per_s": self.verdicts_per_s(),
            "unloads": dict(self.unloads),
            "wall_s": self.wall_s,
            "memory_share": self.memory_share,
            "memory_gib": self.memory_bytes / 2**30,
            "hosts": {name: dict(one) for name, one in self.hosts.items()},
            "notes": list(self.notes),
        }


class _MemoryWatch(threading.Thread):
    """Sees how much of the machine's memory is taken, several times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.most_bytes, self.most_share = 0, 0.0

    def run(self) -> None:
        """Look until `ended`."""
        while not self.ended.wait(_MEMORY_EVERY_S):
            if now := memory():
                self.most_bytes = max(self.most_bytes, now.total - now.free)
                self.most_share = max(self.most_share, (now.total - now.free) / now.total)


def vllm_is_here() -> bool:
    """Whether this interpreter, which is also the hosts', has vLLM."""
    return importlib.util.find_spec("vllm") is not None


def devices_here(models: Models, wanted: str | None) -> list[str]:
    """Return the devices of a measurement: those named, else every GPU, else (without real models) two CPU slots."""
    if models != "full":
        return wanted.split(",") if wanted else ["cpu:0", "cpu:1"]
    devices = wanted.split(",") if wanted else [f"cuda:{gpu.index}" for gpu in visible_gpus()]
    need_gpus(devices or ["cuda:0"])
    return devices


def _tree(setting: Setting, devices: Sequence[str], edits: int, output: Path, steps: int) -> dict[str, Any]:
    """Return a run's config."""
    tree = {
        "benchmark": {"type": "scenes", "params": {"n": edits, "size": setting.size}},
        "editor": {"devices": list(devices), **_editor(setting, steps)},
        "judge": {"devices": list(devices), **_judge(setting)},
        "output": str(output),
        "preflight": "warn",
    }
    if setting.scratch:
        tree["scratch"] = str(setting.scratch)
    if path := os.environ.get("PYTHONPATH"):
        for stage in ("editor", "judge"):
            tree[stage]["env"] = {"PYTHONPATH": path}
    return tree


def _editor(setting: Setting, steps: int) -> dict[str, Any]:
    if setting.models == "scripted":
        return {
            "type": "scripted",
            "params": {"seconds": 0.12 * steps + 0.05, "steps": steps, **setting.editor},
        }
    from random_weights import tiny_checkpoint

    kind = "random_weights:FullSizeEditor" if setting.models == "full" else "qwen_image_edit"
    sides = {"height": setting.size, "width": setting.size}
    return {
        "type": kind,
        "model": str(tiny_checkpoint("qwen-image-edit-plus", setting.folder)),
        "params": {"num_inference_steps": steps, **sides, **setting.editor},
    }


def _judge(setting: Setting) -> dict[str, Any]:
    if setting.models == "scripted":
        return {"type": "reference", "params": {"seconds": 0.02, **setting.judge}}
    from random_weights import judge_folder

    full, vllm = setting.models == "full", setting.engine == "vllm"
    params: dict[str, Any] = {"max_new_tokens": setting.tokens, "retries": 0, "constrained": "off"}
    if vllm:
        params |= {"engine": "vllm", "load_format": "dummy", "ignore_eos": True, "max_model_len": 8192}
    else:
        params |= {"engine": "transformers"} if full else {"engine": "transformers", "dtype": "float32"}
    return {
        "type": "qwen3_vl" if vllm or not full else "random_weights:FullSizeJudge",
        "model": str(judge_folder(setting.scratch or setting.folder, full=full and vllm)),
        "rubric": str(setting.rubric),
        "batch_size": setting.batch_size,
        "params": {**params, **setting.judge},
    }


def run(
    name: str,
    setting: Setting,
    devices: Sequence[str],
    edits: int,
    *,
    stages: Sequence[StageName] = ("edit", "judge"),
    steps: int | None = None,
) -> Ran:
    """Edit and judge so many drawn scenes on these devices, and return what happened.

    Args:
        name: of the run's folder.
        setting: what is measured.
        devices: of both stages.
        edits: how many.
        stages: `("judge",)` alone judges edits that a scripted editor made before, on CPU slots.
        steps: of an edit, if not the setting's.
    """
    output = setting.folder / name
    tree = _tree(setting, devices, edits, output, steps or setting.steps)
    if "edit" not in stages:
        _edit_beforehand(tree)
    job = prepare(check_config(tree), stages=stages)
    watches: dict[str, Watch] = {}
    unloads: dict[str, float] = {}
    notes: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, DeviceState):
            watches.setdefault(event.device, Watch()).states.append(
                (event.at, event.stage or "", event.state)
            )
        elif isinstance(event, StepProgress) and event.stage == "edit":
            watches[event.device].steps.append((event.at, event.index, event.step))
        elif isinstance(event, EditFinished):
            watches[event.device].edits.append(event.at)
        elif isinstance(event, VerdictGiven):
            watches[event.device].verdicts.append(event.at)
        elif isinstance(event, Unloaded):
            unloads[event.stage] = event.seconds
        elif isinstance(event, Note) and event.level == "warning":
            notes.append(event.text)

    looking = _MemoryWatch()
    looking.start()
    try:
        run_job(job, hear, stages=stages)
    finally:
        looking.ended.set()
        looking.join()
    [start] = timelines(read_telemetry(output))[-1:]
    used = usage(read_telemetry(output))
    assert used is not None
    hosts = RunReader(output).info["starts"][-1]["hosts"]
    return Ran(
        watches,
        unloads,
        start.wall_s,
        looking.most_share,
        looking.most_bytes,
        hosts,
        start,
        used,
        output,
        notes,
    )


def _edit_beforehand(tree: Mapping[str, Any]) -> None:
    """Have the edits of a run made by an editor that takes no time, so that only judging is left."""
    output = Path(tree["output"])
    shutil.rmtree(output, ignore_errors=True)
    slots = [f"cpu:{index}" for index in range(max(1, min(8, (os.cpu_count() or 2) // 2)))]
    quick = {**tree, "editor": {"type": "scripted", "devices": slots}}
    tree["editor"].clear()
    tree["editor"].update(quick["editor"])
    run_job(prepare(check_config(quick), stages=("edit",)), lambda _: None, stages=("edit",))


def start_lines(ran: Ran, most: int = 30) -> list[str]:
    """Return what a judge's log says of how long parts of its start took: vLLM's own words, of the first device."""
    logs = sorted((ran.output / "logs").glob("judge-*.log"))
    if not logs:
        return []
    words = re.compile(r"\b(took|takes|finished in|seconds|secs)\b")
    lines = logs[0].read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.strip()[-200:] for line in lines if words.search(line)][:most]
