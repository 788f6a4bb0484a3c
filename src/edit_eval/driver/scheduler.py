"""Who works on what: decisions about devices, hosts and queues, and nothing else.

Pure: it looks at stages and slots and answers; it starts, sends and emits nothing. A device that runs out of one
stage's work is told to end its host and to start the next stage's, while others still work on the first.

What an answer hangs on is counted anew for every question, unless whoever asks keeps count (`count`, then `started`,
`stopping`, `sent` and `answered`, and `forget` where anything else happens).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edit_eval.driver.assignment import SOME, assign
from edit_eval.driver.census import Census, Count
from edit_eval.driver.events import StageName
from edit_eval.driver.queue import Task
from edit_eval.driver.slot import HostRun, Phase, Slot
from edit_eval.driver.stage import Stage

__all__ = ["Scheduler"]


class Scheduler:
    """Decides over `stages` (in the order of the work) and `slots` (one per device).

    With `overlap` a stage may begin on a device before the stage before it has ended everywhere.
    """

    def __init__(self, stages: Sequence[Stage], slots: Sequence[Slot], *, overlap: bool) -> None:
        self._stages = stages
        self._slots = slots
        self._overlap = overlap
        self._assignments: dict[StageName, tuple[Any, Mapping[str, Slot]]] = {}
        self._kept: Census | None = None

    # Keeping count

    def count(self) -> None:
        """Count what there is, and go by that from now on."""
        self._kept = Census.of(self._stages, self._slots)

    def forget(self) -> None:
        """Something has changed that nobody kept count of."""
        self._kept = None

    def started(self, slot: Slot, host: HostRun) -> None:
        """Keep count of a host that an empty device has got."""
        if self._kept:
            self._kept.started(slot, host)

    def stopping(self, host: HostRun) -> None:
        """Keep count of a host that is about to be told to end."""
        if self._kept:
            self._kept.stopping(host)

    def sent(self, host: HostRun, tasks: int) -> None:
        """Keep count of tasks that a host is about to be sent."""
        if self._kept:
            self._kept.sent(host, tasks)

    def answered(self, host: HostRun) -> None:
        """Keep count of a task that a host has answered."""
        if self._kept:
            self._kept.answered(host)

    def recalled(self, stage: Stage) -> None:
        """Keep count of a task that is being taken back."""
        if self._kept:
            self._kept.stages[stage.name].recalling = True

    def _census(self) -> Census:
        return self._kept or Census.of(self._stages, self._slots)

    def _of(self, stage: Stage) -> Count:
        return self._census().stages[stage.name]

    # What there is

    def stage(self, name: StageName) -> Stage:
        """Return the stage called `name`."""
        return next(stage for stage in self._stages if stage.name == name)

    def at_end(self) -> bool:
        """Whether every stage is finished and every host gone."""
        return all(stage.finished for stage in self._stages) and not any(slot.host for slot in self._slots)

    def hosts(self, stage: Stage) -> list[Slot]:
        """Return the slots that hold a host of `stage`, in whatever phase."""
        return [slot for slot in self._slots if slot.host and slot.host.stage is stage]

    def in_flight(self, stage: Stage) -> int:
        """Return how many tasks of `stage` are at hosts."""
        return self._of(stage).in_flight

    def is_fed(self, stage: Stage) -> bool:
        """Whether an earlier stage may still bring this one tasks."""
        before = self._before(stage)
        return before is not None and not before.finished

    def _before(self, stage: Stage) -> Stage | None:
        position = self._stages.index(stage)
        return self._stages[position - 1] if position else None

    def _is_open(self, stage: Stage) -> bool:
        """Whether hosts of this stage may run at all now."""
        before = self._before(stage)
        return before is None or self._overlap or (before.finished and not self._of(before).hosts)

    # What to do

    def in_turn(self) -> list[Slot]:
        """Return the slots in the order in which they are to be served: those with nothing to do first."""
        return sorted(self._slots, key=lambda slot: bool(slot.host and slot.host.in_flight))

    def stage_for(self, slot: Slot, now: float) -> Stage | None:
        """Return the stage whose host this empty device should start at `now`, if any.

        The first one with more work, waiting or on its way, than hosts that are starting already.
        """
        if now < slot.retry_at or self._census().is_occupied(slot):
            return None
        for stage in self._stages:
            if not stage.serves(slot.device) or not self._is_open(stage):
                continue
            if len(stage.queue) + self._on_its_way(stage, slot) > self._of(stage).starting:
                return stage
        return None

    def stage_to_prepare(self, slot: Slot, lead_s: float) -> Stage | None:
        """Return the stage whose host this busy device is to prepare now, if any: the one that it will hold next.

        Args:
            slot: the device.
            lead_s: how long before the end of its work, as far as that can be told, that is worth it.
        """
        host = slot.host
        if host is None or host.phase is not Phase.READY or not self._overlap:
            return None
        stage = host.stage
        after = next((one for one in self._after(stage) if one.serves(slot.device)), None)
        if after is None or not after.spec.prepares or after.finished:
            return None
        count = self._of(stage)
        left, hosts = len(stage.queue) + count.in_flight, count.hosts
        usual = stage.usual_s
        soon = left <= 2 * hosts if usual is None else left * usual <= lead_s * hosts
        return after if soon else None

    def _after(self, stage: Stage) -> Sequence[Stage]:
        return self._stages[self._stages.index(stage) + 1 :]

    def may_take(self, stage: Stage) -> set[str]:
        """Return the names of devices that have a host of `stage`, or can have one as soon as there is work."""
        census = self._census()
        return {
            slot.device.name
            for slot in self._slots
            if (slot.host and slot.host.stage is stage)
            or (not slot.host and stage.serves(slot.device) and not census.is_occupied(slot))
        }

    def _on_its_way(self, stage: Stage, slot: Slot) -> int:
        """Return how many tasks the stage before will bring, unless this device still has work there itself."""
        before = self._before(stage)
        if before is None or before.finished or (len(before.queue) and before.touches(slot.device)):
            return 0
        return len(before.queue) + self.in_flight(before)

    def tasks_for(
        self, slot: Slot, host: HostRun, most: int | None = None, now: float | None = None
    ) -> list[Task]:
        """Take from the queue what this ready host should be sent now, at most `most`.

        As many as its window has room for, but near the end no more than its share, and a suspect only alone. The last
        few tasks of known length are given out so that all are done soonest. `now`: on the clock by which tasks begin.
        """
        stage = host.stage
        if len(host.in_flight) >= host.window or not len(stage.queue):
            return []
        count = self._of(stage)
        share = math.ceil((len(stage.queue) + count.in_flight) / count.hosts)
        room = min(host.window, max(1, share)) - len(host.in_flight)
        if host.in_flight:  # those with nothing to do come first
            room = min(room, len(stage.queue) - count.idle)
            if stage.queue.varied and not self._is_next_free(slot, stage, now):
                return []
        elif stage.queue.varied:
            room = min(room, 1)  # one that is at hand at once is taken from those who will be free sooner
        room = room if most is None else min(room, most)
        if room <= 0 or any(task.solo for task in host.in_flight.values()):
            return []
        among = self.may_take(stage) if stage.queue.has_lost else frozenset()
        tasks: list[Task] = []
        while len(tasks) < room:
            waiting = stage.queue.free_choice(SOME) if stage.queue.varied else []
            if waiting:
                task = self._best_of_few(slot, host, waiting, tasks, now)
            else:
                task = stage.queue.take(slot.device.name, among, alone=not host.in_flight and not tasks)
            if task is None:
                break
            tasks.append(task)
            if task.solo:
                break
        return tasks

    def _best_of_few(
        self, slot: Slot, host: HostRun, waiting: Sequence[Task], more: Sequence[Task], now: float | None
    ) -> Task | None:
        """Take the task that this host does if the few that wait are all to be done soonest; None: none of them.

        Args:
            slot: the device.
            host: its host.
            waiting: what waits.
            more: tasks that it was given just now.
            now: as of `tasks_for`.
        """
        stage = host.stage
        assigned = self._assigned(stage, waiting, now)
        own = [task for task in waiting if assigned[task.id] is slot]
        if own:
            chosen = max(own, key=lambda task: (task.estimate, -task.order))
        elif not host.in_flight and not more:
            chosen = min(
                waiting, key=lambda task: (task.estimate, -task.order)
            )  # sooner begun is never later done
        else:
            return None
        stage.queue.remove(chosen)
        return chosen

    def _assigned(self, stage: Stage, waiting: Sequence[Task], now: float | None) -> Mapping[str, Slot]:
        """Return the device of each task that waits; made anew when one was taken, has ended or has come."""
        # One that loads counts as free: hosts of one stage load together, so it soon will be.
        slots = [slot for slot in self.hosts(stage) if slot.host and not slot.host.given_up]
        key = (
            tuple(task.id for task in waiting),
            *((slot.device.name, *slot.host.in_flight) for slot in slots if slot.host),
        )
        if self._assignments.get(stage.name, (None, {}))[0] != key:
            free_at = [self._busy_for(slot, stage, now) for slot in slots]
            devices = assign([task.estimate for task in waiting], free_at)
            found = {task.id: slots[device] for task, device in zip(waiting, devices, strict=True)}
            self._assignments[stage.name] = (key, found)
        return self._assignments[stage.name][1]

    def _is_next_free(self, slot: Slot, stage: Stage, now: float | None) -> bool:
        """Whether no other device will be done with what it has before this one.

        Else, where tasks differ in length, one at hand here would wait for longer than elsewhere.
        """
        count = self._of(stage)
        if count.least_busy is None:
            count.least_busy = min(self._busy_for(one, stage, now) for one in self._at_work(stage))
        return self._busy_for(slot, stage, now) <= count.least_busy

    def _at_work(self, stage: Stage) -> list[Slot]:
        """Return the slots whose host takes tasks of `stage` now; when one that loads will be ready, nobody knows."""
        return [
            slot
            for slot in self.hosts(stage)
            if slot.host and slot.host.phase is Phase.READY and not slot.host.given_up
        ]

    def _busy_for(self, slot: Slot, stage: Stage, now: float | None) -> float:
        """Return how long a device is busy with what it has, in the unit of tasks' estimates."""
        host = slot.host
        if host is None:
            return 0.0
        left = sum(task.estimate for task in host.in_flight.values())
        unit = stage.unit_s
        if now is None or not unit:
            return left
        done = sum(
            min(host.in_flight[one].estimate, (now - at) / unit)
            for one, at in host.begun.items()
            if one in host.in_flight
        )
        return max(0.0, left - done)

    def is_surplus(self, slot: Slot, host: HostRun) -> bool:
        """Whether this host should end: nothing is left for it, or its device is needed by another stage."""
        stage = host.stage
        if len(stage.queue) or self._recalled_from(stage) or self._waiting_at_hosts(stage):
            return False
        if host.phase is Phase.STARTING:
            return not self.is_fed(stage)  # it would come too late
        if not host.is_idle:
            return False
        return not self.is_fed(stage) or any(
            self._is_unserved(one, slot) for one in self._stages if one is not stage
        )

    def _is_unserved(self, stage: Stage, slot: Slot) -> bool:
        """Whether `stage` has tasks that no host of its own will take, and this device is in the way or could."""
        return (
            len(stage.queue) > 0
            and stage.touches(slot.device)
            and self._is_open(stage)
            and not self._of(stage).hosts
        )

    def task_to_recall(self, stage: Stage, idle: Slot) -> tuple[Slot, Task] | None:
        """Return a task that waits at a busy host while an idle one could do it; one at a time."""
        if self._recalled_from(stage) or not self._waiting_at_hosts(stage):
            return None
        busy = [
            (slot, host, task)
            for slot in self.hosts(stage)
            if (host := slot.host) and host.phase is Phase.READY and host.begun
            for task in host.not_begun()
            if idle.device.name not in task.lost_on
        ]
        if not busy:
            return None
        slot, _, task = max(busy, key=lambda one: (len(one[1].in_flight), one[2].estimate))
        return slot, task

    def _waiting_at_hosts(self, stage: Stage) -> bool:
        """Whether a host has a task at hand beside the one it works on, or is about to."""
        census = self._census()
        count = census.stages[stage.name]
        if count.waiting is None:
            count.waiting = any(
                len(host.in_flight) - len(host.begun) > (0 if host.begun else 1)
                for slot in self._slots
                if (host := slot.host) and host.stage is stage
            )
        return count.waiting

    def _recalled_from(self, stage: Stage) -> bool:
        return self._of(stage).recalling
