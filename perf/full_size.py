"""The whole job at full size on this machine's GPUs, with random weights: every second of every device.

    python perf/full_size.py [--edits 12] [--steps 10] [--size 1024] [--tokens 64] [--tiny] [--devices cuda:0,cuda:1]

Runs the real pipeline (keepers, hosts, ledgers, hand-over) on drawn scenes and prints, per device: seconds to load,
seconds a denoising step, edits, NVML utilisation while editing and judging, peak memory, seconds to unload, and the
time between its last edit and its first verdict; then what the run's own recorder says (the table that every run ends
with). Random weights give unreadable replies: every verdict is unscored.
`--tiny` uses toy models on the CPU, to try the script itself.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edit_eval.driver.config import check_config
from edit_eval.driver.devices import Device, _nvml
from edit_eval.driver.events import DeviceState, EditFinished, Event, StepProgress, Unloaded, VerdictGiven
from edit_eval.driver.job import prepare
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import summarize
from edit_eval.driver.telemetry import read_telemetry
from edit_eval.driver.usage import usage
from edit_eval.views.usage import usage_block

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from entry import need_gpus, script  # noqa: E402
from random_weights import tiny_checkpoint  # noqa: E402


@dataclass
class Watch:
    """What happened on one device; times in seconds since the run began."""

    states: list[tuple[float, str, str]] = field(default_factory=list)
    steps: list[tuple[float, int, int]] = field(default_factory=list)
    edits: list[float] = field(default_factory=list)
    verdicts: list[float] = field(default_factory=list)

    def at(self, stage: str, *states: str) -> float | None:
        """Return when the device first was in one of `states` of `stage`."""
        return next((at for at, where, state in self.states if where == stage and state in states), None)

    def seconds_a_step(self) -> float | None:
        """Return the median time between two steps of one edit."""
        pairs = zip(self.steps, self.steps[1:], strict=False)
        gaps = [b[0] - a[0] for a, b in pairs if b[1] == a[1] and b[2] == a[2] + 1]
        return statistics.median(gaps) if gaps else None


class Sampler(threading.Thread):
    """Asks NVML for utilisation and memory five times a second."""

    def __init__(self, devices: Sequence[Device], began: float) -> None:
        super().__init__(daemon=True)
        self._nvml: Any = _nvml()
        self._devices = [device for device in devices if device.kind == "cuda"] if self._nvml else []
        self._began = began
        self.samples: dict[str, list[tuple[float, int, int]]] = {device.label: [] for device in self._devices}
        self.ended = threading.Event()

    def run(self) -> None:
        """Sample until `ended`."""
        while not self.ended.wait(0.2):
            for device in self._devices:
                handle = self._nvml.nvmlDeviceGetHandleByIndex(int(device.tokens[0]))
                used = int(self._nvml.nvmlDeviceGetMemoryInfo(handle).used)
                share = int(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
                self.samples[device.label].append((time.monotonic() - self._began, share, used))

    def mean(self, label: str, begin: float | None, end: float | None) -> float | None:
        """Return the mean utilisation in percent between two moments."""
        if begin is None or end is None:
            return None
        shares = [share for at, share, _ in self.samples.get(label, []) if begin <= at <= end]
        return statistics.fmean(shares) if shares else None

    def peak_gib(self, label: str) -> float | None:
        """Return the most memory in use."""
        return max((used for _, _, used in self.samples.get(label, [])), default=0) / 2**30 or None


def config(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the run's config."""
    editor, judge = (tiny_checkpoint(name, folder) for name in ("qwen-image-edit-plus", "qwen3-vl-moe"))
    devices = (
        arguments.devices.split(",") if arguments.devices else (["cpu:0"] if arguments.tiny else ["all"])
    )
    kinds = (
        ("qwen_image_edit", "qwen3_vl")
        if arguments.tiny
        else ("random_weights:FullSizeEditor", "random_weights:FullSizeJudge")
    )
    env = {"PYTHONPATH": os.environ["PYTHONPATH"]} if os.environ.get("PYTHONPATH") else {}
    sides = {"height": arguments.size, "width": arguments.size}
    return {
        "benchmark": {"type": "scenes", "params": {"n": arguments.edits, "size": arguments.size}},
        "editor": {
            "type": kinds[0],
            "model": str(editor),
            "devices": devices,
            "env": env,
            "params": {"num_inference_steps": arguments.steps, **sides},
        },
        "judge": {
            "type": kinds[1],
            "model": str(judge),
            "rubric": "general-v1",
            "devices": devices,
            "env": env,
            "batch_size": arguments.batch_size,
            "params": {"max_new_tokens": arguments.tokens},
        },
        "output": str(arguments.output or folder / "run"),
        "stages": arguments.stages,
    }


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edits", type=int, default=12)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--stages", default="overlapped")
    parser.add_argument("--devices")
    parser.add_argument("--output")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    if not arguments.tiny:
        need_gpus(arguments.devices.split(",") if arguments.devices else ["cuda:0"])
    with tempfile.TemporaryDirectory() as name:
        job = prepare(check_config(config(arguments, Path(name))))
        watches: dict[str, Watch] = {device.label: Watch() for device in job.editor.spec.devices}
        unloads: list[Unloaded] = []
        began = time.monotonic()
        sampler = Sampler(job.editor.spec.devices, began)
        sampler.start()

        def note(event: Event) -> None:
            at = time.monotonic() - began
            if isinstance(event, DeviceState):
                watches[event.device].states.append((at, event.stage or "", event.state))
                print(
                    f"{at:7.1f} s  {event.device} {event.stage or ''} {event.state} {event.detail}",
                    flush=True,
                )
            elif isinstance(event, StepProgress):
                watches[event.device].steps.append((at, event.index, event.step))
            elif isinstance(event, EditFinished):
                watches[event.device].edits.append(at)
            elif isinstance(event, VerdictGiven):
                watches[event.device].verdicts.append(at)
            elif isinstance(event, Unloaded):
                unloads.append(event)
            else:
                print(f"{at:7.1f} s  {event}", flush=True)

        try:
            run_job(job, note)
        finally:
            sampler.ended.set()
        total = time.monotonic() - began
        run = RunReader(job.output)
        report(watches, sampler, unloads, total)
        used = usage(read_telemetry(job.output))
        if used:
            print(f"\n{usage_block(used)}\n")
        summary = summarize(run)
        print(f"edited {summary.edited}, scored {summary.scored}, unscored {dict(summary.unscored)}")
        print(json.dumps({"hosts": run.info["starts"][-1]["hosts"]}))
    return 0


def report(watches: dict[str, Watch], sampler: Sampler, unloads: Sequence[Unloaded], total: float) -> None:
    """Print one column per device."""
    rows: list[tuple[str, list[str]]] = []

    def row(title: str, *values: float | None, unit: str = "s", digits: int = 2) -> None:
        rows.append((title, ["-" if value is None else f"{value:.{digits}f} {unit}" for value in values]))

    def between(begin: float | None, end: float | None) -> float | None:
        return None if begin is None or end is None else end - begin

    every = list(watches.items())
    edit_end = {label: (one.edits[-1] if one.edits else None) for label, one in every}
    judge_start = {label: (one.verdicts[0] if one.verdicts else None) for label, one in every}
    row(
        "editor: start to ready",
        *(between(w.at("edit", "starting"), w.at("edit", "ready")) for _, w in every),
    )
    rows.append(("edits", [str(len(w.edits)) for _, w in every]))
    row("a denoising step", *(w.seconds_a_step() for _, w in every), digits=3)
    row("an edit, all in all", *(
        between(w.at("edit", "ready"), w.edits[-1]) / len(w.edits) if w.edits else None for _, w in every  # type: ignore[operator]
    ))  # fmt: skip
    row("utilisation while editing", *(
        sampler.mean(label, w.at("edit", "ready"), edit_end[label]) for label, w in every
    ), unit="%", digits=1)  # fmt: skip
    row("last edit to editor gone and memory free", *(
        between(edit_end[label], w.at("edit", "off")) for label, w in every
    ))  # fmt: skip
    row(
        "order to unload to memory free",
        *(between(w.at("edit", "stopping"), w.at("edit", "off")) for _, w in every),
    )
    row(
        "idle: last edit to first verdict",
        *(between(edit_end[label], judge_start[label]) for label, _ in every),
    )
    row(
        "of it, judge: start to ready",
        *(between(w.at("judge", "starting"), w.at("judge", "ready")) for _, w in every),
    )
    row(
        "of it, the first batch", *(between(w.at("judge", "ready"), judge_start[label]) for label, w in every)
    )
    rows.append(("verdicts", [str(len(w.verdicts)) for _, w in every]))
    row("a verdict", *(
        between(w.at("judge", "ready"), w.verdicts[-1]) / len(w.verdicts) if w.verdicts else None  # type: ignore[operator]
        for _, w in every
    ))  # fmt: skip
    row("utilisation while judging", *(
        sampler.mean(label, w.at("judge", "ready"), w.verdicts[-1] if w.verdicts else None) for label, w in every
    ), unit="%", digits=1)  # fmt: skip
    row("peak memory", *(sampler.peak_gib(label) for label, _ in every), unit="GiB", digits=1)
    print(f"\n| | {' | '.join(label for label, _ in every)} |\n|---|{'---|' * len(every)}")
    for title, cells in rows:
        print(f"| {title} | {' | '.join(cells)} |")
    for one in unloads:
        print(
            f"\n{one.stage}: {len(one.devices)} devices unloaded, the slowest in {one.seconds:.2f} s", end=""
        )
    print(f"\nthe whole run: {total:.1f} s")


if __name__ == "__main__":
    script(main)
