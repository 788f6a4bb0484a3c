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
"""Tasks up to which every way is looked at, or the first `_MOST_NODES`; more are given out longest first."""

SOME = 64
"""Tasks up to which packing them anew for every one that is given out costs little."""

_CLOSE = 1e-9
_HALVINGS = 12
_GOOD_ENOUGH = 1.001
_MOST_NODES = 30_000
"""Steps of the search after which the best so far, or longest first, is taken: some tenths of a second. Never reached where
all devices are free at once; it can be where many are free at different times."""


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
    # So many tasks need no more devices than there are tasks, and none that is free later than these.
    near = sorted(range(len(free_at)), key=free_at.__getitem__)[: max(1, len(lengths))]
    free = [free_at[device] for device in near]
    chosen = _found(lengths, free) if len(lengths) <= FEW else _packed(lengths, free)
    return [near[device] for device in chosen]


def _found(lengths: Sequence[float], free_at: Sequence[float]) -> list[int]:
    """Return what the search finds, or what packing does, if the search was cut short and that ends sooner."""
    search = _Search(lengths, free_at)
    if not search.cut_short:
        return search.best
    return min(search.best, _packed(lengths, free_at), key=lambda found: _end(found, lengths, free_at))


def _end(chosen: Sequence[int], lengths: Sequence[float], free_at: Sequence[float]) -> float:
    """Return when the last task is done."""
    loads = list(free_at)
    for device, length in zip(chosen, lengths, strict=True):
        loads[device] += length
    return max(loads[device] for device in chosen)


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

    @property
    def cut_short(self) -> bool:
        """Whether not every way was looked at."""
        return self._nodes > _MOST_NODES

    def _is_done(self) -> bool:
        return self.best_end <= self._bound + _CLOSE or self.cut_short
