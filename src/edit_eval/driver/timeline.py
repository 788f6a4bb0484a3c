"""From telemetry records to timelines: of every start, what each device did from its beginning to its end without a gap.

Pure, and the same for records in any order. Samples, of which there may be hundreds of thousands, are held as plain
numbers. Also what draws a timeline of every device starts here.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from edit_eval.worker.readings import GPU_COLUMNS, HOST_COLUMNS

__all__ = ["Doing", "Lane", "Segment", "Series", "Start", "Task", "timelines"]

Doing = Literal["load", "edit", "judge", "wait", "other"]
"""What a device does: load a model; edit; judge; wait, with a model in it or without, as there is nothing for it to do;
other: end a model and free its memory, recover from a loss."""

_DOING: Mapping[str, Doing] = {
    "starting": "load",
    "loading": "load",
    "ready": "wait",
    "waiting": "wait",
    "off": "wait",
    "retired": "wait",
}
_AT_WORK = ("working", "denoising", "judging")
_EMPTY = ("off", "retired")


@dataclass(frozen=True)
class Segment:
    """One device in one state.

    Attributes:
        begin, end: seconds since the start of the run began.
        doing: see there.
        stage: `edit` or `judge` while a host of it is there or on its way, else None.
        state: as recorded.
        detail: why, where that was said.
    """

    begin: float
    end: float
    doing: Doing
    stage: str | None
    state: str
    detail: str = ""

    def within(self, begin: float, end: float) -> float:
        """Return how many seconds of it lie between two moments."""
        return max(0.0, min(self.end, end) - max(self.begin, begin))


@dataclass(frozen=True)
class Task:
    """One task that ended: `seconds` of its host, `steps` of an editor (0: it told none)."""

    device: str
    stage: str
    ok: bool
    at: float
    seconds: float
    steps: int


@dataclass
class Lane:
    """One device during one start; its segments follow each other from the beginning to the end.

    Attributes:
        device: its label.
        kind: `cuda` or `cpu`.
        gpus: ids of its GPUs.
        stages: that it may serve.
        segments: at least one, unless the start took no time.
    """

    device: str
    kind: str
    gpus: tuple[str, ...]
    stages: tuple[str, ...]
    segments: list[Segment] = field(default_factory=list)
    _begins: list[float] = field(default_factory=list)

    def finish(self) -> None:
        """Note that no segment will be added."""
        self._begins = [one.begin for one in self.segments]

    def at(self, moment: float) -> Segment | None:
        """Return the segment at a moment; None if there is none at all."""
        if not self.segments:
            return None
        return self.segments[max(0, bisect_right(self._begins, moment) - 1)]

    def between(self, begin: float, end: float) -> Iterator[tuple[Segment, float]]:
        """Yield the segments that touch an interval, each with its seconds in it."""
        index = max(0, bisect_right(self._begins, begin) - 1)
        while index < len(self.segments) and self.segments[index].begin < end:
            seconds = self.segments[index].within(begin, end)
            if seconds > 0:
                yield self.segments[index], seconds
            index += 1


class Series:
    """Readings over time: rows of numbers, NaN where unknown."""

    def __init__(self, columns: int) -> None:
        self._at = array("d")
        self._count = array("d")
        self._columns = [array("d") for _ in range(columns)]
        self._last = (-math.inf, -1)
        self._ordered = True

    def add(self, at: float, count: int, values: Iterable[float | None]) -> None:
        """Add one row; `count` orders rows of the same moment."""
        self._ordered = self._ordered and (at, count) >= self._last
        self._last = (at, count)
        self._at.append(at)
        self._count.append(count)
        for column, value in zip(self._columns, values, strict=True):
            column.append(math.nan if value is None else value)

    def rows(self) -> Iterator[tuple[float, ...]]:
        """Yield (moment, values ...) in the order of time."""
        if not self._ordered:
            keys = list(zip(self._at, self._count, strict=True))
            order = sorted(range(len(keys)), key=keys.__getitem__)
            self._at, self._count, *self._columns = (
                array("d", map(column.__getitem__, order))
                for column in (self._at, self._count, *self._columns)
            )
            self._ordered = True
        return zip(self._at, *self._columns, strict=True)


@dataclass
class Start:
    """One start of a run.

    Attributes:
        number: 1 for the first.
        begin, end: seconds since it began; `end` is the last moment that is known of.
        lanes: by device.
        memory_bytes: what a GPU has in all, by its id.
        gpus: readings by id.
        hosts: readings of a device's processes, by device.
        tasks: in the order of their end.
        finished: when a stage had no work left, by stage.
    """

    number: int
    begin: float
    end: float
    lanes: dict[str, Lane] = field(default_factory=dict)
    memory_bytes: dict[str, int | None] = field(default_factory=dict)
    gpus: dict[str, Series] = field(default_factory=dict)
    hosts: dict[str, Series] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    finished: dict[str, float] = field(default_factory=dict)

    @property
    def wall_s(self) -> float:
        """Seconds from its beginning to its end."""
        return self.end - self.begin

    def span(self, stage: str) -> tuple[float, float] | None:
        """Return from when, with the first host on its way, to when a stage had work; None if it had none."""
        own = [segment for lane in self.lanes.values() for segment in lane.segments if segment.stage == stage]
        if not own:
            return None
        begin = min(segment.begin for segment in own)
        return begin, max(begin, self.finished.get(stage, max(segment.end for segment in own)))


def timelines(records: Iterable[Mapping[str, Any]]) -> list[Start]:
    """Return the starts that the records tell of, in their order; those without a `start` record are left out."""
    heads: dict[int, Mapping[str, Any]] = {}
    others: dict[int, list[Mapping[str, Any]]] = {}
    series: dict[int, tuple[dict[str, Series], dict[str, Series]]] = {}
    ends: dict[int, float] = {}
    for record in records:
        number, kind = record["start"], record["type"]
        ends[number] = max(ends.get(number, record["at"]), record["at"])
        if kind == "start":
            heads[number] = record
        elif kind == "devices" and number in heads:
            later = heads[number]
            heads[number] = {
                **later,
                "devices": [*later["devices"], *record["devices"]],
                "gpus": {**later["gpus"], **record["gpus"]},
            }
        elif kind == "sample":
            gpus, hosts = series.setdefault(number, ({}, {}))
            _add(gpus, record, record["gpus"], len(GPU_COLUMNS))
            _add(hosts, record, record["hosts"], len(HOST_COLUMNS))
        elif kind in ("state", "task", "stage"):
            others.setdefault(number, []).append(record)
    starts = []
    for number, head in sorted(heads.items()):
        gpus, hosts = series.get(number, ({}, {}))
        start = Start(number, head["at"], ends[number], gpus=dict(sorted(gpus.items())), hosts=hosts)
        start.memory_bytes = {gpu: facts["memory_bytes"] for gpu, facts in head["gpus"].items()}
        for one in head["devices"]:
            start.lanes[one["device"]] = Lane(
                one["device"], one["kind"], tuple(one["gpus"]), tuple(one["stages"])
            )
        _fill(start, sorted(others.get(number, []), key=lambda record: (record["at"], record["n"])))
        starts.append(start)
    return starts


def _add(
    series: dict[str, Series], record: Mapping[str, Any], readings: Mapping[str, Any], columns: int
) -> None:
    for name, values in readings.items():
        if name not in series:
            series[name] = Series(columns)
        series[name].add(record["at"], record["n"], values)


def _fill(start: Start, records: Iterable[Mapping[str, Any]]) -> None:
    """Put what happened, in its order, into a start."""
    states: dict[str, list[tuple[float, str | None, str, str]]] = {
        device: [(start.begin, None, "off", "")] for device in start.lanes
    }
    for record in records:
        at = min(max(record["at"], start.begin), start.end)
        if record["type"] == "stage":
            start.finished[record["stage"]] = at
        elif record["device"] not in states:
            continue
        elif record["type"] == "task":
            start.tasks.append(
                Task(record["device"], record["stage"], record["ok"], at, record["seconds"], record["steps"])
            )
        else:
            states[record["device"]].append((at, record["stage"], record["state"], record["detail"]))
    for device, lane in start.lanes.items():
        changes = states[device]
        until = [at for at, *_ in changes[1:]] + [start.end]
        for (begin, stage, state, detail), end in zip(changes, until, strict=True):
            if end > begin:
                present = None if state in _EMPTY else stage
                lane.segments.append(Segment(begin, end, _doing(state, stage), present, state, detail))
        lane.finish()


def _doing(state: str, stage: str | None) -> Doing:
    if state in _AT_WORK:
        return "edit" if stage == "edit" else "judge" if stage == "judge" else "other"
    return _DOING.get(state, "other")
