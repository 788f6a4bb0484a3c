"""The central queue of one stage: longest first by estimate, retries alone and first.

Pure: no process, no clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

__all__ = ["Task", "TaskQueue"]


@dataclass(slots=True)
class Task:
    """One unit of work; there may be hundreds of thousands, most of them waiting.

    Attributes:
        id: unique within the run (an edit key or a verdict key).
        payload: JSON handed to the host, or what makes it when the task is sent (a question is 3 kB of text).
        estimate: expected cost in any unit that is the same for all tasks of a stage; larger runs earlier.
        attempts: how often it crashed or stalled a host while it was the only task there.
        solo: whether it must be alone on its host, because it was in flight when a host was lost.
        lost_on: names of devices on which it was alone when the host was lost, or failed and is not yet believed to.
        doubted: whether it failed on a device that was not believed; the next failure is its own.
        order: when it was first queued (from 1 on); a task that comes back keeps its place.
    """

    id: str
    payload: dict[str, Any] | Callable[[], dict[str, Any]]
    estimate: float = 1.0
    attempts: int = 0
    solo: bool = False
    lost_on: AbstractSet[str] = frozenset()
    order: int = 0
    doubted: bool = False

    def message(self) -> dict[str, Any]:
        """Return the task as its host is told of it."""
        return {"id": self.id, "payload": self.payload() if callable(self.payload) else self.payload}


_Entry = tuple[bool, float, int, Task]


class TaskQueue:
    """Tasks that wait, the longest first; equal ones in the order they were added; suspects at the very end.

    A task that was in flight when a host was lost waits until nothing unsuspected is left, so that it cannot take
    down hosts while others have work they can finish. Tasks that were lost on the same devices share a heap, so that
    taking one costs the same however many there are.
    """

    def __init__(self) -> None:
        self._heaps: dict[frozenset[str], list[_Entry]] = {}
        self._order = 0
        self._length = 0
        self._first_estimate: float | None = None
        self.varied = False
        """Whether tasks of different lengths have been here."""

    def __len__(self) -> int:
        return self._length

    @property
    def has_lost(self) -> bool:
        """Whether a task waits that was lost or failed on some device, so that it matters which one takes it."""
        return any(self._heaps)

    def put(self, task: Task) -> None:
        """Add one task, or put one back."""
        if not task.order:
            self._order += 1
            task.order = self._order
            if self._first_estimate is None:
                self._first_estimate = task.estimate
            self.varied = self.varied or task.estimate != self._first_estimate
        heap = self._heaps.setdefault(frozenset(task.lost_on), [])
        heapq.heappush(heap, (task.solo, -task.estimate, task.order, task))
        self._length += 1

    def put_all(self, tasks: Iterable[Task]) -> None:
        """Add several."""
        for task in tasks:
            self.put(task)

    def take(self, device: str, among: AbstractSet[str], *, alone: bool = True) -> Task | None:
        """Remove and return the next task for `device`, one of the devices `among` which the stage has hosts.

        A task does not come back to a device on which it was lost or failed, as long as there is another. `alone`:
        whether it would be the only one at its host, as a suspect must be.
        """
        fit = [lost_on for lost_on in self._heaps if device not in lost_on or among <= lost_on]
        if not fit:
            return None
        chosen = min(fit, key=lambda lost_on: self._heaps[lost_on][0])
        heap = self._heaps[chosen]
        if heap[0][3].solo and not alone:
            return None  # all that is left for this device are suspects
        task = heapq.heappop(heap)[3]
        if not heap:
            del self._heaps[chosen]
        self._length -= 1
        return task

    def free_choice(self, most: int) -> list[Task]:
        """Return what waits, if that is at most so many tasks, all unsuspected and fit for every device; else nothing."""
        if not 0 < self._length <= most or list(self._heaps) != [frozenset()]:
            return []
        tasks = [entry[3] for entry in self._heaps[frozenset()]]
        return [] if any(task.solo for task in tasks) else tasks

    def remove(self, task: Task) -> None:
        """Take out one task of `free_choice`."""
        heap = self._heaps[frozenset()]
        heap[:] = [entry for entry in heap if entry[3] is not task]
        heapq.heapify(heap)
        if not heap:
            del self._heaps[frozenset()]
        self._length -= 1

    def drain(self) -> list[Task]:
        """Remove and return everything."""
        entries = sorted((one for heap in self._heaps.values() for one in heap), key=lambda one: one[:3])
        self._heaps.clear()
        self._length = 0
        return [entry[3] for entry in entries]
