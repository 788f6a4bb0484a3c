"""Earlier runs beside an output folder: how long an edit or a verdict took there, on which kind of device.

Reads run.json and ledgers; what cannot be read is left out. Decides what may be compared, and computes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edit_eval.core.errors import RunError
from edit_eval.driver.config import StageConfig
from edit_eval.driver.devices import Device, GpuMemory
from edit_eval.driver.events import StageName
from edit_eval.driver.job import Job, StageJob
from edit_eval.driver.judges import main_judge
from edit_eval.driver.ledger import read_ledger, tells_of_edit, tells_of_verdict
from edit_eval.driver.runinfo import read_info

__all__ = ["EarlierRun", "earlier_runs", "hardware_name", "same_editor", "same_judge"]

_MOST = 50


def hardware_name(memory: GpuMemory, device: Device) -> str:
    """Return the kind of a device, within which times can be compared: the GPU's name, or `CPU`."""
    if device.kind == "cpu":
        return "CPU"
    return _several(memory.model_name(device) or "GPU", len(device.indices))


def _several(name: str, parts: int) -> str:
    return f"{name} x {parts}" if parts > 1 else name


@dataclass(frozen=True)
class EarlierRun:
    """A run that was found: its folder and its run.json."""

    path: Path
    info: Mapping[str, Any]

    def edit_seconds(self, hardware: Sequence[str]) -> list[float]:
        """Return the seconds of every edit made on one of these kinds of device."""
        return self._seconds("edit", self._edits(), hardware)

    def verdict_seconds(self, hardware: Sequence[str]) -> list[float]:
        """Return the seconds of every verdict that the run's own judge gave on one of these kinds of device."""
        own = main_judge(self.info)
        known = {None, own.judging.judge_id} if own else {None}  # lines were not always marked
        records = self._records("verdicts.jsonl", tells_of_verdict)
        return self._seconds("judge", [one for one in records if one.get("judge") in known], hardware)

    def image_bytes(self) -> list[int]:
        """Return the size of every edit."""
        return [int(record["image"]["bytes"]) for record in self._edits()]

    def _edits(self) -> list[dict[str, Any]]:
        return [
            record
            for record in self._records("edits.jsonl", tells_of_edit)
            if record.get("status") == "edited"
        ]

    def _records(self, name: str, tells: Callable[[Mapping[str, Any]], bool]) -> list[dict[str, Any]]:
        try:
            return list(read_ledger(self.path / name, tells).values())
        except RunError:
            return []

    def _seconds(
        self, stage: StageName, records: Sequence[Mapping[str, Any]], hardware: Sequence[str]
    ) -> list[float]:
        return [
            float(record["seconds"])
            for record in records
            if record.get("seconds") and self._hardware(stage, record.get("device", "")) in hardware
        ]

    def _hardware(self, stage: StageName, label: str) -> str | None:
        """Return what the device of that label was; None if no host told, or different ones did."""
        starts = [(start or {}).get("hosts") or {} for start in self.info.get("starts", [])]
        hosts = [start.get(f"{stage} {label}") for start in starts]
        said = {"CPU" if label.startswith("CPU") else facts.get("accelerator") for facts in hosts if facts}
        name = said.pop() if len(said) == 1 else None
        return name and _several(name, label.count("+") + 1)


def earlier_runs(output: Path) -> Iterator[EarlierRun]:
    """Yield the run in `output` and those beside it, newest first, at most 50."""
    found = []
    for path in output.parent.glob("*/run.json"):
        try:
            found.append((path.stat().st_mtime_ns, path))
        except OSError:
            continue
    for _, path in sorted(found, reverse=True)[:_MOST]:
        try:
            info = read_info(path.parent)
        except (RunError, OSError):
            continue
        if "identity" in info:
            yield EarlierRun(path.parent, info)


def same_editor(run: EarlierRun, job: Job) -> bool:
    """Whether that run had this editor: type, model, replaced parts and parameters.

    Models are compared by name and not by content: a later checkpoint of one model takes as long.
    """
    return _same(run, "editor", job.editor, job.checked.config.editor, ("type", "model", "components"))


def same_judge(run: EarlierRun, job: Job) -> bool:
    """Whether that run had this judge: type, model, batch size, parameters and rubric."""
    judge, config = job.judge, job.checked.config.judge
    if judge is None or config is None:
        return False
    rubric = judge.rubrics_hash
    return run.info["identity"].get("rubric") == rubric and _same(
        run, "judge", judge.stage, config, ("type", "model", "batch_size")
    )


def _same(run: EarlierRun, kind: str, stage: StageJob, config: StageConfig, keys: Sequence[str]) -> bool:
    theirs, identity = (run.info.get("config") or {}).get(kind), run.info["identity"].get(kind)
    if not isinstance(theirs, dict) or not isinstance(identity, dict):
        return False
    params = json.loads(json.dumps(stage.identity["params"]))  # as it comes back from a file
    given = theirs.get("params") or {}
    others = {*given, *config.params} - set(
        params
    )  # such as the attention backend: no other pixels, other times
    return (
        all(theirs.get(key) == getattr(config, key) for key in keys)
        and identity.get("params") == params
        and all(given.get(name) == config.params.get(name) for name in others)
    )
