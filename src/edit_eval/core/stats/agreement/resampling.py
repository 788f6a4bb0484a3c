"""Intervals of statistics that have no simple standard error."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edit_eval.core.stats.intervals import FEW

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Coefficient", "cluster_codes", "resampled"]

_UNDEFINED_SHARE = 0.01  # of the resamples that may leave a statistic undefined


@dataclass(frozen=True)
class Coefficient:
    """A coefficient of agreement.

    Attributes:
        n: things that were scored.
        clusters: groups of dependent ones among them.
        value: at most 1; None where it is undefined.
        low, high: its interval; None if none was asked for, if there are fewer than 20 clusters, or if more than 1 % of
            the resamples leave the coefficient undefined.
    """

    n: int
    clusters: int
    value: float | None
    low: float | None = None
    high: float | None = None


def cluster_codes(clusters: Sequence[Hashable] | None, n: int) -> NDArray[np.intp]:
    """Return the number of each thing's cluster, from 0; without clusters each is its own.

    Raises:
        ValueError: lengths that differ.
    """
    import numpy as np

    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise ValueError(f"{n} things but {len(clusters)} clusters")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(one, len(numbers)) for one in clusters], dtype=np.intp)


def resampled(
    statistic: Callable[[NDArray[np.intp]], float | None],
    codes: NDArray[np.intp],
    *,
    resamples: int,
    level: float,
    seed: int,
) -> tuple[float | None, float | None]:
    """Return the percentile interval of a statistic, whole clusters being drawn with replacement.

    Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3; of clusters, Davison and Hinkley 1997,
    Bootstrap Methods and their Application, section 3.8.

    Args:
        statistic: of the places of what was drawn; None where undefined.
        codes: cluster of each thing, from 0.
        resamples: how many; 0 gives no interval.
        level: confidence, between 0 and 1.
        seed: of what is drawn.
    """
    import numpy as np

    count = int(codes.max()) + 1 if len(codes) else 0
    if not resamples or count < FEW:
        return None, None
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    alone = count == len(codes)
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = generator.integers(count, size=count)
        value = statistic(order[drawn] if alone else np.concatenate([members[one] for one in drawn]))
        if value is not None:
            found.append(value)
    if len(found) < (1 - _UNDEFINED_SHARE) * resamples:
        return None, None
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
