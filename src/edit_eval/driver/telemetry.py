"""The recorder: what every device did and drew, second by second, appended to `telemetry.jsonl` in the run.

One JSON object a line. Every line has `v` (1), `type`, `start` (which start of the run, from 1), `n` (a count within
it), `at` (seconds since this start began) and `time` (seconds since 1970):

| `type` | keys |
|---|---|
| `start` | `devices` (list of `device`, `kind`, `gpus` (ids), `stages`), `gpus` (id -> `name`, `memory_bytes`), `nvml` (null, or why there is none), `interval_s` |
| `devices` | `devices`, `gpus` as of `start`: of devices that came later, or of whose GPUs more became known |
| `state` | `device`, `stage` (or null), `state` (as in `events.DeviceState`, and `working`), `detail` |
| `host` | `device`, `stage`, `pid`: a host was started |
| `task` | `device`, `stage`, `ok`, `seconds` (of the host), `steps`: a task has ended |
| `stage` | `stage`: it has no work left |
| `sample` | `gpus` (id -> values of `readings.GPU_COLUMNS`), `hosts` (device -> values of `readings.HOST_COLUMNS`); null: unknown |
| `end` | none |

It is provenance: nothing of it is in a key, a sample or the canonical export, and a run is the same without it. NVML is
asked from a thread of its own: a call can wait for seconds while a driver tears down 60 GiB or a GPU falls off the bus,
and the loop that feeds all other devices must not. The thread only reads; the loop writes, in `tick`.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

from edit_eval.driver.backends import Readings
from edit_eval.driver.devices import Device
from edit_eval.driver.events import DeviceState, Emit, Event, Note, StageFinished, StageName
from edit_eval.driver.ledger import json_bytes, json_value
from edit_eval.driver.refusals import why_not
from edit_eval.driver.shapes import Each, misfit_of
from edit_eval.worker.readings import GPU_COLUMNS, HOST_COLUMNS, GpuReader, ProcessReader, Reading

__all__ = ["INTERVAL_S", "VERSION", "Recorder", "read_telemetry"]

VERSION = 1
INTERVAL_S = 1.0
"""Seconds between two readings."""

_WRITE_EVERY_S = 1.0
_MOST_UNWRITTEN = 1000
_MOST_UNREAD = 60
_LONGEST_DETAIL = 300
_CLOSE_S = 2.0
_FILE = "telemetry.jsonl"


def read_telemetry(run: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a run, one by one; lines that are none (torn, or of a newer version) are left out."""
    try:
        file = (run / _FILE).open("rb")
    except OSError:
        return
    with file:
        for line in file:
            try:
                record = json_value(line)
            except ValueError:
                continue
            if isinstance(record, dict) and record.get("v") == VERSION and _tells(record):
                yield record


_STAGE = frozenset(get_args(StageName))
_ANY = {"!type": str, "!start": int, "!n": int, "!at": float}
_READINGS = Each([(float, None)])
_SHAPES: Mapping[str, Mapping[str, Any]] = {
    "start": {
        "!devices": [{"!device": str, "!kind": str, "!gpus": [str], "!stages": [str]}],
        "!gpus": Each({"!memory_bytes": (int, None)}),
    },
    "devices": {
        "!devices": [{"!device": str, "!kind": str, "!gpus": [str], "!stages": [str]}],
        "!gpus": Each({"!memory_bytes": (int, None)}),
    },
    "state": {"!device": str, "!stage": (_STAGE, None), "!state": str, "!detail": str},
    "task": {"!device": str, "!stage": _STAGE, "!ok": bool, "!seconds": float, "!steps": int},
    "stage": {"!stage": _STAGE},
    "sample": {"!gpus": _READINGS, "!hosts": _READINGS},
}
"""What is read of a record, by its type."""
_ANY_MISFIT = misfit_of(_ANY)
_MISFITS = {kind: misfit_of({**_ANY, **shape}) for kind, shape in _SHAPES.items()}


def _tells(record: dict[str, Any]) -> bool:
    """Whether a record has what is read of its type; one that has not is as good as torn."""
    if _MISFITS.get(str(record.get("type")), _ANY_MISFIT)(record) is not None:
        return False
    if record["type"] != "sample":
        return True
    gpus, hosts = record["gpus"].values(), record["hosts"].values()
    return all(len(one) == len(GPU_COLUMNS) for one in gpus) and all(
        len(one) == len(HOST_COLUMNS) for one in hosts
    )


def _lanes(devices: Mapping[StageName, Sequence[Device]], gpus: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what is recorded of devices; `gpus`: token -> id."""
    every = dict.fromkeys(device for many in devices.values() for device in many)
    serving = {stage: frozenset(many) for stage, many in devices.items()}
    return [
        {
            "device": device.label,
            "kind": device.kind,
            "gpus": [gpus[token] for token in device.tokens],
            "stages": [stage for stage, many in serving.items() if device in many],
        }
        for device in every
    ]


class Recorder:
    """Records one start of a run between `begin` and `close`; before and after, it only passes events on.

    Args:
        run: the run directory.
        emit: receives every event.
        clock: seconds since this start began.
    """

    def __init__(self, run: Path, emit: Emit, clock: Callable[[], float]) -> None:
        self._path = run / _FILE
        self._emit = emit
        self._clock = clock
        self._file: int | None = None
        self._start = self._count = 0
        self._unwritten: list[bytes] = []
        self._written_at = 0.0
        self._states: dict[str, str] = {}
        self._lanes: dict[str, dict[str, Any]] = {}
        self._processes = ProcessReader()
        self._sampler: _Sampler | None = None

    # Its life

    def begin(self, start: int, devices: Mapping[StageName, Sequence[Device]]) -> Self:
        """Open the file and begin to read; use as a context manager."""
        self._start = start
        try:
            self._file = _open(self._path)
        except OSError as error:
            self._give_up(error)
            return self
        every = list(dict.fromkeys(device for many in devices.values() for device in many))
        gpus = GpuReader(token for device in every for token in device.tokens)
        if gpus.missing and not all(device.node for device in every):
            self._emit(Note(self._clock(), "info", f"no readings of GPUs: no NVML here ({gpus.missing})"))
        lanes = _lanes(devices, {token: one.id for token, one in gpus.info.items()})
        self._lanes = {one["device"]: one for one in lanes}
        self._record(
            "start",
            devices=lanes,
            gpus={one.id: {"name": one.name, "memory_bytes": one.memory_bytes} for one in gpus.info.values()},
            nvml=gpus.missing or None,
            interval_s=INTERVAL_S,
        )
        self._sampler = _Sampler(gpus, self._processes, self._clock)
        self._sampler.start()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take a last reading and close; never raises, never waits long."""
        if self._sampler is not None:
            self._sampler.end(_CLOSE_S)
            self._take_samples()
            self._sampler = None
        if self._file is not None:
            self._record("end")
            self._write()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    # What it is told

    def joined(self, devices: Mapping[StageName, Sequence[Device]]) -> None:
        """Devices came."""
        lanes = _lanes(devices, {})
        self._lanes |= {one["device"]: one for one in lanes}
        self._record("devices", devices=lanes, gpus={})

    def read(self, readings: Readings) -> None:
        """A node's recorder has read something; what GPUs a device there has is known only now."""
        found = [
            {**self._lanes[device], "gpus": list(gpus)}
            for device, gpus in readings.devices.items()
            if device in self._lanes and self._lanes[device]["gpus"] != list(gpus)
        ]
        if found:
            self._lanes |= {one["device"]: one for one in found}
            self._record("devices", devices=found, gpus=readings.gpus)
        at, seconds = self._clock(), time.time()
        for age, gpus, hosts in readings.samples:
            self._record("sample", (max(0.0, at - age), seconds - age), gpus=gpus, hosts=hosts)

    def emit(self, event: Event) -> None:
        """Record what an event says of a device or a stage, and pass it on."""
        if isinstance(event, DeviceState):
            self._state(event.device, event.stage, event.state, event.detail)
        elif isinstance(event, StageFinished):
            self._record("stage", stage=event.stage)
        self._emit(event)

    def started(self, stage: StageName, device: Device, pid: int) -> None:
        """A host was started."""
        if self._states.get(device.label) == "restarting":  # the wait after a loss is over
            self._state(device.label, stage, "loading", "")
        self._record("host", device=device.label, stage=stage, pid=pid)
        if not device.node:  # else its own machine looks after it
            self._processes.follow(device.label, pid)

    def sent(self, stage: StageName, device: Device) -> None:
        """A host was sent tasks."""
        if self._states.get(device.label) != "working":
            self._state(device.label, stage, "working", "")

    def ended(
        self, stage: StageName, device: Device, *, ok: bool, seconds: float = 0.0, steps: int = 0
    ) -> None:
        """A task has ended, with an outcome (`ok`) or for good without one."""
        self._record(
            "task",
            device=device.label,
            stage=stage,
            ok=ok,
            seconds=round(float(seconds), 4),
            steps=int(steps),
        )

    def tick(self) -> None:
        """Write what has come together, once a second."""
        self._take_samples()
        if time.monotonic() - self._written_at >= _WRITE_EVERY_S or len(self._unwritten) >= _MOST_UNWRITTEN:
            self._write()

    # Writing

    def _state(self, device: str, stage: StageName | None, state: str, detail: str) -> None:
        self._states[device] = state
        self._record("state", device=device, stage=stage, state=state, detail=detail[:_LONGEST_DETAIL])

    def _take_samples(self) -> None:
        while self._sampler is not None and self._sampler.unread:
            at, seconds, gpus, hosts = self._sampler.unread.popleft()
            self._record("sample", (at, seconds), gpus=gpus, hosts=hosts)

    def _record(self, kind: str, /, moment: tuple[float, float] | None = None, **values: Any) -> None:
        if self._file is None:
            return
        at, seconds = moment or (self._clock(), time.time())
        record = {
            "v": VERSION,
            "type": kind,
            "start": self._start,
            "n": self._count,
            "at": round(at, 3),
            "time": round(seconds, 3),
            **values,
        }
        self._count += 1
        self._unwritten.append(json_bytes(record) + b"\n")

    def _write(self) -> None:
        self._written_at = time.monotonic()
        if self._file is None or not self._unwritten:
            return
        data = b"".join(self._unwritten)
        self._unwritten.clear()
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            os.close(self._file)
            self._file = None
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Say so and go on: a run is the same without its telemetry."""
        self._emit(
            Note(
                self._clock(),
                "warning",
                f"no telemetry: cannot write {self._path}: {why_not(error, self._path)}",
            )
        )


class _Sampler(threading.Thread):
    """Reads, and holds what was read until the loop fetches it; the oldest is dropped if the loop does not."""

    def __init__(self, gpus: GpuReader, processes: ProcessReader, clock: Callable[[], float]) -> None:
        super().__init__(name="telemetry", daemon=True)
        self._gpus = gpus
        self._processes = processes
        self._clock = clock
        self._ending = threading.Event()
        self.unread: deque[tuple[float, float, dict[str, Reading], dict[str, Reading]]] = deque(
            maxlen=_MOST_UNREAD
        )

    def run(self) -> None:
        """Read once every `INTERVAL_S`, at once and at the end too."""
        due = time.monotonic()
        while True:
            ending = self._ending.is_set()
            self.unread.append((self._clock(), time.time(), self._gpus.read(), self._processes.read()))
            if ending:
                return
            due = max(due + INTERVAL_S, time.monotonic())
            self._ending.wait(due - time.monotonic())

    def end(self, timeout_s: float) -> None:
        """Take the last reading; a call into NVML that hangs is left behind."""
        self._ending.set()
        self.join(timeout_s)


def _open(path: Path) -> int:
    """Open for appending; a line that was torn by a kill is ended, so that it spoils no other."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            os.write(file, b"\n")
    except OSError:
        os.close(file)
        raise
    return file
