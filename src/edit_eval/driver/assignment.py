"""Which device does which task so that all are done soonest: exact for a few, within a few per cent for some more.

Pure. Devices are alike but for when they are free; tasks may be done in any order and need one device each (identical
machines, minimal makespan). Few: every way that could be better is looked at. More: longest first (R. L. Graham, "Bounds
on multiprocessing timing anomalies", SIAM J. Appl. Math. 17, 1969), or MULTIFIT where that ends sooner (E. G. Coffman,
M. R. Garey, D. S. Johnson, "An application of bin-packing to multiprocessor scheduling", SIAM J. Comput. 7, 1978).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["FEW", "SOME", "assign", "makespan_bound"]

FEW = 11
"""Tasks up to which the search is over in milliseconds; more are given out longest first."""

SOME = 64
"""Tasks up to which packing them anew for every one that is given out costs little."""

_CLOSE = 1e-9
_HALVINGS = 12
_GOOD_ENOUGH = 1.001
_MOST_NODES = 200_000
"""Ways looked at before the best so far is taken; never reached with so few tasks but for lengths made to that end."""


def makespan_bound(lengths: Sequence[float], free_at: Sequence[float]) -> float:
    """Return a moment before which nobody can have done all tasks.

    The largest of: when the devices would all be done at once if tasks could be cut; the longest task on the device that
    is free first; and, if all devices are free now, what the k m + 1 longest tasks leave to one of m devices: the k + 1
    shortest of them.
    """
    free = sorted(free_at)
    if not lengths:
        return 0.0
    level = math.inf
    for count in range(1, len(free) + 1):
        level = min(level, max((sum(lengths) + sum(free[:count])) / count, free[count - 1]))
    best = max(level, max(lengths) + free[0])
    if free[-1] == 0:
        ordered, many = sorted(lengths, reverse=True), len(free)
        for more in range(1, (len(lengths) - 1) // many + 1):
            last = more * many
            best = max(best, sum(ordered[last - more : last + 1]))
    return best


def assign(lengths: Sequence[float], free_at: Sequence[float]) -> list[int]:
    """Return for each task the device that does it, so that the last one is done as soon as can be, or nearly.

    Args:
        lengths: of the tasks, in any unit; at least 0.
        free_at: when each device is free, in the same unit; at least one.
    """
    return _Search(lengths, free_at).best if len(lengths) <= FEW else _packed(lengths, free_at)


def _packed(lengths: Sequence[float], free_at: Sequence[float]) -> list[int]:
    """Return the better of longest first and MULTIFIT: first fit, longest first, into as little time as that needs."""
    order = sorted(range(len(lengths)), key=lambda task: -lengths[task])
    best, loads = [0] * len(lengths), list(free_at)
    for task in order:
        best[task] = min(range(len(loads)), key=loads.__getitem__)
        loads[best[task]] += lengths[task]
    low, high = makespan_bound(lengths, free_at), max(loads[device] for device in best)
    for _ in range(_HALVINGS):
        if high <= low * _GOOD_ENOUGH:
            break
        middle = (low + high) / 2
        fitted = _fitted(lengths, order, free_at, middle)
        if fitted is None:
            low = middle
        else:
            best, high = fitted, middle
    return best


def _fitted(
    lengths: Sequence[float], order: Sequence[int], free_at: Sequence[float], end: float
) -> list[int] | None:
    """Put tasks in this order onto the first device that has done them by `end`; None if one finds no place."""
    found, loads = [0] * len(lengths), list(free_at)
    devices = sorted(range(len(loads)), key=lambda device: -loads[device])  # the smallest room first
    for task in order:
        place = next((one for one in devices if loads[one] + lengths[task] <= end), None)
        if place is None:
            return None
        found[task] = place
        loads[place] += lengths[task]
    return found


class _Search:
    """Depth first over the tasks, longest first; ways that cannot be better, or differ in names only, are left out."""

    def __init__(self, lengths: Sequence[float], free_at: Sequence[float]) -> None:
        self._order = sorted(range(len(lengths)), key=lambda task: -lengths[task])
        self._lengths = [lengths[task] for task in self._order]
        self._left = [math.fsum(self._lengths[place:]) for place in range(len(lengths) + 1)]
        self._loads = list(free_at)
        self._chosen = [0] * len(lengths)
        self._nodes = 0
        self._bound = makespan_bound(lengths, free_at)
        self.best = [0] * len(lengths)
        self.best_end = math.inf
        self._look(0)

    def _look(self, place: int) -> None:
        if place == len(self._lengths):
            end = max((self._loads[device] for device in self._chosen), default=0.0)
            if end < self.best_end:
                self.best_end = end
                for task, device in zip(self._order, self._chosen, strict=True):
                    self.best[task] = device
            return
        length, seen = self._lengths[place], set()
        for device in sorted(range(len(self._loads)), key=self._loads.__getitem__):
            load = self._loads[device]
            if load + length >= self.best_end - _CLOSE or self._is_done():
                return  # later ones are free later still
            if load in seen:
                continue
            seen.add(load)
            self._nodes += 1
            self._loads[device] = load + length
            self._chosen[place] = device
            room = math.fsum(max(0.0, self.best_end - one) for one in self._loads)
            if self.best_end == math.inf or self._left[place + 1] < room - _CLOSE:
                self._look(place + 1)
            self._loads[device] = load

    def _is_done(self) -> bool:
        return self.best_end <= self._bound + _CLOSE or self._nodes > _MOST_NODES
