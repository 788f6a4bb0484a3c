"""What stands out in a run's use of its devices: one that stood idle, one slower than its siblings, and the likely reason.

Pure. What costs less than `WORTH_S` seconds is not named: a short run would be all laggards.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edit_eval.driver.tally import STAGES, Tally

__all__ = ["IDLE_SHARE", "SLOWER", "WORTH_S", "Laggard", "laggards"]

IDLE_SHARE = 0.20
"""Of a stage's time without work, from which a device is named."""
SLOWER = 0.15
"""By how much more than its siblings a device must need for a step, an edit or a verdict to be named."""
WORTH_S = 10.0
"""Seconds lost, under which neither is named."""

_REASONS: Mapping[int, str] = {
    0x04: "at its power cap",
    0x08: "hardware slowdown",
    0x20: "too hot (software slowdown)",
    0x40: "too hot (hardware slowdown)",
    0x80: "power brake",
}
"""Of NVML's clocks-event reasons, those that mean that a clock is lower than it could be while there is work."""

_FOREIGN_BYTES = 2 << 30
_FEWEST_TASKS = 2
_GIB = 1 << 30


@dataclass(frozen=True)
class Laggard:
    """A device that did less than it could have.

    Attributes:
        device: its label.
        stage: `edit` or `judge`.
        kind: `idle` or `slow`.
        share: of the stage's time in which it stood idle; or how much more time than its siblings it needed (0.5: by half).
        seconds: lost by it.
        reason: likely, in words.
    """

    device: str
    stage: str
    kind: str
    share: float
    seconds: float
    reason: str


def laggards(tallies: Mapping[str, Tally]) -> list[Laggard]:
    """Return what stands out, by stage, then by device."""
    found: list[Laggard] = []
    for stage in STAGES:
        found += _idle(tallies, stage)
        found += _slow(tallies, stage)
    return found


def _idle(tallies: Mapping[str, Tally], stage: str) -> Iterator[Laggard]:
    for device, tally in tallies.items():
        idle = tally.idle[stage]
        seconds = sum(idle.causes.values())
        if idle.span_s <= 0 or seconds < WORTH_S or seconds <= IDLE_SHARE * idle.span_s:
            continue
        causes = sorted(idle.causes.items(), key=lambda one: (-one[1], one[0]))
        named = [f"{cause} ({part:.0f} s)" for cause, part in causes if part >= 0.2 * seconds]
        yield Laggard(device, stage, "idle", seconds / idle.span_s, seconds, "; ".join(named[:3]))


@dataclass(frozen=True)
class _Pace:
    """How fast a device was: seconds per `unit`, of every task, smallest first."""

    unit: str
    seconds: Sequence[float]
    units: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def _pace(tally: Tally, stage: str) -> _Pace | None:
    tasks = [task for task in tally.tasks if task.stage == stage]
    if len(tasks) > _FEWEST_TASKS:
        tasks = tasks[1:]  # the first one warms up
    if len(tasks) < _FEWEST_TASKS:
        return None
    if stage == "edit" and all(task.steps for task in tasks):
        steps = sum(task.steps for task in tasks)
        return _Pace("a step", sorted(task.seconds / task.steps for task in tasks), steps)
    unit = "an edit" if stage == "edit" else "a verdict"
    return _Pace(unit, sorted(task.seconds for task in tasks), len(tasks))


def _slow(tallies: Mapping[str, Tally], stage: str) -> Iterator[Laggard]:
    paces = {device: pace for device, tally in tallies.items() if (pace := _pace(tally, stage))}
    for device, pace in paces.items():
        lane = tallies[device].lane
        siblings = [
            other
            for other, its in paces.items()
            if other != device
            and its.unit == pace.unit
            and (tallies[other].lane.kind, len(tallies[other].lane.gpus)) == (lane.kind, len(lane.gpus))
        ]
        if not siblings:
            continue
        usual = statistics.median(paces[other].median for other in siblings)
        lower_quartile = pace.seconds[len(pace.seconds) // 4]
        lost = (pace.median - usual) * pace.units
        if usual <= 0 or pace.median <= (1 + SLOWER) * usual or lower_quartile <= usual or lost < WORTH_S:
            continue
        reason = _why_slow(tallies[device], [tallies[other] for other in siblings], stage)
        text = f"{_seconds(pace.median)} {pace.unit}, its siblings {_seconds(usual)}: {reason}"
        yield Laggard(device, stage, "slow", pace.median / usual - 1, lost, text)


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"


def _why_slow(own: Tally, siblings: Sequence[Tally], stage: str) -> str:
    work = own.work[stage]
    others = [one.work[stage] for one in siblings]
    clock = work.sm_mhz.mean
    usual_clock = _median([one.sm_mhz.mean for one in others])
    clocks = f", SM clock {clock:.0f} MHz against {usual_clock:.0f}" if clock and usual_clock else ""
    throttled = [
        f"{name}, {work.share(bit):.0%} of the time"
        for bit, name in _REASONS.items()
        if work.share(bit) >= 0.2
        and work.share(bit) >= 0.1 + statistics.median(one.share(bit) for one in others)
    ]
    if throttled:
        return f"its clock was throttled: {'; '.join(throttled)}{clocks}"
    if clock and usual_clock and clock < 0.95 * usual_clock:
        return f"its clock was lower{clocks}"
    if own.foreign_bytes >= _FOREIGN_BYTES:
        return f"others held {own.foreign_bytes / _GIB:.1f} GiB on it"
    if own.restarts[stage]:
        return f"its host was lost {own.restarts[stage]} times"
    busy, usual_busy = work.utilisation.mean, _median([one.utilisation.mean for one in others])
    if busy is not None and usual_busy is not None and busy < usual_busy - 10:
        return f"utilisation {busy:.0f} % against {usual_busy:.0f} %: it waits for its CPU or a disk"
    if clock is None and busy is None:
        return "no readings that could tell why"
    return "its clock, memory and utilisation are as those of its siblings"


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
