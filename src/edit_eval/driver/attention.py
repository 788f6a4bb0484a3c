"""What the pool's loop has to look at: everything, or only the devices of which something was heard.

As long as every device is at work, an outcome concerns the one device that it came from. Everything is looked at when more
than that has changed, when a task has come that a waiting device could take, and a few times a second in any case, for what
time alone changes. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edit_eval.driver.slot import Slot
from edit_eval.driver.stage import Stage

__all__ = ["Attention"]


class Attention:
    """Remembers what is to be looked at next.

    Args:
        every_s: seconds after which everything is looked at in any case.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._stirred = True
        self._due_at = 0.0
        self._known = 0
        self._touched: dict[int, Slot] = {}
        self._waiting: set[str] = set()

    def stir(self) -> None:
        """More than one device's work has changed."""
        self._stirred = True

    def stir_if_waiting(self, stage: Stage) -> None:
        """Something has changed that only a device without work for this stage would care for."""
        self._stirred = self._stirred or stage.name in self._waiting

    def touch(self, slot: Slot) -> None:
        """This device has room for more work."""
        self._touched[id(slot)] = slot

    def take(self) -> list[Slot]:
        """Return the devices with room, those with nothing to do first; they count as looked at."""
        touched = sorted(self._touched.values(), key=lambda slot: bool(slot.host and slot.host.in_flight))
        self._touched.clear()
        return touched

    def wants_all(self, now: float, slots: Sequence[Slot]) -> bool:
        """Whether everything is to be looked at; from then on it counts as looked at."""
        if not self._stirred and now < self._due_at and len(slots) == self._known:
            return False
        self._stirred = False
        self._due_at = now + self._every_s
        self._known = len(slots)
        self._touched.clear()
        return True

    def note_waiting(
        self, stages: Sequence[Stage], slots: Sequence[Slot], serves: Callable[[Stage, Slot], bool]
    ) -> None:
        """Remember for which stages a device waits: with an idle host, or with none and no reason not to have one."""
        self._waiting = set()
        for slot in slots:
            if len(self._waiting) == len(stages):
                return
            if slot.host is None:
                self._waiting.update(stage.name for stage in stages if serves(stage, slot))
            elif slot.host.is_idle:
                self._waiting.add(slot.host.stage.name)
