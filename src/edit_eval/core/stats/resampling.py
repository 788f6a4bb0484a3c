"""The cluster bootstrap: for numbers that are no mean, and for means of skewed values."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from edit_eval.core.stats.intervals import FEW, t_quantile
from edit_eval.core.stats.labels import numbered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Bootstrap", "bootstrap", "bootstrap_mean", "draws", "mean_of_groups"]

Statistic: TypeAlias = "Callable[[NDArray[np.float64]], NDArray[np.float64]]"

_CHUNK_BYTES = 1 << 25
_MOST_UNDEFINED = 0.05


@dataclass(frozen=True)
class Bootstrap:
    """A number and how well it is known.

    Attributes:
        n: values.
        clusters: groups of dependent values.
        value: the number; None where undefined.
        standard_error: standard deviation over the resamples; None under 20 clusters, or where more than 5 % of the resamples leave
            the number undefined.
        low, high: the interval; None where the standard error is.
        undefined: share of the resamples in which the number is undefined, which count for nothing.
    """

    n: int
    clusters: int
    value: float | None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None
    undefined: float = 0.0


def bootstrap(
    statistic: Statistic,
    clusters: Sequence[Hashable],
    *,
    level: float = 0.95,
    resamples: int = 4_000,
    seed: int = 0,
) -> Bootstrap:
    """Return any number of weighted values with an interval over resampled clusters.

    Whole clusters are drawn with replacement, as many as there are (Davison and Hinkley 1997, Bootstrap Methods and their
    Application, section 3.8). The interval is the expanded percentile interval (Hesterberg 2014, What Teachers Should Know
    about the Bootstrap, arXiv 1411.5279): quantiles at Phi(-+ sqrt(C/(C-1)) t), t being Student's quantile with C-1
    degrees of freedom, which makes up for the spread that a bootstrap of few clusters lacks.

    Args:
        statistic: of weights, resamples x values, how often each value was drawn; returns one number for each resample, NaN where it
            is undefined (a group of which nothing was drawn).
        clusters: of each value.
        level: confidence, between 0 and 1.
        resamples: how many.
        seed: of the draws.

    Raises:
        ValueError: no such level, or no resample.
    """
    import numpy as np
    from scipy.special import ndtr

    if not 0 < level < 1 or resamples < 1:
        raise ValueError("level must be between 0 and 1, resamples at least 1")
    places, count = numbered(clusters)
    if not count:
        return Bootstrap(0, 0, None)
    value = float(statistic(np.ones((1, len(places))))[0])
    if count < FEW or math.isnan(value):
        return Bootstrap(len(places), count, None if math.isnan(value) else value)
    found = np.concatenate(
        [statistic(drawn[:, places]) for drawn in draws(count, resamples, seed, width=len(places))]
    )
    known = found[~np.isnan(found)]
    undefined = 1 - len(known) / resamples
    if undefined > _MOST_UNDEFINED:
        return Bootstrap(len(places), count, value, undefined=undefined)
    tail = float(ndtr(-math.sqrt(count / (count - 1)) * t_quantile((1 + level) / 2, count - 1)))
    low, high = np.quantile(known, [tail, 1 - tail])
    return Bootstrap(len(places), count, value, float(known.std(ddof=1)), float(low), float(high), undefined)


def bootstrap_mean(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    level: float = 0.95,
    *,
    resamples: int = 4_000,
    seed: int = 0,
) -> Bootstrap:
    """Return the mean with its bootstrap interval (`bootstrap`), drawing sums of clusters in place of values."""
    import numpy as np

    places, count = numbered(clusters)
    sizes = np.bincount(places, minlength=count).astype(float)
    sums = np.bincount(places, np.asarray(values, dtype=float), count)
    return bootstrap(
        lambda drawn: (drawn @ sums) / (drawn @ sizes),
        range(count),
        level=level,
        resamples=resamples,
        seed=seed,
    )


def mean_of_groups(values: Sequence[float], groups: Sequence[Hashable]) -> Statistic:
    """Return the statistic that averages the means of groups, NaN where a group has nothing."""
    import numpy as np

    places, count = numbered(groups)
    member = np.zeros((len(values), count))
    member[np.arange(len(values)), places] = 1.0
    sums = member * np.asarray(values, dtype=float)[:, None]

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        total = weights @ member
        means = np.divide(weights @ sums, total, out=np.full_like(total, np.nan), where=total > 0)
        mean: NDArray[np.float64] = means.mean(axis=1)
        return mean

    return statistic


def draws(clusters: int, resamples: int, seed: int, width: int = 0) -> Iterator[NDArray[np.float64]]:
    """Yield how often each cluster is drawn in each resample (resamples x clusters), some resamples at a time.

    Args:
        clusters: how many there are, and are drawn.
        resamples: how many.
        seed: of the draws.
        width: of what is made of a resample, if it is more than the clusters; bounds the memory.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_BYTES // (8 * max(clusters, width)))
    for start in range(0, resamples, chunk):
        some = min(chunk, resamples - start)
        drawn = generator.integers(clusters, size=(some, clusters)) + clusters * np.arange(some)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=some * clusters)
        yield counts.reshape(some, clusters).astype(float)
