"""Whose fault an ordinary failure is, the sample's or the device's. Pure: no process, no clock.

An exception fails its sample and nothing else. But a device on which *every* sample fails at once (a library that is
missing when it is first used, a driver that is not well) would turn a whole queue into failures before the others have
done their share. So a device is believed about a failure only while it has shown that it can do better; until then the
sample gets a second opinion elsewhere, and one that succeeds there speaks against the device.
"""

from __future__ import annotations

from collections import Counter

from edit_eval.driver.queue import Task

__all__ = ["IN_A_ROW", "Doubts"]

IN_A_ROW = 3
"""So many failures in a row and a device is no longer believed; so many that succeed elsewhere and it is broken."""


class Doubts:
    """The record of one stage's devices, each by its name. A task's second opinion is the last word on it."""

    def __init__(self) -> None:
        self._believed: set[str] = set()
        self._failures: Counter[str] = Counter()  # in a row
        self._refuted: Counter[str] = Counter()
        self._accused: dict[str, str] = {}  # task's id -> device whose present host failed it

    def fresh(self, device: str) -> None:
        """A new host is there; it has shown nothing yet, and what the last one failed is not held against it."""
        self._believed.discard(device)
        self._failures[device] = self._refuted[device] = 0
        self._accused = {task: accused for task, accused in self._accused.items() if accused != device}

    def done(self, device: str, task: Task) -> str | None:
        """Note a success; return the name of a device that is broken, if this was the last proof that it is."""
        self._believed.add(device)
        self._failures[device] = self._refuted[device] = 0
        accused = self._accused.pop(task.id, device)
        if accused in self._believed:
            return None
        self._refuted[accused] += 1
        return accused if self._refuted[accused] == IN_A_ROW else None

    def failed(self, device: str, task: Task, *, others: bool) -> bool:
        """Note a failure; say whether it is to be tried elsewhere first. `others`: whether that is possible."""
        self._accused.pop(task.id, None)
        self._failures[device] += 1
        if self._failures[device] > IN_A_ROW:
            self._believed.discard(device)
        if task.doubted or not others or device in self._believed:
            return False
        self._accused[task.id] = device
        task.doubted = True
        task.lost_on |= {device}
        return True
