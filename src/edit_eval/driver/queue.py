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
        lost_on: names of devices on which it was alone when the host was lost.
        order: when it was first queued (from 1 on); a task that comes back keeps its place.
    """

    id: str
    payload: dict[str, Any]
    estimate: float = 1.0
    attempts: int = 0
    solo: bool = False
    lost_on: set[str] = field(default_factory=set)
    order: int = 0


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

    def next_is_solo(self) -> bool:
        """Whether the next task must be alone on its host."""
        return bool(self._heap) and self._heap[0][3].solo

    def take(self, device: str, among: AbstractSet[str]) -> Task | None:
        """Remove and return the next task for `device`, one of the devices `among` which the stage has hosts now.

        A suspect goes to a device on which it was not lost before, as long as there is one.
        """
        kept = []
        found = None
        while self._heap:
            entry = heapq.heappop(self._heap)
            if device in entry[3].lost_on and among - entry[3].lost_on:
                kept.append(entry)
                continue
            found = entry[3]
            break
        for entry in kept:
            heapq.heappush(self._heap, entry)
        return found

    def drain(self) -> list[Task]:
        """Remove and return everything."""
        tasks = [entry[3] for entry in sorted(self._heap, key=lambda entry: entry[:3])]
        self._heap.clear()
        return tasks
