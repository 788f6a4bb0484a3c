"""One device's timelines and readings of several starts, added up: seconds, readings, energy, and why it did not work.

Pure. A number that is not known is NaN here; `usage` says None.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edit_eval.driver.timeline import Doing, Lane, Series, Start, Task

__all__ = ["STAGES", "AtWork", "Idle", "StageSums", "Sum", "Tally", "add_start", "plus"]

STAGES = ("edit", "judge")
_DOINGS: tuple[Doing, ...] = ("load", "edit", "judge", "wait", "other")
_MODEL = {"edit": "editor", "judge": "judge"}


def plus(a: float, b: float) -> float:
    """Return the sum of what is known."""
    return b if math.isnan(a) else a if math.isnan(b) else a + b


@dataclass
class Sum:
    """A sum with its count, for a mean; unknown values are left out."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        """Add a value."""
        if not math.isnan(value):
            self.total += value
            self.count += 1

    @property
    def mean(self) -> float | None:
        """The mean; None if nothing is known."""
        return self.total / self.count if self.count else None


@dataclass
class AtWork:
    """What was seen of a device's GPUs while it worked for one stage.

    Attributes:
        readings: how many.
        sm_mhz, utilisation: SM clock in MHz; NVML's utilisation in per cent.
        reasons: for lower clocks: NVML's bit -> readings with it.
    """

    readings: int = 0
    sm_mhz: Sum = field(default_factory=Sum)
    utilisation: Sum = field(default_factory=Sum)
    reasons: dict[int, int] = field(default_factory=dict)

    def add(self, utilisation: float, clock: float, reasons: float) -> None:
        """Add one reading."""
        self.readings += 1
        self.sm_mhz.add(clock)
        self.utilisation.add(utilisation)
        bits = 0 if math.isnan(reasons) else int(reasons)
        while bits:
            bit = bits & -bits
            self.reasons[bit] = self.reasons.get(bit, 0) + 1
            bits -= bit

    def share(self, bit: int) -> float:
        """Return the share of readings that gave this reason."""
        return self.reasons.get(bit, 0) / self.readings if self.readings else 0.0


@dataclass
class Idle:
    """The time of one stage in which a device did no work, by cause in words; `span_s` is the whole stage."""

    span_s: float = 0.0
    causes: dict[str, float] = field(default_factory=dict)

    def add(self, cause: str, seconds: float) -> None:
        """Add some time."""
        if seconds > 0:
            self.causes[cause] = self.causes.get(cause, 0.0) + seconds


@dataclass
class StageSums:
    """What one stage took on all devices: device seconds, GPU seconds, joules."""

    device_s: float = 0.0
    gpu_s: float = 0.0
    joules: float = math.nan


@dataclass
class Tally:
    """One device.

    Attributes:
        lane: as it was in the last start.
        seconds: what it did.
        utilisation: in per cent, all readings.
        memory, memory_total, rss: the most in use, in bytes; what its GPUs have; the most resident.
        foreign_bytes: the least memory that was in use on it while it held no model of ours.
        joules, cpu_s: as far as they are known.
        tasks: that gave an outcome.
        restarts: hosts lost, by stage.
        work, idle: by stage.
    """

    lane: Lane
    seconds: dict[Doing, float] = field(default_factory=lambda: dict.fromkeys(_DOINGS, 0.0))
    utilisation: Sum = field(default_factory=Sum)
    memory: float = math.nan
    memory_total: float = math.nan
    rss: float = math.nan
    foreign_bytes: float = math.nan
    joules: float = math.nan
    cpu_s: float = math.nan
    tasks: list[Task] = field(default_factory=list)
    restarts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STAGES, 0))
    work: dict[str, AtWork] = field(default_factory=lambda: {stage: AtWork() for stage in STAGES})
    idle: dict[str, Idle] = field(default_factory=lambda: {stage: Idle() for stage in STAGES})


def add_start(start: Start, tallies: dict[str, Tally], stages: Mapping[str, StageSums]) -> float:
    """Add one start to the devices that it had and to the stages; return the joules of all its GPUs."""
    for device, lane in start.lanes.items():
        tally = tallies.setdefault(device, Tally(lane))
        tally.lane = lane
        _add_lane(tally, lane, start, stages)
        _add_readings(tally, lane, [start.gpus[gpu] for gpu in lane.gpus if gpu in start.gpus])
        if device in start.hosts:
            _add_processes(tally, start.hosts[device])
    return _add_energy(start, tallies, stages)


def _add_lane(tally: Tally, lane: Lane, start: Start, stages: Mapping[str, StageSums]) -> None:
    """Add what a device did during one start."""
    before = ""
    for segment in lane.segments:
        seconds = segment.end - segment.begin
        tally.seconds[segment.doing] += seconds
        sums = stages.get(segment.stage or "")
        if sums:
            sums.device_s += seconds
            sums.gpu_s += seconds * len(lane.gpus)
        if segment.state == "restarting" and segment.stage in STAGES and before != "restarting":
            tally.restarts[segment.stage] += 1
        before = segment.state
    tally.tasks += [task for task in start.tasks if task.device == lane.device and task.ok]
    totals = [start.memory_bytes.get(gpu) for gpu in lane.gpus]
    known = [total for total in totals if total is not None]
    if known and len(known) == len(totals):
        tally.memory_total = float(sum(known))
    for stage in lane.stages:
        span = start.span(stage)
        if span and stage in STAGES:
            _add_idle(tally.idle[stage], lane, start, stage, *span)


def _add_idle(idle: Idle, lane: Lane, start: Start, stage: str, begin: float, end: float) -> None:
    """Add how a device spent a stage without working."""
    idle.span_s += end - begin
    editing = start.span("edit") if stage == "judge" else None
    for segment, seconds in lane.between(begin, end):
        model = _MODEL.get(segment.stage or "", "model")
        said = f": {segment.detail}" if segment.detail else ""
        if segment.state in ("retired", "restarting"):
            idle.add(f"{segment.state}{said}", seconds)
        elif segment.doing == "load":
            idle.add(f"loading the {model}", seconds)
        elif segment.doing == "wait":
            fed = min(segment.within(begin, min(end, editing[1])), seconds) if editing else 0.0
            idle.add("waiting for edits", fed)
            idle.add("no work left for it", seconds - fed)
        elif segment.state == "stopping":
            idle.add(f"ending the {model} until its memory was free", seconds)
        elif segment.doing == "other":
            idle.add(segment.state, seconds)


def _add_readings(tally: Tally, lane: Lane, every: Sequence[Series]) -> None:
    """Add utilisation, memory, clocks and throttle reasons of a device's GPUs."""
    if not every or len(every) < len(lane.gpus):
        return
    for rows in zip(*(series.rows() for series in every), strict=False):
        segment = lane.at(rows[0][0])
        memory = sum(row[2] for row in rows)
        if not math.isnan(memory):
            tally.memory = max(memory, tally.memory) if tally.memory >= 0 else memory
            if segment and segment.state == "off":
                known = tally.foreign_bytes >= 0
                tally.foreign_bytes = min(memory, tally.foreign_bytes) if known else memory
        for _, utilisation, _, _, _, clock, reasons in rows:
            tally.utilisation.add(utilisation)
            if segment and segment.doing in ("edit", "judge"):
                tally.work[segment.doing].add(utilisation, clock, reasons)


def _add_processes(tally: Tally, series: Series) -> None:
    """Add CPU seconds and memory of a device's processes."""
    before = 0.0
    for _, cpu, rss, _ in series.rows():
        if not math.isnan(cpu):
            tally.cpu_s = plus(tally.cpu_s, cpu - before if cpu >= before else cpu)  # less: a new keeper
            before = cpu
        if not math.isnan(rss):
            tally.rss = max(rss, tally.rss) if tally.rss >= 0 else rss


def _add_energy(start: Start, tallies: Mapping[str, Tally], stages: Mapping[str, StageSums]) -> float:
    """Add the energy of every GPU to its devices, and to stages by their share of each moment; return all of it."""
    whole = math.nan
    for gpu, series in start.gpus.items():
        owners = [lane for lane in start.lanes.values() if gpu in lane.gpus]
        joules = math.nan
        for begin, end, part in _energy(series):
            joules = plus(joules, part)
            for lane in owners:
                for segment, seconds in lane.between(begin, end):
                    if own := stages.get(segment.stage or ""):
                        own.joules = plus(own.joules, part * seconds / (end - begin))
        whole = plus(whole, joules)
        for lane in owners:
            tallies[lane.device].joules = plus(tallies[lane.device].joules, joules)
    return whole


def _energy(series: Series) -> Iterator[tuple[float, float, float]]:
    """Yield (begin, end, joules): by the counter of total energy, else by power where both ends are known."""
    counted: tuple[float, float] | None = None
    before: tuple[float, float] | None = None
    by_power: list[tuple[float, float, float]] = []  # since the counter was last known
    for at, _, _, power, counter, _, _ in series.rows():
        if before and at > before[0] and not math.isnan(power + before[1]):
            by_power.append((before[0], at, (power + before[1]) / 2 * (at - before[0])))
        before = (at, power)
        if math.isnan(counter):
            continue
        if counted and at > counted[0] and counter >= counted[1]:
            yield counted[0], at, counter - counted[1]
        else:  # the first, or one that was reset
            yield from by_power
        by_power.clear()
        counted = (at, counter)
    yield from by_power
