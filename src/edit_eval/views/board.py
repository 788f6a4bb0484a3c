"""What a run looks like at a moment, put together from its events: devices, stages, scores.

Knows events only: no clock (times are the events' own, in seconds since the run started), no terminal, no file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from edit_eval.driver.events import (
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


@dataclass
class Pace:
    """How fast one device ends tasks of one stage, from the moment it was ready.

    Attributes:
        count: tasks ended.
        since: when it was ready.
        last: when its last task ended.
        earlier: seconds of work before `since` (hosts that died).
    """

    count: int = 0
    since: float = 0.0
    last: float = 0.0
    earlier: float = 0.0

    @property
    def rate(self) -> float | None:
        """Tasks a second; None until one has ended."""
        seconds = self.earlier + self.last - self.since
        return self.count / seconds if self.count and seconds > 0 else None

    def ready(self, at: float) -> None:
        """Note that a host is ready, perhaps not the first one."""
        self.earlier += max(0.0, self.last - self.since)
        self.since = self.last = at

    def ended(self, at: float) -> None:
        """Note that a task has ended."""
        self.count += 1
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
        step, steps: of the edit under way; steps is 0 where the editor reports none.
        step_at: when `step` was reported.
        first_step, first_at: the first report of this edit.
        index, sample_id: of the edit under way.
    """

    label: str
    stage: StageName | None = None
    state: DeviceStateName = "off"
    detail: str = ""
    since: float = 0.0
    asked: float | None = None
    paces: dict[StageName, Pace] = field(default_factory=lambda: {"edit": Pace(), "judge": Pace()})
    step: int = 0
    steps: int = 0
    step_at: float = 0.0
    first_step: int = 0
    first_at: float = 0.0
    index: int = -1
    sample_id: str = ""

    @property
    def step_rate(self) -> float | None:
        """Steps a second of the edit under way; None until two steps were reported."""
        seconds = self.step_at - self.first_at
        return (
            (self.step - self.first_step) / seconds if seconds > 0 and self.step > self.first_step else None
        )

    @property
    def step_elapsed(self) -> float:
        """Seconds since the edit under way began, by extrapolation over its first steps."""
        rate = self.step_rate
        return self.step_at - self.first_at + (self.first_step / rate if rate else 0.0)

    @property
    def step_left(self) -> float | None:
        """Seconds until the edit under way has all its steps; None while unknown."""
        rate = self.step_rate
        return (self.steps - self.step) / rate if rate else None

    def changed(self, event: DeviceState) -> None:
        """Take over a new state."""
        if event.state in {"starting", "loading"} and (self.state not in {"starting", "loading"}):
            self.asked = event.at
        if event.state not in {"ready", "waiting"} or event.stage != self.stage:
            self.step = self.steps = 0
        if (
            event.state == "ready"
            and event.stage
            and self.state in {"off", "starting", "loading", "restarting"}
        ):
            self.paces[event.stage].ready(event.at)
        if event.state != self.state or event.stage != self.stage:
            self.since = event.at
        self.stage, self.state, self.detail = event.stage, event.state, event.detail

    def stepped(self, event: StepProgress) -> None:
        """Take over the progress of an edit."""
        self.works(event.at)
        if event.index != self.index or event.step <= self.step or self.steps != event.steps:
            self.first_step, self.first_at = event.step, event.at
        self.step, self.steps, self.step_at = event.step, event.steps, event.at
        self.index, self.sample_id = event.index, event.sample_id

    def works(self, at: float) -> None:
        """Note a sign of work: a device that waited does so no longer."""
        if self.state == "waiting":
            self.state, self.since, self.detail = "ready", at, ""


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
    """The verdicts of this run so far."""

    count: int = 0
    total: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    unscored: Counter[str] = field(default_factory=Counter)

    @property
    def mean(self) -> float | None:
        """Plain mean over what is scored; None if nothing is."""
        return self.total / self.count if self.count else None

    def add(self, event: VerdictGiven) -> None:
        """Count a verdict."""
        overall = event.verdict.overall
        if overall is None:
            self.unscored[event.verdict.unscored or "error"] += 1
            return
        self.count += 1
        self.total += overall
        self.minimum = overall if self.minimum is None else min(self.minimum, overall)
        self.maximum = overall if self.maximum is None else max(self.maximum, overall)


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
                for label in [one for labels in event.devices.values() for one in labels]:
                    self.device(label)
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
                self.scores.add(event)
            case EditFailed():
                self.edit_failed[event.kind] += 1
                self._ended("edit", None, event.at)
                if "judge" in self.stages:
                    self.stages["judge"].lost += 1
            case _:
                pass

    def device(self, label: str) -> DeviceBoard:
        """Return the device called `label`, made when it is first heard of."""
        return self.devices.setdefault(label, DeviceBoard(label))

    def _begun(self, event: DeviceState) -> None:
        board = self.stages.get(event.stage) if event.stage else None
        if board is not None and board.started is None and event.state in {"starting", "loading", "ready"}:
            board.started = event.at

    def _ended(self, stage: StageName, device: str | None, at: float) -> None:
        if stage in self.stages:
            self.stages[stage].ended += 1
        if device is not None:
            self.device(device).works(at)
            self.device(device).paces[stage].ended(at)

    def left(self, stage: StageName) -> float | None:
        """Return the seconds until `stage` has no work left, from measured times; None while unknown.

        Devices that load now count at the mean pace of those that have been measured. Scoring cannot end before editing.
        """
        board = self.stages.get(stage)
        if board is None:
            return None
        todo = board.reachable - board.done
        if todo <= 0 or board.seconds is not None:
            return 0.0
        rates = [device.paces[stage].rate for device in self.devices.values()]
        known = [rate for rate in rates if rate]
        working = [
            device.paces[stage].rate or (sum(known) / len(known))
            for device in self.devices.values()
            if known
            and device.stage == stage
            and device.state in {"starting", "loading", "ready", "waiting", "restarting"}
        ]
        speed = sum(working) or sum(known)
        if not speed:
            return None
        own = todo / speed
        return max(own, self.left("edit") or 0.0) if stage == "judge" else own
