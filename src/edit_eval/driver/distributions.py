"""How scores lie over their scale: counts in bins that fit it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Distribution", "distribution", "distributions_alike"]

_MOST_LEVELS = 21
_BINS = 20
_STEPS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Distribution:
    """Scores counted.

    Attributes:
        low, high: ends of the scale.
        levels: whether there is a bin for each whole number from `low` to `high`; otherwise bins of equal width part
            the scale, each with its lower end and without its upper, but for the last, which has both.
        counts: scores in each bin.
        missing: how many were wanted and have no score; in no bin.
    """

    low: float
    high: float
    levels: bool
    counts: tuple[int, ...]
    missing: int = 0

    def bin(self, place: int) -> str:
        """Return what a bin holds, as text: `7`, or `7 to 7.5`."""
        if self.levels:
            return f"{self.low + place:g}"
        width = (self.high - self.low) / len(self.counts)
        return f"{self.low + width * place:.4g} to {self.low + width * (place + 1):.4g}"


def distribution(
    values: Sequence[float], low: float, high: float, missing: int = 0, *, levels: bool | None = None
) -> Distribution:
    """Return how values lie over a scale; one outside it counts in the bin at that end.

    Args:
        values: finite numbers.
        low: lowest end of the scale.
        high: highest end.
        missing: how many there should be beside them.
        levels: whether there is a bin for each whole number; None: if the scale has few and all values are whole.

    Raises:
        ValueError: a scale without length.
    """
    if not high > low:
        raise ValueError(f"a scale from {low} to {high} has no bins")
    whole = low == math.floor(low) and high == math.floor(high) and high - low < _MOST_LEVELS
    if levels is None:
        levels = whole and all(value == math.floor(value) for value in values)
    if levels:
        counts = [0] * (round(high - low) + 1)
        width = 1.0
    else:
        width = next((step for step in _STEPS if (high - low) / step <= _BINS * (1 + 1e-9)), math.inf)
        number = round((high - low) / width) if math.isfinite(width) else _BINS
        if not math.isclose(number * width, high - low):
            number = _BINS
        counts = [0] * number
        width = (high - low) / number
    last = len(counts) - 1
    for value in values:
        # What was computed may miss the end of a bin by a rounding error.
        counts[min(last, max(0, math.floor((value - low) / width + 1e-9)))] += 1
    return Distribution(low, high, levels, tuple(counts), missing)


def distributions_alike(
    runs: Sequence[tuple[Sequence[float], int]], low: float, high: float
) -> list[Distribution]:
    """Return one distribution for each run (its values, and how many are missing), all with the same bins."""
    found = [distribution(values, low, high, missing) for values, missing in runs]
    if len({one.levels for one in found}) < 2:
        return found
    return [distribution(values, low, high, missing, levels=False) for values, missing in runs]
