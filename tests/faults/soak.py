"""A long run whose hosts are killed all the time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from faults.suite import Fault, Trial, kill, outcome_of

TASKS = 10_000
DEVICES = [f"cpu:{index}" for index in range(8)]
CONFIG: Mapping[str, Any] = {
    "editor.params": {"seconds": 0.03, "steps": 1},
    "editor.devices": DEVICES,
    "editor.max_attempts": 4,
}
LONGEST = 1.5
"""Times the undisturbed run's seconds."""


def _soak(trial: Trial) -> None:
    """Kill a host every second, chosen by a hash; compare with the same run, undisturbed."""
    del trial.tree["judge"]
    trial.tree["benchmark"] = {"type": "folder", "path": str(_benchmark(trial.folder / "data"))}
    quiet_s = _undisturbed(trial, "quiet")
    trial.injected = seconds = 0
    began = time.monotonic()
    driver = trial.start()
    while not _ended(driver, began + seconds):
        seconds += 1
        if hosts := trial.pids("host"):
            chosen = int(hashlib.sha256(f"{trial.number} {seconds}".encode()).hexdigest(), 16)
            kill(hosts[chosen % len(hosts)])
            trial.injected += 1
    assert trial.end(driver) == 0
    took_s = time.monotonic() - began
    if took_s > LONGEST * quiet_s:  # the machine may have become busier meanwhile
        quiet_s = _undisturbed(trial, "quiet again")
    done, keys = trial.lines(), len({*trial.keys()})
    trial.note = (
        f"undisturbed {quiet_s:.0f} s, with {trial.injected:,} hosts killed {took_s:.0f} s, "
        f"{took_s / quiet_s:.2f} times as long; {keys:,} tasks done, {done - keys} twice"
    )
    assert done == keys == TASKS
    assert "Retired" not in trial.text()
    assert took_s <= LONGEST * quiet_s


def _undisturbed(trial: Trial, name: str) -> float:
    """Run the same config beside the trial's own run; return the seconds, and keep the results as the reference."""
    own, trial.output = trial.output, trial.folder / name
    began = time.monotonic()
    assert trial.end(trial.start("--display", "none"), 600) == 0
    took_s = time.monotonic() - began
    trial.reference = outcome_of(trial.output)
    trial.output = own
    return took_s


def _ended(driver: subprocess.Popen[str], at: float) -> bool:
    """Wait until `at`; whether the driver has ended."""
    try:
        driver.wait(max(0.0, at - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _benchmark(folder: Path) -> Path:
    folder.mkdir()
    for index in range(10):
        Image.new("RGB", (32, 24), (index * 20, 90, 200)).save(folder / f"{index}.png")
    samples = [
        {"id": f"s{index:05}", "image": f"{index % 10}.png", "instruction": f"tint {index}"}
        for index in range(TASKS)
    ]
    path = folder / "samples.jsonl"
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return path


FAULTS = (
    Fault(
        "soak",
        "a host killed every second, 10,000 tasks on 8 devices",
        _soak,
        short=0,
        long=1,
        says="killed by SIGKILL",
        config=CONFIG,
    ),
)
