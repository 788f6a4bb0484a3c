"""The core of the fault suite: what a fault is, how a run is disturbed, and how what became of it is judged.

A `Fault` is a row of the table. Its `inject` gets a `Trial`: a run directory of its own, processes to start and to end.
When `inject` returns, the run has ended and is compared with an undisturbed one of the same config by `judged`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from harness import PLUGINS, PYTHONPATH, ours

from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import Estimate, read_rows, summarize
from edit_eval.views.export import canonical_lines

BASE: Mapping[str, Any] = {
    "benchmark": {"type": "scenes", "params": {"n": 8, "size": 64}},
    "editor": {
        "type": "disturbed:DisturbedEditor",
        "params": {"error_rate": 0.4, "seconds": 0.02, "steps": 2},
        "devices": ["cpu:0", "cpu:1"],
        "env": {"PYTHONPATH": str(PLUGINS)},
    },
    "judge": {
        "type": "disturbed:DisturbedJudge",
        "batch_size": 2,
        "devices": ["cpu:0", "cpu:1"],
        "env": {"PYTHONPATH": str(PLUGINS)},
    },
}
"""The config of every trial; what a fault changes must not change results."""

IMPATIENT: Mapping[str, Any] = {
    f"{stage}.deadlines": {"load_s": 6, "first_task_s": 3, "task_s": 3, "task_factor": 1}
    for stage in ("editor", "judge")
}
"""Deadlines short enough for a test of a host that hangs."""


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    Attributes:
        family: `processes`, `messages`, `disk` ...
        name: as the table has it.
        inject: disturbs the trial's run and brings it to its end.
        short: trials in `make test`.
        long: trials in `make test-long` (these among them).
        says: regular expression of what must have been said, on standard output or error.
        redo: why a second line of the keys in `Trial.redone` is right; empty: no key may have two lines.
        litter: why folders in the temporary directory may stay; empty: nothing may.
        config: dotted config keys that this fault needs, such as short deadlines.
    """

    family: str
    name: str
    inject: Callable[[Trial], None]
    short: int = 1
    long: int = 5
    says: str = ""
    redo: str = ""
    litter: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)


def trials(faults: Sequence[Fault]) -> list[Any]:
    """Return the parameters of a test that takes (fault, number): the short form, and the rest marked `long`."""
    return [
        pytest.param(
            fault,
            number,
            id=f"{fault.family}: {fault.name} {number}",
            marks=[pytest.mark.long] if number >= fault.short else [],
        )
        for fault in faults
        for number in range(fault.long)
    ]


class Trial:
    """One run that is disturbed.

    Attributes:
        number: from 0; the same fault is injected at another moment in every trial (`spread`).
        folder: for this trial alone.
        output: run directory; `inject` may set another before the first start.
        injected: how often the fault struck; `inject` may set it.
        redone: keys that rightly have a second line in a ledger.
        env: variables of every start; `inject` may change them between starts.
        reference: what an undisturbed run gave, if `inject` made one itself.
        note: what `inject` measured, to stand beneath the table.
    """

    def __init__(self, fault: Fault, number: int, folder: Path) -> None:
        self.fault, self.number, self.folder = fault, number, folder
        self.output = folder / "run"
        self.injected = 1
        self.redone: set[str] = set()
        self.reference: Reference | None = None
        self.note = ""
        self.tree = _config(fault.config)
        self.mark = f"fault-{os.getpid()}-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
        self.counts, self.temporary = folder / "counts", folder / "tmp"
        for one in (self.counts, self.temporary):
            one.mkdir(parents=True)
        self.env = {
            "PYTHONPATH": PYTHONPATH,
            "XDG_CACHE_HOME": str(folder / "cache"),
            "TMPDIR": str(self.temporary),
            "EDIT_EVAL_TEST": self.mark,
            "EDIT_EVAL_FAULT_COUNTS": str(self.counts),
        }
        self._running: list[subprocess.Popen[str]] = []

    def spread(self, what: str = "") -> float:
        """Return a number in [0, 1) that depends on the fault, the trial's number and `what` alone."""
        text = f"{self.fault.name} {self.number} {what}"
        return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12

    # Starting and ending

    def strike(self, at: str, what: str, **more: Any) -> None:
        """Have hosts meet a fault from the next start on; see `disturbed`."""
        strikes = json.loads(self.env.get("EDIT_EVAL_FAULT", "[]"))
        self.env["EDIT_EVAL_FAULT"] = json.dumps([*strikes, {"at": at, "what": what, **more}])

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `edit-eval run` and return at once."""
        config = self.folder / "config.yaml"
        config.write_text(json.dumps({**self.tree, "output": str(self.output)}))
        with (self.folder / "said.txt").open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "edit_eval", "run", str(config), *arguments],
                cwd=self.folder,
                env={**os.environ, **self.env},
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._running.append(process)
        return process

    def end(self, process: subprocess.Popen[str], timeout_s: float = 120) -> int:
        """Wait for a start's end and return its exit code; nothing of it is left then."""
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {timeout_s:g} s: {self.text()}") from None
        self.wait_for(lambda: not ours(self.mark), "processes are left", 15)
        return code

    def run(self, *arguments: str) -> int:
        """Start the run, wait for its end, and return its exit code."""
        return self.end(self.start(*arguments))

    def text(self) -> str:
        """Return what all starts have said."""
        said = self.folder / "said.txt"
        return said.read_text(encoding="utf-8", errors="replace") if said.exists() else ""

    def give_up(self) -> None:
        """End what is still there, whatever it is."""
        for process in self._running:
            process.kill()
            process.wait()
        for pid in ours(self.mark):
            kill(pid)

    # Looking

    def wait_for(self, what: Callable[[], Any], vainly: str = "waited in vain", timeout_s: float = 60) -> Any:
        """Return what `what` returns as soon as it is something."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = what()
            if found:
                return found
            ended = all(process.poll() is not None for process in self._running)
            if time.monotonic() > deadline or (ended and time.monotonic() > deadline - timeout_s + 15):
                raise AssertionError(f"{vainly}: {self.text()}")
            time.sleep(0.01)

    def pids(self, role: str) -> list[int]:
        """Return the pids of the `host`s or `keeper`s of this trial that run now."""
        name = f"worker.{role}".encode()
        return sorted(pid for pid in ours(self.mark) if name in command_line(pid))

    def struck(self) -> list[int]:
        """Return the pids of hosts that a strike has hit so far."""
        return [int(text) for path in self.counts.glob("struck.*") if (text := path.read_text())]

    def wait_until_struck(self, times: int = 1) -> list[int]:
        """Wait until a strike has hit that often; return the pids."""
        return list(
            self.wait_for(lambda: len(self.struck()) >= times and self.struck(), "no host was struck")
        )

    def lines(self, ledger: str = "edits") -> int:
        """Return how many lines a ledger of the run has."""
        path = self.output / f"{ledger}.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def keys(self, ledger: str = "edits") -> list[str]:
        """Return the key of every outcome in a ledger, in order; no line that is damaged, or only doubts an image."""
        path = self.output / f"{ledger}.jsonl"
        records = filter(None, map(_record, path.read_bytes().splitlines()))
        return [one["key"] for one in records if one.get("image", {}).get("mtime_ns") != 0]


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "key" in found else None


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal, to a process that may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def command_line(pid: int) -> bytes:
    """Return the command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _config(changes: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(json.dumps(BASE))
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        section = tree
        for name in path:
            section = section[name]
        section[last] = value
    return tree


# What is done and looked at again and again


def refused(trial: Trial, code: int, *says: str) -> None:
    """Check that a start ended by the user's environment, in one line that says what to do."""
    line = trial.text().strip().splitlines()[-1]
    assert code == 2, (code, trial.text())
    assert line.startswith("edit-eval: "), trial.text()
    assert all(text in line for text in says), line


def finished(trial: Trial, *arguments: str) -> None:
    """Check that a start ends with everything done."""
    assert trial.run(*arguments) == 0, trial.text()


def nothing_to_do(trial: Trial) -> None:
    """Check that one more start does nothing and writes no line."""
    before = trial.lines("edits"), trial.lines("verdicts"), trial.text()
    finished(trial)
    assert "Nothing to do" in trial.text().removeprefix(before[2])
    assert (trial.lines("edits"), trial.lines("verdicts")) == before[:2]


def undisturbed(trial: Trial) -> Reference:
    """Run what the benchmark is now beside the trial's own run."""
    own, trial.output = trial.output, trial.folder / "quiet"
    finished(trial)
    found = outcome_of(trial.output)
    trial.output = own
    return found


# Judging


@dataclass(frozen=True)
class Reference:
    """What an undisturbed run gave: its canonical export, and its headline to the last bit."""

    canonical: tuple[str, ...]
    headline: Estimate


def outcome_of(output: Path) -> Reference:
    """Return what a run directory holds."""
    run = RunReader(output)
    rows = read_rows(run)
    return Reference(tuple(canonical_lines(rows)), summarize(run, rows).headline)


def results_key(tree: Mapping[str, Any]) -> str:
    """Return what a trial's results depend on."""
    return json.dumps([tree["benchmark"], tree["editor"]["params"], tree["judge"].get("params")])


@dataclass(frozen=True)
class Judged:
    """What became of a trial: samples lost, keys done twice, and what else is wrong."""

    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether the run came through."""
        return not (self.lost or self.doubled or self.problems)


def judged(trial: Trial, reference: Reference) -> Judged:
    """Compare a trial that has ended with an undisturbed run of the same config."""
    got = outcome_of(trial.output)
    have = set(got.canonical)
    lost = tuple(json.loads(line)["sample"] for line in reference.canonical if line not in have)
    doubled = tuple(
        key
        for ledger in ("edits", "verdicts")
        for key, count in Counter(trial.keys(ledger)).items()
        if count > (2 if key in trial.redone else 1)
    )
    return Judged(lost, doubled, tuple(_problems(trial, got, reference)))


def _problems(trial: Trial, got: Reference, reference: Reference) -> list[str]:
    found = []
    if got.canonical != reference.canonical:
        found.append("the export is not that of an undisturbed run")
    if got.headline != reference.headline:
        found.append(f"the headline is {got.headline}, undisturbed {reference.headline}")
    if left := ours(trial.mark):
        found.append(f"processes are left: {[command_line(pid) for pid in left]}")
    if files := leftovers(trial):
        found.append(f"temporary files are left: {files}")
    text = trial.text()
    if "Traceback" in text:
        found.append("there is a traceback")
    if not re.search(trial.fault.says, text):
        found.append(f"nothing said matches {trial.fault.says!r}")
    if bool(trial.redone) != bool(trial.fault.redo):
        found.append("what was done twice is not what the fault says")
    return [*found, text] if found else []


def leftovers(trial: Trial) -> list[str]:
    """Return the temporary files of a trial that are still there."""
    outside = [] if trial.fault.litter else trial.temporary.iterdir()
    notes = (".tidy", ".settled")  # are to stay
    within = (path for path in trial.output.rglob(".*") if path.name not in notes)
    return sorted(map(str, [*outside, *within]))
