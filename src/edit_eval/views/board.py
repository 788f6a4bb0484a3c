"""What a run looks like at a moment, put together from its events: devices, stages, scores.

Knows events only: no clock (times are the events' own, in seconds since the run started), no terminal, no file.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from edit_eval.driver.events import (
    DevicesJoined,
    DeviceState,
    DeviceStateName,
    EditFailed,
    EditFinished,
    Event,
    RunStarted,
    StageFinished,
    StageName,
    StageStarted,
    StepProgress,
    VerdictGiven,
)

__all__ = ["Board", "DeviceBoard", "Pace", "Scores", "StageBoard"]

_SAME_BATCH_S = 0.1
"""Tasks that end on one device within this time were answered together."""
_AT_WORK: frozenset[DeviceStateName] = frozenset({"starting", "loading", "ready", "waiting", "restarting"})


@dataclass
class Pace:
    """How fast one device ends tasks of one stage, while it has any.

    Attributes:
        count: tasks ended.
        timed: of them those whose time is known: the first ones after a wait began nobody saw when.
        seconds: that the timed ones took together.
        last: when the task at hand began, which is when the one before it ended; None while that is unknown.
        burst: when tasks of unknown time ended last.
    """

    count: int = 0
    timed: int = 0
    seconds: float = 0.0
    last: float | None = None
    burst: float | None = None

    @property
    def rate(self) -> float | None:
        """Tasks a second; None until one has been timed."""
        return self.timed / self.seconds if self.seconds > 0 else None

    def begins(self, at: float) -> None:
        """Note that work begins: a host is ready, perhaps not the first one, or has its first task after a wait."""
        self.last = at

    def waits(self) -> None:
        """Note that there is nothing to do; what begins next begins at a time unknown."""
        self.last = None

    def ended(self, at: float) -> None:
        """Note that a task has ended."""
        self.count += 1
        unknown = self.last is None or (self.burst is not None and at - self.burst < _SAME_BATCH_S)
        if unknown:
            self.burst = at
        else:
            self.timed += 1
            self.seconds += at - (self.last or 0.0)
        self.last = at


@dataclass
class DeviceBoard:
    """One device.

    Attributes:
        label: as people know it.
        stage: what it works for now.
        state: as last reported.
        detail: why.
        since: when this state began.
        asked: when its present host was started.
        paces: by stage.
        begun: when the task at hand began, as far as that can be seen.
        step, steps: of the task at hand; steps is 0 where none are reported.
        step_at: when `step` was reported.
        first_step, first_at: the first report of this task.
        index, sample_id: of the task at hand.
    """

    label: str
    stage: StageName | None = None
    state: DeviceStateName = "off"
    detail: str = ""
    since: float = 0.0
    asked: float | None = None
    paces: dict[StageName, Pace] = field(default_factory=lambda: {"edit": Pace(), "judge": Pace()})
    begun: float = 0.0
    step: int = 0
    steps: int = 0
    step_at: float = 0.0
    first_step: int = 0
    first_at: float = 0.0
    index: int = -1
    sample_id: str = ""

    @property
    def step_rate(self) -> float | None:
        """Steps a second of the task at hand; None until two steps were reported."""
        seconds = self.step_at - self.first_at
        return (
            (self.step - self.first_step) / seconds if seconds > 0 and self.step > self.first_step else None
        )

    def step_left(self, now: float) -> float | None:
        """Seconds until the task at hand has all its steps; None while unknown."""
        rate = self.step_rate
        if not rate:
            return None
        return max(0.0, (self.steps - self.step) / rate - max(0.0, now - self.step_at))

    def rate(self, stage: StageName) -> float | None:
        """Tasks a second, measured; until one has ended, what the steps of the first promise. None while unknown."""
        measured = self.paces[stage].rate
        if measured or stage != "edit" or self.stage != stage or not self.steps:
            return measured
        rate = self.step_rate
        return rate / self.steps if rate else None

    def task_left(self, stage: StageName, now: float) -> float:
        """Seconds until what is in work for `stage` ends; 0 where nothing is, or where it is unknown."""
        if self.stage != stage or self.state != "ready":
            return 0.0
        if stage == "edit" and (left := self.step_left(now)) is not None:
            return left
        rate = self.rate(stage)
        return max(0.0, 1 / rate - (now - self.begun)) if rate else 0.0

    def task_share(self, stage: StageName, now: float, most: int) -> float:
        """How many tasks' worth of work for `stage` is done and not yet answered: 0 to `most`."""
        rate = self.rate(stage)
        if not rate or self.stage != stage or self.state != "ready":
            return 0.0
        return min(float(most), max(0.0, now - self.begun) * rate)

    def changed(self, event: DeviceState) -> None:
        """Take over a new state."""
        if event.state in {"starting", "loading"} and (self.state not in {"starting", "loading"}):
            self.asked = event.at
        if event.state not in {"ready", "waiting"} or event.stage != self.stage:
            self.step = self.steps = 0
        if event.stage and event.state == "ready" and (self.state, self.stage) != ("ready", event.stage):
            self._begin(event.at)
            self.paces[event.stage].begins(event.at)
        elif event.stage and event.state == "waiting":
            self.paces[event.stage].waits()
        if event.state != self.state or event.stage != self.stage:
            self.since = event.at
        self.stage, self.state, self.detail = event.stage, event.state, event.detail

    def stepped(self, event: StepProgress) -> None:
        """Take over the progress of a task."""
        if self.works(event.at):
            self.paces[event.stage].begins(event.at)
            self.begun = event.at
        elif self.index not in {-1, event.index}:  # the one before it failed
            self.begun = event.at
        if event.index != self.index or event.step <= self.step or self.steps != event.steps:
            self.first_step, self.first_at = event.step, event.at
        self.step, self.steps, self.step_at = event.step, event.steps, event.at
        self.index, self.sample_id = event.index, event.sample_id

    def works(self, at: float) -> bool:
        """Note a sign of work; say whether the device waited until now."""
        waited = self.state == "waiting"
        if waited:
            self.state, self.since, self.detail = "ready", at, ""
        return waited

    def ended(self, stage: StageName, at: float) -> None:
        """Note that a task has ended: the next one begins."""
        self.works(at)
        self.paces[stage].ended(at)
        if stage == self.stage:
            self._begin(at)

    def _begin(self, at: float) -> None:
        """A task begins, of which nothing is known but that it has as many steps as the one before it."""
        self.begun = self.first_at = self.step_at = at
        self.step = self.first_step = 0
        self.index, self.sample_id = -1, ""


@dataclass
class StageBoard:
    """One stage.

    Attributes:
        total: outcomes wanted.
        before: of them on disk already when the run began.
        started: when its first host was started; None before.
        ended: outcomes of this run, failures included.
        lost: outcomes that can no longer come (a failed edit has no verdict).
        seconds: how long it took; None while it runs.
    """

    total: int
    before: int
    started: float | None = None
    ended: int = 0
    lost: int = 0
    seconds: float | None = None

    def elapsed(self, now: float) -> float:
        """Return the seconds it has taken, at `now`."""
        if self.seconds is not None:
            return self.seconds
        return 0.0 if self.started is None else now - self.started

    @property
    def done(self) -> int:
        """Outcomes on disk."""
        return self.before + self.ended

    @property
    def reachable(self) -> int:
        """Outcomes that can still be there at the end."""
        return max(self.done, self.total - self.lost)


@dataclass
class Scores:
    """The verdicts of this run so far; the unit is the sample, so repeats of one are averaged first.

    Attributes:
        count: verdicts with a score.
        minimum, maximum: of them.
        unscored: the others, by kind.
    """

    count: int = 0
    minimum: float | None = None
    maximum: float | None = None
    unscored: Counter[str] = field(default_factory=Counter)
    _parts: dict[str, tuple[float, int]] = field(default_factory=dict)  # sum and count by sample
    _sum: float = 0.0
    _squares: float = 0.0

    @property
    def samples(self) -> int:
        """Samples with a score."""
        return len(self._parts)

    @property
    def mean(self) -> float | None:
        """Mean over samples; None if nothing is scored."""
        return self._sum / len(self._parts) if self._parts else None

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean, s/sqrt(n) over samples; None under two samples.

        Events name no clusters, so samples that share a source image count as independent here; the result at the end
        of a run is clustered.
        """
        n = len(self._parts)
        if n < 2:
            return None
        return math.sqrt(max(0.0, self._squares - self._sum**2 / n) / (n - 1) / n)

    def add(self, event: VerdictGiven) -> None:
        """Count a verdict."""
        overall = event.verdict.overall
        if overall is None:
            self.unscored[event.verdict.unscored or "error"] += 1
            return
        self.count += 1
        self.minimum = overall if self.minimum is None else min(self.minimum, overall)
        self.maximum = overall if self.maximum is None else max(self.maximum, overall)
        total, count = self._parts.get(event.sample_id, (0.0, 0))
        before = total / count if count else 0.0
        after = (total + overall) / (count + 1)
        self._parts[event.sample_id] = (total + overall, count + 1)
        self._sum += after - before
        self._squares += after**2 - before**2


class Board:
    """The run at a moment: `observe` every event, in order."""

    def __init__(self) -> None:
        self.run: RunStarted | None = None
        self.devices: dict[str, DeviceBoard] = {}
        self.stages: dict[StageName, StageBoard] = {}
        self.scores = Scores()
        self.edit_failed: Counter[str] = Counter()
        self.at = 0.0

    def observe(self, event: Event) -> None:
        """Take over what `event` says."""
        self.at = max(self.at, event.at)
        match event:
            case RunStarted():
                self.run = event
                self._know(event.devices)
            case DevicesJoined():
                self._know(event.devices)
            case StageStarted():
                self.stages[event.stage] = StageBoard(event.total, event.done)
            case StageFinished():
                if event.stage in self.stages:
                    self.stages[event.stage].seconds = event.seconds
            case DeviceState():
                self.device(event.device).changed(event)
                self._begun(event)
            case StepProgress():
                self.device(event.device).stepped(event)
            case EditFinished():
                self._ended("edit", event.device, event.at)
            case VerdictGiven():
                self._ended("judge", event.device, event.at)
                if not event.again:
                    self.scores.add(event)
            case EditFailed():
                self.edit_failed[event.kind] += 1
                self._ended("edit", None, event.at)
                if "judge" in self.stages:
                    self.stages["judge"].lost += 1
            case _:
                pass

    def _know(self, devices: Mapping[StageName, tuple[str, ...]]) -> None:
        for label in [one for labels in devices.values() for one in labels]:
            self.device(label)

    def device(self, label: str) -> DeviceBoard:
        """Return the device called `label`, made when it is first heard of."""
        if label not in self.devices:
            self.devices[label] = DeviceBoard(label)
        return self.devices[label]

    def _begun(self, event: DeviceState) -> None:
        board = self.stages.get(event.stage) if event.stage else None
        if board is not None and board.started is None and event.state in {"starting", "loading", "ready"}:
            board.started = event.at

    def _ended(self, stage: StageName, device: str | None, at: float) -> None:
        if stage in self.stages:
            self.stages[stage].ended += 1
        if device is not None:
            self.device(device).ended(stage, at)

    def left(self, stage: StageName, now: float) -> float | None:
        """Return the seconds from `now` until `stage` has no work left, from measured times; None while unknown.

        What devices have in work counts by the time it has had. Devices that load now count at the mean pace of those
        that have been measured. Scoring cannot end before editing; where every judge has waited for edits so far, it
        ends with them.
        """
        board = self.stages.get(stage)
        if board is None:
            return None
        todo = board.reachable - board.done
        if todo <= 0 or board.seconds is not None:
            return 0.0
        own = self._own_left(stage, todo, now)
        if stage == "edit":
            return own
        edits = self.left("edit", now)
        if own is None:
            return edits if board.ended and edits else None
        return max(own, edits or 0.0)

    def _own_left(self, stage: StageName, todo: int, now: float) -> float | None:
        devices = list(self.devices.values())
        rates = {one.label: one.rate(stage) for one in devices}
        known = [rate for rate in rates.values() if rate]
        if not known:
            return None
        mean = sum(known) / len(known)
        working = [one for one in devices if one.stage == stage and one.state in _AT_WORK]
        speed = sum(rates[one.label] or mean for one in working) or sum(known)
        most = self.run.batch_size if self.run and stage == "judge" else 1
        share = sum(one.task_share(stage, now, most) for one in working)
        longest = max((one.task_left(stage, now) for one in working), default=0.0)
        return max((todo - min(share, todo)) / speed, longest)
