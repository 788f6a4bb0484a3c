"""Faults of processes: killed, hanging, crashing, never ready; and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from harness import ours

from edit_eval.driver.store import RunReader
from faults.suite import IMPATIENT, Fault, Trial, kill

SLOW: Mapping[str, Any] = {
    "benchmark.params": {"n": 20, "size": 48},
    "editor.params": {"error_rate": 0.4, "seconds": 0.2, "steps": 2},
    "judge.params": {"seconds": 0.03},
    "editor.devices": [f"cpu:{index}" for index in range(4)],
}
"""A run long enough to be killed a few times on its way."""

KILLS = 6
"""Kills of the driver in one trial."""


def _kill_host(place: str, trial: Trial) -> None:
    trial.strike(place, "wait", after=0 if place.startswith("load") else int(trial.spread() * 4))
    driver = trial.start()
    for pid in trial.wait_until_struck():
        kill(pid)
    assert trial.end(driver) == 0


def _host_does(place: str, what: str, trial: Trial, times: int = 1) -> None:
    trial.strike(place, what, after=0 if place.startswith("load") else int(trial.spread() * 4), times=times)
    trial.injected = times
    assert trial.run() == 0
    assert len(trial.struck()) == times


def _host_stopped(trial: Trial) -> None:
    trial.strike("edit", "wait", after=int(trial.spread() * 4))
    driver = trial.start()
    for pid in trial.wait_until_struck():
        kill(pid, signal.SIGSTOP)
    assert trial.end(driver) == 0


def _kill_keeper(trial: Trial) -> None:
    trial.strike("edit" if trial.number % 2 == 0 else "judge", "wait", after=int(trial.spread() * 3))
    driver = trial.start()
    [host] = trial.wait_until_struck()
    kill(int(Path(f"/proc/{host}/stat").read_text().rsplit(")", 1)[1].split()[1]))
    assert trial.end(driver) == 0


def _stop_keeper(trial: Trial) -> None:
    driver = trial.start()
    keepers = trial.wait_for(lambda: trial.lines() >= 2 and trial.pids("keeper"), "no keeper")
    kill(keepers[int(trial.spread() * len(keepers))], signal.SIGSTOP)
    assert trial.end(driver) == 0


def _stop_driver(trial: Trial) -> None:
    """Longer than any deadline: hosts whose answers wait to be heard are not to blame."""
    driver = trial.start()
    trial.wait_for(lambda: trial.lines() > trial.spread() * 5, "no edit")
    kill(driver.pid, signal.SIGSTOP)
    time.sleep(8)
    kill(driver.pid, signal.SIGCONT)
    assert trial.end(driver) == 0
    assert "Restarting" not in trial.text(), trial.text()


def _kill_driver(trial: Trial) -> None:
    """Again and again, at moments spread over a start's life, with another number of devices each time."""
    trial.injected = 0
    for number in range(KILLS):
        driver = trial.start("--devices", _devices(1 + (trial.number + number) % 4))
        try:
            code = driver.wait(0.1 + 1.6 * trial.spread(f"kill {number}"))
        except subprocess.TimeoutExpired:
            kill(driver.pid)
            trial.injected += 1
            trial.end(driver)
        else:
            assert code == 0, trial.text()
    assert trial.run("--devices", _devices(3)) == 0


def _kill_all(trial: Trial) -> None:
    """Everything at once, as a batch system or the kernel does it that ends a whole group."""
    trial.start()
    trial.wait_for(lambda: len(trial.pids("host")) >= 1, "no host")
    time.sleep(1.5 * trial.spread())
    for pid in ours(trial.mark):
        kill(pid)
    trial.wait_for(lambda: not ours(trial.mark), "processes are left", 15)
    assert trial.run("--devices", _devices(1 + trial.number % 4)) == 0


def _devices(count: int) -> str:
    return ",".join(f"cpu:{index}" for index in range(count))


def _out_of_memory(trial: Trial) -> None:
    """An exception of the sample's own: it fails by name, others go on, and it is taken up when asked."""
    trial.strike("edit", "oom", after=int(trial.spread() * 8))
    trial.tree["editor"]["devices"] = ["cpu:0"]  # no other device is asked for a second opinion
    assert trial.run() == 3
    failed = [record for record in RunReader(trial.output).edits.values() if record["status"] == "failed"]
    assert [record["kind"] for record in failed] == ["out_of_memory"]
    trial.redone = {record["key"] for record in failed}
    assert trial.run("--retry-failed") == 0


def _kernel_kills(trial: Trial) -> None:
    """The kernel's own kill, by a memory cgroup where one can be made; else by the limit of a process's memory."""
    group = _memory_group(trial.mark)
    trial.strike("edit", f"eat:{group}" if group else "eat:", after=int(trial.spread() * 4))
    try:
        assert trial.run() == 0
        if group:
            counted = (group / "memory.oom_control", group / "memory.events")
            text = next(path for path in counted if path.exists()).read_text()
            assert "oom_kill 1" in text.splitlines()
    finally:
        if group:
            group.rmdir()


def _memory_group(name: str) -> Path | None:
    """Make a memory cgroup that holds little, of either version; None where that is not allowed."""
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(root) / name
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            (group / limit).write_text(str(96 << 20))
            return group
        group.rmdir()
    return None


def _never_loads(trial: Trial) -> None:
    began = time.monotonic()
    trial.strike("load", ("raise", "crash", "exit", "refuse")[trial.number % 4], times=1000)
    assert trial.run() != 0
    assert time.monotonic() - began < 30
    trial.wait_for(lambda: "no device left for 8 tasks" in trial.text() or trial.number % 4 == 3, timeout_s=0)
    assert len(trial.struck()) <= 4  # no endless respawn
    del trial.env["EDIT_EVAL_FAULT"]
    assert trial.run() == 0


def _one_never_loads(trial: Trial) -> None:
    trial.strike("load", ("raise", "crash", "exit", "refuse")[trial.number % 4], times=1000, one_device=True)
    assert trial.run() == 0


def _one_fails_everything(trial: Trial) -> None:
    """An ordinary exception for every sample, on one device alone: faster than the others can work."""
    place = ("edit", "judge")[trial.number % 2]
    trial.strike(place, ("raise", "oom")[trial.number // 2 % 2], times=10_000, one_device=True)
    assert trial.run() == 0
    assert len(trial.struck()) >= 3


def _two_starts(trial: Trial) -> None:
    trial.strike("edit", "wait")
    first = trial.start()
    [host] = trial.wait_until_struck()
    began = time.monotonic()
    second = trial.start()
    assert second.wait(30) == 2
    assert time.monotonic() - began < 20
    holder = f"is in use by process {first.pid} on {os.uname().nodename}"
    assert holder in trial.text(), trial.text()
    if trial.number % 2:  # the holder goes on
        kill(host)
        assert trial.end(first) == 0
        return
    kill(
        first.pid
    )  # the lock is free at once, and not only when the last process below the dead one has gone
    first.wait()
    assert trial.run() == 0


FAULTS = (
    Fault(
        "processes",
        "SIGKILL of a host while it loads",
        partial(_kill_host, "load"),
        says="killed by SIGKILL",
    ),
    Fault(
        "processes",
        "SIGKILL of a host while editing",
        partial(_kill_host, "edit"),
        long=20,
        says="killed by SIGKILL",
    ),
    Fault(
        "processes",
        "SIGKILL of a host within an image's file",
        partial(_kill_host, "image"),
        long=20,
        says="killed by SIGKILL",
    ),
    Fault(
        "processes",
        "SIGKILL of a host between image and line",
        partial(_kill_host, "line"),
        long=20,
        says="killed by SIGKILL",
    ),
    Fault(
        "processes",
        "SIGKILL of a host while it loads the judge",
        partial(_kill_host, "load judge"),
        short=0,
        says="killed by SIGKILL",
    ),
    Fault(
        "processes",
        "SIGKILL of a host while judging",
        partial(_kill_host, "judge"),
        long=20,
        says="killed by SIGKILL",
    ),
    Fault("processes", "SIGKILL of a keeper", _kill_keeper, short=2, long=20, says="the keeper went away"),
    Fault("processes", "SIGKILL of the driver, then other devices", _kill_driver, long=17, config=SLOW),
    Fault(
        "processes",
        "SIGKILL of every process at once",
        _kill_all,
        long=20,
        litter="nobody is left to remove the keepers' folders",
        config=SLOW,
    ),
    Fault(
        "processes",
        "the driver is stopped and goes on (SIGSTOP)",
        _stop_driver,
        short=0,
        long=4,
        config=IMPATIENT,
    ),
    Fault(
        "processes",
        "a host hangs up and stays",
        partial(_host_does, "edit", "hang up"),
        says="the host closed its socket and did not end",
    ),
    Fault(
        "processes",
        "a host hangs in Python",
        partial(_host_does, "edit", "hang"),
        short=0,
        says="no sign of life while working",
        config=IMPATIENT,
    ),
    Fault(
        "processes",
        "a host hangs in C with the lock held",
        partial(_host_does, "judge", "hang-c"),
        says="no sign of life while working",
        config=IMPATIENT,
    ),
    Fault(
        "processes",
        "a host hangs in C while it loads",
        partial(_host_does, "load", "hang-c", times=2),
        says="no sign of life while loading",
        config=IMPATIENT,
    ),
    Fault(
        "processes",
        "a host is stopped (SIGSTOP)",
        _host_stopped,
        says="no sign of life while working",
        config=IMPATIENT,
    ),
    Fault(
        "processes",
        "a keeper is stopped (SIGSTOP)",
        _stop_keeper,
        short=0,
        long=2,
        says="the keeper was silent",
    ),
    Fault(
        "processes",
        "a segmentation fault",
        partial(_host_does, "edit", "segfault"),
        short=0,
        says="killed by signal 11",
    ),
    Fault(
        "processes",
        "MemoryError in Python",
        _out_of_memory,
        says="out_of_memory",
        redo="a failed edit is taken up when asked",
    ),
    Fault("processes", "the kernel's kill for want of memory", _kernel_kills, says="for want of memory"),
    Fault(
        "processes",
        "exit with code 0 before it is ready",
        partial(_host_does, "load", "exit"),
        says="ended with exit code 0",
    ),
    Fault(
        "processes",
        "exit with code 0 while editing",
        partial(_host_does, "edit", "exit"),
        short=0,
        says="ended with exit code 0",
    ),
    Fault(
        "processes",
        "exit with code 0 while judging",
        partial(_host_does, "judge", "exit"),
        short=0,
        says="ended with exit code 0",
    ),
    Fault(
        "processes", "the model loads on no device", _never_loads, long=8, says="no device left|is not well"
    ),
    Fault(
        "processes",
        "the model does not load on one device",
        _one_never_loads,
        long=8,
        says="Retired from editing: the model does not load",
        config=SLOW,
    ),
    Fault(
        "processes",
        "every sample fails on one device",
        _one_fails_everything,
        long=8,
        says="what failed here succeeded elsewhere",
        config=SLOW,
    ),
    Fault("processes", "two starts of one run", _two_starts, short=2, long=6, says="is in use by process"),
    Fault(
        "processes",
        "descendants that keep everything open",
        partial(_host_does, "edit", "wander"),
        says="killed by SIGKILL",
    ),
)
