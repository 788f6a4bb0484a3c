"""How many devices one driver keeps busy: the real pipeline, pool, scheduler and ledgers, fed by simulated keepers.

    python perf/driver.py [--devices 10 100 1000 10000] [--seconds 25] [--steps 40] [--profile]

A keeper is the other end of a real socket in this process: it answers with the bytes that a real one would send, the edit
is a link to one small image, and time is virtual. The virtual clock goes on with the CPU that the driver uses and leaps
over what it waits; what the simulation itself uses does not count. So what is printed is what a core of its own would see:

    saturated   every edit takes no time: outcomes that the driver takes a second, ledger on disk, without progress
    busy        share of a core that the driver uses when an edit takes --seconds and tells of --steps steps
    kept busy   share of their time in which the devices have work, then
    ms          of CPU for an edit with its progress, then, and how often that is an append to the ledger alone

The baseline is measured in the same run: the same records appended to a ledger, and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import errno
import hashlib
import heapq
import json
import os
import pstats
import resource
import selectors
import shutil
import socket
import sys
import tempfile
import time
import types
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edit_eval.core.identity import file_sha256
from edit_eval.driver import keepers as keepers_module
from edit_eval.driver import pipeline as pipeline_module
from edit_eval.driver import pool as pool_module
from edit_eval.driver import slot as slot_module
from edit_eval.driver.config import check_config
from edit_eval.driver.control import Control
from edit_eval.driver.devices import Device
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.job import Job, prepare
from edit_eval.driver.ledger import Ledger, found_of_edit, tells_of_edit
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.store import image_path
from edit_eval.worker.protocol import FROM_KEEPER, VERSION, Channel

WINDOW = 2
MOST_EVENTS = 60_000
"""Messages of one measurement."""

OTHER_FILES = 100
"""Open files beside both ends of every keeper's socket."""


class Over(Exception):
    """Enough was measured."""


class Clock:
    """Virtual seconds: the driver's own CPU time, and what it would have waited."""

    def __init__(self) -> None:
        self.waited = 0.0
        self.foreign = 0.0  # CPU of the simulation
        self.now = 0.0
        self._began = time.process_time()

    def cpu(self) -> float:
        """CPU seconds of the driver."""
        return time.process_time() - self._began - self.foreign

    def look(self, cpu: float | None = None) -> float:
        """Return the seconds since the beginning, from now on told to who asks; `cpu`: of the process, if just read."""
        used = self.cpu() if cpu is None else cpu - self._began - self.foreign
        self.now = used + self.waited
        return self.now

    def __call__(self) -> float:
        """Seconds since the beginning, as of this round of the driver's loop."""
        return self.now


class Polling(selectors.DefaultSelector):
    """Waits for nothing: what will be said is said in virtual time."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what can be read now."""
        del timeout
        return super().select(0)


@dataclass
class Keeper:
    """One device's simulated keeper.

    Attributes:
        theirs: its end of the socket.
        tasks: that wait at it.
        free_at: since when it has none.
    """

    number: int
    channel: Told
    theirs: socket.socket
    tasks: deque[dict[str, Any]] = field(default_factory=deque)
    working: bool = False
    free_at: float = 0.0
    told: deque[tuple[str, dict[str, Any]]] = field(default_factory=deque)

    def why_lost(self) -> tuple[str, bool]:
        """Nothing is known."""
        return "", False

    def lost(self) -> None:
        """Hang up."""
        self.channel.close()
        self.theirs.close()

    def wait(self, timeout_s: float) -> bool:
        """End at once."""
        del timeout_s
        self.lost()
        return True


class Told(Channel):
    """The driver's end; what is sent is really sent, and told to the simulation, which need not parse it."""

    keeper: Keeper
    world: World

    def send(self, kind: str, /, **fields: Any) -> None:
        """Send and tell."""
        super().send(kind, **fields)
        self.keeper.told.append((kind, fields))
        self.world.heard.append(self.keeper)


class World:
    """All keepers, their time, and what came of it. It is the backend."""

    def __init__(self, root: Path, template: Path, seconds: float, steps: int, most: int) -> None:
        self.clock = Clock()
        self.root, self.template = root, template
        self.seconds, self.steps, self.most = seconds, steps, most
        self.heard: deque[Keeper] = deque()
        self.keepers: list[Keeper] = []
        self.events: list[tuple[float, int, Keeper, bytes, str]] = []
        self.count = self.delivered = self.edits = self.measured_edits = 0
        self.idle = 0.0
        self.warm_at: tuple[float, float, int] | None = None  # virtual time, CPU, edits
        found = template.stat()
        self.outcome = {
            "sha256": file_sha256(template),
            "bytes": found.st_size,
            "mtime_ns": found.st_mtime_ns,
            "width": 32,
            "height": 32,
            "source_size": [32, 32],
            "flags": [],
            "seconds": seconds,
            "steps": steps,
        }

    # The backend

    def launch(self, device: Device, log_folder: Path) -> Keeper:
        """Return a new keeper."""
        del log_folder
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        channel = Told(ours, FROM_KEEPER)
        keeper = Keeper(device.indices[0], channel, theirs)
        channel.keeper, channel.world = keeper, self
        self.keepers.append(keeper)
        return keeper

    def devices(self, asked: Any) -> list[Device]:
        """Return none: the job has them."""
        del asked
        return []

    def changes(self) -> Sequence[Any]:
        """Return nothing: no device comes or goes."""
        return ()

    def hopes(self) -> bool:
        """Nothing comes."""
        return False

    def close(self) -> None:
        """Nothing is held."""

    # The other end

    def tick(self) -> None:
        """Answer what was sent, and deliver what is due; called once in each round of the driver's loop."""
        began = time.process_time()
        now = self.clock.look(began)
        while self.heard:
            self._take(self.heard.popleft(), now)
        if self.events and self.events[0][0] > now:
            self.clock.waited += self.events[0][0] - now
            now = self.clock.now = self.events[0][0]
        while self.events and self.events[0][0] <= now:
            _, _, keeper, data, key = heapq.heappop(self.events)
            self._deliver(keeper, data, key, now)
        self.clock.foreign += time.process_time() - began
        if self.warm_at and self.delivered >= self.most:
            raise Over

    def _take(self, keeper: Keeper, now: float) -> None:
        kind, fields = keeper.told.popleft()
        with contextlib.suppress(BlockingIOError):
            keeper.theirs.recv(1 << 20)
        if kind == "start":
            facts = {"python": "3"}
            self._later(now, keeper, "ready", window=WINDOW, load_s=0.0, facts=facts)
        elif kind == "task":
            keeper.tasks.extend(fields["tasks"])
            self._begin(keeper, now)
        elif kind == "stop":
            self._later(now, keeper, "exited", code=0, reason="stop", why="", tail="", seconds=0.0)

    def _begin(self, keeper: Keeper, now: float) -> None:
        if keeper.working or not keeper.tasks:
            return
        task = keeper.tasks.popleft()
        keeper.working = True
        if self.warm_at:
            self.idle += now - keeper.free_at
        share = int(hashlib.sha256(task["id"].encode()).hexdigest()[:8], 16) / 16**8
        seconds = self.seconds * (0.5 + share)
        part = 1.0 if self.warm_at or not self.seconds else share  # the first ones end one after another
        self._later(now, keeper, "begun", ids=[task["id"]])
        for step in range(self.steps):
            at = now + part * seconds * (step + 1) / self.steps
            self._later(at, keeper, "progress", id=task["id"], step=step + 1, steps=self.steps)
        self._later(
            now + part * seconds, keeper, "done", id=task["id"], outcome=self.outcome, seconds=seconds
        )

    def _later(self, at: float, keeper: Keeper, kind: str, **fields: Any) -> None:
        data = json.dumps({"v": VERSION, "type": kind, **fields}, separators=(",", ":")).encode() + b"\n"
        self.count += 1
        heapq.heappush(self.events, (at, self.count, keeper, data, fields["id"] if kind == "done" else ""))

    def _deliver(self, keeper: Keeper, data: bytes, key: str, now: float) -> None:
        if key:
            path = self.root / image_path(key)
            path.parent.mkdir(exist_ok=True)
            self._link(path)
            keeper.working, keeper.free_at = False, now
            self.edits += 1
        keeper.theirs.send(data)
        self.delivered += 1
        if key:
            if self.warm_at is None and self.edits >= min(len(self.keepers), 20):
                self._warm(now)
            self._begin(keeper, now)

    def _link(self, path: Path) -> None:
        """Put the image there; a disk that has no more links for one file gets another of the same bytes."""
        try:
            os.link(self.template, path)
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            fresh = self.template.with_suffix(".fresh")
            shutil.copy2(self.template, fresh)
            fresh.replace(self.template)
            os.link(self.template, path)

    def _warm(self, now: float) -> None:
        """Begin to measure: every device is at work, and they end one after another."""
        self.warm_at = (now, self.clock.cpu(), self.edits)
        self.delivered = 0
        for keeper in self.keepers:
            keeper.free_at = now


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Attributes:
        edits: that came in.
        cpu_s: of the driver.
        virtual_s: that it took.
        busy: share of their time in which devices had work.
    """

    edits: int
    cpu_s: float
    virtual_s: float
    busy: float


def job_of(folder: Path, samples: int, devices: int) -> Job:
    """Return a job of so many samples of one image on so many devices."""
    from PIL import Image

    Image.new("RGB", (32, 32), (10, 20, 30)).save(folder / "0.png")
    with (folder / "samples.jsonl").open("w") as file:
        for number in range(samples):
            line = {"id": f"s{number}", "image": "0.png", "instruction": "Make the cat a dog."}
            file.write(json.dumps(line) + "\n")
    tree = {
        "benchmark": {"type": "folder", "path": str(folder / "samples.jsonl")},
        "editor": {"type": "scripted", "devices": ["cpu:0"]},
        "output": str(folder / "run"),
    }
    job = prepare(check_config(tree), stages=("edit",), hashes=FileHashes(keep=False))
    if job.editor.spec is None:
        raise RuntimeError("no editor")
    spec = replace(job.editor.spec, devices=[Device("cpu", (number,)) for number in range(devices)])
    return replace(job, editor=replace(job.editor, spec=spec))


def measured(
    devices: int, seconds: float, steps: int, most: int, profile: cProfile.Profile | None
) -> Measured:
    """Drive so many simulated devices until so many messages were delivered."""
    samples = 4 * devices + most // (steps + 2) + 100
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = job_of(folder, samples, devices)
        world = World(job.output, folder / "0.png", seconds, steps, most)
        virtual = types.SimpleNamespace(monotonic=world.clock, sleep=lambda _seconds: None)
        for module in (keepers_module, pool_module, slot_module, pipeline_module):
            vars(module)["time"] = virtual
        vars(keepers_module)["selectors"] = types.SimpleNamespace(
            **{**vars(selectors), "DefaultSelector": Polling}
        )
        if profile:
            profile.enable()
        try:
            run_job(
                job, lambda _event: None, stages=("edit",), backend=world, tick=world.tick, control=Control()
            )
        except Over:
            pass
        finally:
            if profile:
                profile.disable()
            for module in (keepers_module, pool_module, slot_module, pipeline_module):
                vars(module)["time"] = time
            vars(keepers_module)["selectors"] = selectors
        if world.warm_at is None:
            raise RuntimeError("no edit was measured")
        at, cpu, edits = world.warm_at
        virtual_s = world.clock.look() - at
        return Measured(
            world.edits - edits, world.clock.cpu() - cpu, virtual_s, 1 - world.idle / (virtual_s * devices)
        )


def append_ms(count: int = 20_000) -> float:
    """Return the CPU milliseconds of appending the record of an edit to a ledger on disk, and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "edits.jsonl", tells_of_edit, found_of_edit)
        began = time.process_time()
        for number in range(count):
            image = {"sha256": "0" * 64, "bytes": 9999, "mtime_ns": 10**18, "width": 32, "height": 32}
            about = {
                "sample": f"s{number}",
                "repeat": 0,
                "device": "CPU 0",
                "attempts": 0,
                "at": "2026-01-01T00:00:00",
            }
            more = {"source_size": [32, 32], "seconds": 25.0, "steps": 40, "flags": []}
            ledger.append({**about, "key": f"{number:064x}", "status": "edited", "image": image, **more})
            ledger.sync()
        used = time.process_time() - began
        ledger.close()
    return 1000 * used / count


def table(arguments: argparse.Namespace) -> Iterator[tuple[int, Measured, Measured]]:
    """Yield, for each number of devices, the saturated and the real measurement."""
    for devices in arguments.devices:
        fast = measured(devices, 0.0, 0, arguments.messages, None)
        yield devices, fast, measured(devices, arguments.seconds, arguments.steps, arguments.messages, None)


def main() -> int:
    """Print the table; exit 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--seconds", type=float, default=25.0, help="of an edit, on average")
    parser.add_argument("--steps", type=int, default=40, help="progress messages of an edit")
    parser.add_argument("--messages", type=int, default=MOST_EVENTS, help="of each measurement")
    parser.add_argument(
        "--profile", action="store_true", help="of the last number of devices, overloaded tenfold"
    )
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and 2 * max(arguments.devices) + OTHER_FILES > hard:
        most = (hard - OTHER_FILES) // 2
        print(f"{most:,} devices at most, for this process may open {hard:,} files (ulimit -Hn)")
        arguments.devices = sorted({min(one, most) for one in arguments.devices})
    baseline = append_ms()
    print(f"ledger append alone: {baseline:.3f} ms of CPU, {1000 / baseline:,.0f} a second")
    print(f"an edit takes {arguments.seconds:g} s and tells of {arguments.steps} steps")
    print("devices  saturated, edits/s  busy     kept busy  ms an edit  x append")
    slowest = float("inf")
    for devices, fast, real in table(arguments):
        rate = fast.edits / fast.cpu_s
        slowest = min(slowest, rate)
        each = 1000 * real.cpu_s / real.edits
        print(
            f"{devices:7,}  {rate:18,.0f}  {real.cpu_s / real.virtual_s:7.2%}  {real.busy:8.1%}  {each:10.2f}"
            f"  {each / baseline:8.0f}",
            flush=True,
        )
    if arguments.profile:
        profile = cProfile.Profile()
        measured(arguments.devices[-1], arguments.seconds / 10, arguments.steps, arguments.messages, profile)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    kept = slowest >= 1000
    print("1,000 edits a second and more" if kept else "BROKEN: fewer than 1,000 edits a second")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
