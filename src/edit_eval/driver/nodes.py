"""How the machines of a cluster fare: one whose devices fail time and again is left out as a whole.

Pure counting; who is retired, and what is said of it, is the pool's business.
"""

from __future__ import annotations

from collections import Counter

from edit_eval.driver.devices import Device

__all__ = ["IN_A_ROW", "Nodes"]

IN_A_ROW = 6
"""So many hosts lost in a row, on whichever of its devices and none of them to blame on a sample, and a node is left out."""


class Nodes:
    """Counts what goes wrong on each machine since a task was last done there."""

    def __init__(self) -> None:
        self._lost: Counter[str] = Counter()

    def well(self, device: Device) -> None:
        """A task was done on `device`."""
        self._lost.pop(device.place, None)

    def lost(self, device: Device) -> int:
        """A host was lost on `device`, or did not load there; return how many times in a row that is for its machine."""
        self._lost[device.place] += 1
        return self._lost[device.place]
