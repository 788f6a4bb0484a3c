"""Who owns the outcomes of a pool's tasks: what the pool tells, and how it is told that an outcome cannot be one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from edit_eval.driver.backends import Readings
from edit_eval.driver.devices import Device
from edit_eval.driver.events import StageName
from edit_eval.driver.queue import Task

__all__ = ["Handler", "OutcomeError"]


class OutcomeError(Exception):
    """What a host says came of a task cannot be; the host is not to be trusted."""


class Handler(Protocol):
    """Who owns the outcomes. Called from the pool's loop; must not block for long."""

    def done(
        self, stage: StageName, task: Task, outcome: dict[str, Any], device: Device, seconds: float
    ) -> None:
        """A task has its outcome. Raises `OutcomeError`, and records nothing, if it cannot be one."""

    def failed(self, stage: StageName, task: Task, kind: str, reason: str, device: Device) -> None:
        """A task has failed and will not be tried again."""

    def joined(self, devices: Sequence[tuple[Device, Collection[StageName]]]) -> None:
        """Devices came, each for these stages."""

    def read(self, readings: Readings) -> None:
        """A node's recorder has read its GPUs and processes."""

    def started(self, stage: StageName, device: Device, pid: int) -> None:
        """A host's process was started."""

    def loaded(self, stage: StageName, device: Device, facts: dict[str, Any]) -> None:
        """A host is ready; `facts` are its versions and load time."""

    def sent(self, stage: StageName, device: Device) -> None:
        """A host was sent tasks; if it had none, it works from now on."""

    def progress(self, stage: StageName, task: Task, device: Device, step: int, steps: int) -> None:
        """A task has come a step further."""

    def tick(self) -> None:
        """Called several times a second."""
