"""What scheduling costs: 1,000 simulated edits with heavy-tailed durations on 8 slots, through the real pool.

    python perf/orchestration.py [--tasks 1000] [--slots 8] [--mean-ms 80]

Hosts are real processes that sleep instead of computing. Printed, all measured in this run but the bound and the
round-robin line, which are arithmetic over the same durations:

    known     durations given to the scheduler as estimates (longest first)
    unknown   every estimate equal
    static    round-robin, decided beforehand, as a per-GPU script does it
    bound     max(sum / slots, longest): no schedule is shorter

The time is from the first task begun to the last one done, so that starting interpreters is not part of it.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import edit_eval
from edit_eval.driver.backends.local import LocalBackend
from edit_eval.driver.devices import Device
from edit_eval.driver.interpreters import Interpreter
from edit_eval.driver.pool import Pool
from edit_eval.driver.queue import Task
from edit_eval.driver.stage import StageSpec

HERE = Path(__file__).resolve().parent


def durations(count: int, mean_s: float) -> list[float]:
    """Return log-normal durations (sigma 1, the longest about 20 times the median), the same every time."""
    uniform = [
        int(hashlib.sha256(f"{index}".encode()).hexdigest()[:12], 16) / 16**12 for index in range(2 * count)
    ]
    normal = [
        math.sqrt(-2 * math.log(max(u, 1e-12))) * math.cos(2 * math.pi * v)
        for u, v in zip(uniform[:count], uniform[count:], strict=True)
    ]
    return [mean_s * math.exp(one - 0.5) for one in normal]


class Recorder:
    """The pool's handler: remembers when work began and ended."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.last = 0.0
        self.count = 0

    def done(self, *_: Any) -> None:
        """Count a finished task."""
        self.last = self.clock()
        self.count += 1

    def failed(self, _stage: str, task: Task, kind: str, reason: str, _device: Device) -> None:
        """Nothing may fail here."""
        raise RuntimeError(f"{task.id} failed: {kind}: {reason}")

    def started(self, *_: Any) -> None:
        """Not of interest."""

    def sent(self, *_: Any) -> None:
        """Not of interest."""

    def loaded(self, *_: Any) -> None:
        """Not of interest."""

    def progress(self, *_: Any) -> None:
        """Not of interest."""

    def tick(self) -> None:
        """Nothing to sync."""


def measure(seconds: list[float], slots: int, *, known: bool) -> tuple[float, float]:
    """Return (seconds from all hosts ready to the last task done, driver's CPU seconds)."""
    devices = [Device("cpu", (index,)) for index in range(slots)]
    packages = {"edit_eval": Path(edit_eval.__file__).resolve().parent, "sleeper.py": HERE / "sleeper.py"}
    message = {"role": "sleeper:SleepRole", "start_at": time.time() + 1.5 + 0.15 * slots}
    spec = StageSpec("edit", devices, Interpreter(sys.executable), {}, packages, message)
    recorder = Recorder(time.time)
    with tempfile.TemporaryDirectory() as folder:
        pool = Pool([spec], recorder, LocalBackend(), Path(folder), lambda _event: None)
        pool.add("edit", [Task(f"t{i}", {"seconds": s}, s if known else 1.0) for i, s in enumerate(seconds)])
        cpu = resource.getrusage(resource.RUSAGE_SELF)
        pool.run()
        after = resource.getrusage(resource.RUSAGE_SELF)
    if recorder.count != len(seconds):
        raise RuntimeError(f"{recorder.count} of {len(seconds)} tasks came back")
    used = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    return recorder.last - float(message["start_at"]), used


def main() -> int:
    """Print the table; exit 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--mean-ms", type=float, default=150.0)
    arguments = parser.parse_args()
    seconds = durations(arguments.tasks, arguments.mean_ms / 1000)
    bound = max(sum(seconds) / arguments.slots, *seconds)
    static = max(sum(seconds[slot :: arguments.slots]) for slot in range(arguments.slots))
    known, known_cpu = measure(seconds, arguments.slots, known=True)
    unknown, _ = measure(seconds, arguments.slots, known=False)
    per_task_ms = 1000 * known_cpu / arguments.tasks
    overhead_ms = 1000 * (known - bound) * arguments.slots / arguments.tasks
    print(
        f"{arguments.tasks} tasks, {arguments.slots} slots, sum {sum(seconds):.1f} s, longest {max(seconds):.2f} s"
    )
    print(f"bound    {bound:7.2f} s  1.000")
    print(f"known    {known:7.2f} s  {known / bound:.3f}")
    print(f"unknown  {unknown:7.2f} s  {unknown / bound:.3f}")
    print(f"static   {static:7.2f} s  {static / bound:.3f}  (arithmetic)")
    print(f"driver's CPU {per_task_ms:.2f} ms a task; slot time over the bound {overhead_ms:.2f} ms a task")
    kept = known <= 1.03 * bound and per_task_ms <= 5 and overhead_ms <= 5
    print(
        "within 1.03 of the bound and 5 ms a task"
        if kept
        else "BROKEN: not within 1.03 of the bound and 5 ms a task"
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
