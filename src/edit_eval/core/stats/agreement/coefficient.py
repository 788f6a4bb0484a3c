"""A coefficient of agreement with its interval over clusters."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edit_eval.core.stats.labels import numbered
from edit_eval.core.stats.resampling import bootstrap

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Coefficient", "clusters_of", "coefficient"]


@dataclass(frozen=True)
class Coefficient:
    """A coefficient of agreement.

    Attributes:
        n: things that were scored.
        clusters: groups of dependent ones among them.
        value: at most 1; None where it is undefined.
        low, high: its interval; None if none was asked for, under 20 clusters, or where more than 5 % of the resamples leave the
            coefficient undefined.
    """

    n: int
    clusters: int
    value: float | None
    low: float | None = None
    high: float | None = None


def clusters_of(clusters: Sequence[Hashable] | None, n: int) -> Sequence[Hashable]:
    """Return the cluster of each of `n` things; without clusters each is its own.

    Raises:
        ValueError: lengths that differ.
    """
    if clusters is None:
        return range(n)
    if len(clusters) != n:
        raise ValueError(f"{n} things but {len(clusters)} clusters")
    return clusters


def coefficient(
    statistic: Callable[[NDArray[np.intp]], float | None],
    clusters: Sequence[Hashable],
    *,
    resamples: int,
    level: float,
    seed: int,
) -> Coefficient:
    """Return a statistic of things, with its interval over resampled clusters (`resampling.bootstrap`).

    Args:
        statistic: of the places of the things that were drawn, one as often as it was; None where undefined.
        clusters: of each thing.
        resamples: how many; 0 gives no interval.
        level: confidence, between 0 and 1.
        seed: of the draws.
    """
    import numpy as np

    every = np.arange(len(clusters))
    count = numbered(clusters)[1]
    whole = Coefficient(len(clusters), count, statistic(every))
    if not resamples or whole.value is None:
        return whole

    def weighted(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        # Ranks need whole numbers: how often each was drawn, which the bootstrap weighs by count / (count - 1).
        times = np.rint(weights * max(count - 1, 1) / count).astype(np.intp)
        values = (statistic(np.repeat(every, row)) for row in times)
        return np.array([math.nan if one is None else one for one in values])

    found = bootstrap(weighted, clusters, level=level, resamples=resamples, seed=seed)
    return replace(whole, low=found.low, high=found.high)
