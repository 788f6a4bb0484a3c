"""The central queue of one stage: longest first by estimate, retries alone and first.

Pure: no process, no clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Task", "TaskQueue"]


@dataclass
class Task:
    """One unit of work.

    Attributes:
        id: unique within the run (an edit key or a verdict key).
        payload: JSON handed to the host.
        estimate: expected cost in any unit that is the same for all tasks of a stage; larger runs earlier.
        attempts: how often it crashed or stalled a host while it was the only task there.
        solo: whether it must be alone on its host, because it was in flight when a host was lost.
        lost_on: names of devices on which it was alone when the host was lost, or failed and is not yet believed to.
        doubted: whether it failed on a device that was not believed; the next failure is its own.
        order: when it was first queued (from 1 on); a task that comes back keeps its place.
    """

    id: str
    payload: dict[str, Any]
    estimate: float = 1.0
    attempts: int = 0
    solo: bool = False
    lost_on: set[str] = field(default_factory=set)
    order: int = 0
    doubted: bool = False


class TaskQueue:
    """Tasks that wait, the longest first; equal ones in the order they were added; suspects at the very end.

    A task that was in flight when a host was lost waits until nothing unsuspected is left, so that it cannot take
    down hosts while others have work they can finish.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[bool, float, int, Task]] = []
        self._order = 0

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, task: Task) -> None:
        """Add one task, or put one back."""
        if not task.order:
            self._order += 1
            task.order = self._order
        heapq.heappush(self._heap, (task.solo, -task.estimate, task.order, task))

    def put_all(self, tasks: Iterable[Task]) -> None:
        """Add several."""
        for task in tasks:
            self.put(task)

    def take(self, device: str, among: AbstractSet[str], *, alone: bool = True) -> Task | None:
        """Remove and return the next task for `device`, one of the devices `among` which the stage has hosts.

        A task does not come back to a device on which it was lost or failed, as long as there is another. `alone`:
        whether it would be the only one at its host, as a suspect must be.
        """
        kept = []
        found = None
        while self._heap and found is None:
            entry = heapq.heappop(self._heap)
            task = entry[3]
            if task.solo and not alone:
                kept.append(entry)
                break  # all that is left are suspects
            if device in task.lost_on and among - task.lost_on:
                kept.append(entry)
            else:
                found = task
        for entry in kept:
            heapq.heappush(self._heap, entry)
        return found

    def drain(self) -> list[Task]:
        """Remove and return everything."""
        tasks = [entry[3] for entry in sorted(self._heap, key=lambda entry: entry[:3])]
        self._heap.clear()
        return tasks
