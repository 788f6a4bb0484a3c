"""How many hosts, tasks and free devices there are: counted once, then kept up to date. Pure.

So a decision costs the same whether there are ten devices or ten thousand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edit_eval.driver.slot import HostRun, Phase, Slot
from edit_eval.driver.stage import Stage

__all__ = ["Census", "Count"]


@dataclass
class Count:
    """Of one stage.

    Attributes:
        hosts: in whatever phase.
        starting: of these.
        idle: of these, ready and with nothing to do.
        in_flight: tasks at hosts.
        recalling: whether a task is being taken back from a host.
        waiting: whether a host has a task at hand beside the one it works on; None: not looked.
        least_busy: how long the host that is free next is busy (`Scheduler`); None: not looked.
    """

    hosts: int = 0
    starting: int = 0
    idle: int = 0
    in_flight: int = 0
    recalling: bool = False
    waiting: bool | None = None
    least_busy: float | None = None

    def changed(self) -> None:
        """Have looked anew at what hangs on every single host."""
        self.waiting = self.least_busy = None


@dataclass
class Census:
    """Of all stages, by name; `occupied`: the parts of devices that hold a host, and how often."""

    stages: dict[str, Count]
    occupied: Counter[Any] = field(default_factory=Counter)

    @classmethod
    def of(cls, stages: Sequence[Stage], slots: Sequence[Slot]) -> Census:
        """Count."""
        found = cls({stage.name: Count() for stage in stages})
        for slot in slots:
            host = slot.host
            if host is None:
                continue
            found.occupied.update(slot.device.parts)
            count, flying = found.stages[host.stage.name], len(host.in_flight)
            count.hosts += 1
            count.in_flight += flying
            if host.phase is Phase.STARTING:
                count.starting += 1
            elif not flying and host.phase is Phase.READY:
                count.idle += 1
            if host.recalling:
                count.recalling = True
        return found

    def started(self, slot: Slot, host: HostRun) -> None:
        """An empty device has got a host."""
        self.occupied.update(slot.device.parts)
        count = self.stages[host.stage.name]
        count.hosts += 1
        count.starting += 1
        count.changed()

    def stopping(self, host: HostRun) -> None:
        """A host is about to be told to end."""
        count = self.stages[host.stage.name]
        count.starting -= host.phase is Phase.STARTING
        count.idle -= host.is_idle

    def sent(self, host: HostRun, tasks: int) -> None:
        """A host is about to be sent tasks, at least one."""
        count = self.stages[host.stage.name]
        count.idle -= host.is_idle
        count.in_flight += tasks
        count.changed()

    def answered(self, host: HostRun) -> None:
        """A host has answered a task, which is no longer at it."""
        count = self.stages[host.stage.name]
        count.in_flight -= 1
        count.idle += host.is_idle
        count.changed()

    def is_occupied(self, slot: Slot) -> bool:
        """Whether another device that shares a part with this empty one holds a host."""
        return any(self.occupied[part] for part in slot.device.parts)
