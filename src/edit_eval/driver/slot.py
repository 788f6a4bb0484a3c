"""One device while a run goes on: its keeper, the host it holds, and its record of failures."""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from edit_eval.driver.backends import KeeperLink
from edit_eval.driver.devices import Device
from edit_eval.driver.queue import Task
from edit_eval.driver.stage import Stage

__all__ = ["HostRun", "Phase", "Slot"]


class Phase(enum.Enum):
    """Where a host is in its life."""

    STARTING = enum.auto()
    READY = enum.auto()
    STOPPING = enum.auto()
    DRAINING = enum.auto()  # the process has ended; its device memory is not yet free


@dataclass
class HostRun:
    """One host, from the order to start it until its device is free again.

    `in_flight` are the tasks sent and not answered, in order; `begun` those the host has started on, and when;
    `given_up` says why it is being killed, if it is, and `stalled` whether that was its silence.
    """

    stage: Stage
    touched_at: float
    phase: Phase = Phase.STARTING
    window: int = 1
    in_flight: dict[str, Task] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)
    recalling: set[str] = field(default_factory=set)
    finished_tasks: int = 0
    refused: tuple[str, str] | None = None
    stalled: bool = False
    given_up: str = ""
    stop_at: float = 0.0
    gone_by: float = float("inf")
    announced: str = ""

    @property
    def is_idle(self) -> bool:
        """Whether it is ready and has nothing to do."""
        return self.phase is Phase.READY and not self.in_flight

    def dispatch(self, tasks: Sequence[Task]) -> None:
        """Note that `tasks` were sent."""
        if not self.in_flight:
            self.touch()
        self.in_flight.update({task.id: task for task in tasks})
        self.announced = ""

    def begin(self, ids: Iterable[str]) -> None:
        """Note that the host has started on tasks."""
        self.touch()
        for one in ids:
            if one in self.in_flight:
                self.begun.setdefault(one, self.touched_at)

    def finish(self, task_id: str) -> float:
        """Note that a task was answered; return the seconds since it was begun (with its batch)."""
        self.touch()
        self.recalling.discard(task_id)
        self.finished_tasks += 1
        return self.touched_at - self.begun.pop(task_id, self.touched_at)

    def not_begun(self) -> list[Task]:
        """Return tasks that could still be given back."""
        return [task for task in self.in_flight.values() if task.id not in self.begun]

    def withdraw(self) -> list[Task]:
        """Take all tasks from it, begun or not; whatever it still says of them counts no more."""
        tasks = list(self.in_flight.values())
        self.in_flight.clear()
        self.begun.clear()
        self.recalling.clear()
        return tasks

    def touch(self) -> None:
        """Note a sign of life."""
        self.touched_at = time.monotonic()

    def deadline(self) -> float:
        """Return the monotonic time after which this host counts as stalled."""
        if self.phase is Phase.STARTING:
            return self.touched_at + self.stage.spec.deadlines.load_s
        if self.phase is Phase.READY and self.in_flight:
            return self.touched_at + self.stage.task_deadline_s(first=self.finished_tasks == 0)
        return float("inf")


@dataclass(eq=False)
class Slot:
    """One device of the pool; it is itself, whatever it holds."""

    device: Device
    link: KeeperLink | None = None
    host: HostRun | None = None
    baseline_bytes: int | None = None
    heard_at: float = 0.0
    retry_at: float = 0.0
    barren: int = 0
    failed_loads: int = 0
    last_reason: str = ""
    last_failure: str = ""
    prepared: bool = False  # its keeper was told to have the next stage's host import
    held_back: bool = False  # it waits until others have loaded
