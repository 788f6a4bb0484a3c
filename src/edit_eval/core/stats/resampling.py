"""The cluster bootstrap: for numbers that are no mean, and for means of skewed values."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from edit_eval.core.stats.intervals import FEW, t_quantile
from edit_eval.core.stats.labels import numbered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Bootstrap", "bootstrap", "bootstrap_mean", "draws", "mean_of_groups"]

Statistic: TypeAlias = "Callable[[NDArray[np.float64]], NDArray[np.float64]]"

_CHUNK_BYTES = 1 << 24
_MOST_UNDEFINED = 0.05


@dataclass(frozen=True)
class Bootstrap:
    """A number and how well it is known.

    Attributes:
        n: values.
        clusters: groups of dependent values.
        value: the number; None where undefined.
        standard_error: standard deviation over the resamples; None under 20 clusters, with a stratum of one, and where more than 5 % of
            the resamples leave the number undefined.
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
    strata: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 4_000,
    seed: int = 0,
) -> Bootstrap:
    """Return any number of weighted values with an interval over resampled clusters.

    Of the n clusters of a stratum n - 1 are drawn with replacement, whole, and weigh n / (n - 1), so that the variance of a mean is
    right (Rao and Wu 1988, Resampling Inference with Complex Survey Data, and Rao, Wu and Yue 1992). The interval lies between the
    quantiles at Phi(-t) and Phi(t), t being Student's: the expanded percentile interval (Hesterberg 2014, What Teachers Should Know
    about the Bootstrap, arXiv 1411.5279). Its degrees of freedom are n - 1, and with several strata Satterthwaite's (Cochran 1977,
    Sampling Techniques, equation 5.16) of the variances that leaving out each cluster shows.

    Args:
        statistic: of weights, resamples x values, how often each value was drawn (a scale of 1 on the average); returns one number for
            each resample, NaN where it is undefined (a group of which nothing was drawn).
        clusters: of each value.
        strata: of each value, those of a cluster all alike; None: there is one. Groups that are averaged, where no cluster is in
            several.
        level: confidence, between 0 and 1.
        resamples: how many.
        seed: of the draws.

    Raises:
        ValueError: lengths that differ, a cluster in several strata, no such level, or no resample.
    """
    import numpy as np
    from scipy.special import ndtr

    if not 0 < level < 1 or resamples < 1:
        raise ValueError("level must be between 0 and 1, resamples at least 1")
    places, count = numbered(clusters)
    kinds, parts = numbered([0] * len(places) if strata is None else strata)
    if len(kinds) != len(places):
        raise ValueError(f"{len(places)} clusters but {len(kinds)} strata")
    of_cluster = np.zeros(count, dtype=np.intp)
    of_cluster[places] = kinds
    if (of_cluster[places] != kinds).any():
        raise ValueError("a cluster is in several strata")
    if not count:
        return Bootstrap(0, 0, None)
    value = float(statistic(np.ones((1, len(places))))[0])
    unknown = Bootstrap(len(places), count, None if math.isnan(value) else value)
    if count < FEW or unknown.value is None or (np.bincount(of_cluster) < 2).any():
        return unknown
    drawn = draws(of_cluster, resamples, seed, width=len(places))
    found = np.concatenate([statistic(weights[:, places]) for weights in drawn])
    known = found[~np.isnan(found)]
    undefined = 1 - len(known) / resamples
    if undefined > _MOST_UNDEFINED:
        return replace(unknown, undefined=undefined)
    degrees = count - 1 if parts == 1 else _degrees(statistic, places, of_cluster)
    tail = float(ndtr(-t_quantile((1 + level) / 2, degrees)))
    low, high = np.quantile(known, [tail, 1 - tail])
    return replace(
        unknown,
        standard_error=float(known.std(ddof=1)),
        low=float(low),
        high=float(high),
        undefined=undefined,
    )


def _degrees(statistic: Statistic, places: NDArray[np.intp], strata: NDArray[np.intp]) -> float:
    """Return the degrees of freedom of the sum of the strata's variances, these by the jackknife."""
    import numpy as np

    sizes = np.bincount(strata)
    left: list[NDArray[np.float64]] = []
    chunk = max(1, _CHUNK_BYTES // (8 * len(places)))
    for start in range(0, len(strata), chunk):
        out = np.arange(start, min(start + chunk, len(strata)))
        others = sizes[strata[out]]
        weights = np.where(strata == strata[out][:, None], (others / (others - 1))[:, None], 1.0)
        weights[np.arange(len(out)), out] = 0.0
        left.append(statistic(weights[:, places]))
    without = np.concatenate(left)
    means = np.bincount(strata, without) / sizes
    squares = np.bincount(strata, (without - means[strata]) ** 2)
    variances = (sizes - 1) / sizes * squares
    if not variances.sum() > 0:  # no spread at all, or a number that is undefined without one of the clusters
        return float((sizes - 1).min())
    return float(variances.sum() ** 2 / (variances**2 / (sizes - 1)).sum())


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


def draws(
    strata: NDArray[np.intp], resamples: int, seed: int, width: int = 0
) -> Iterator[NDArray[np.float64]]:
    """Yield what each cluster weighs in each resample (resamples x clusters), some resamples at a time.

    Args:
        strata: number of the stratum of each cluster; each stratum has two clusters at least.
        resamples: how many.
        seed: of the draws.
        width: of what is made of a resample, if it is more than the clusters; bounds the memory.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(strata == number) for number in range(int(strata.max()) + 1)]
    chunk = max(1, _CHUNK_BYTES // (8 * max(len(strata), width)))
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        weights = np.empty((rows, len(strata)))
        for places in members:
            size = len(places)
            drawn = generator.integers(size, size=(rows, size - 1)) + size * np.arange(rows)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
            weights[:, places] = counts * (size / (size - 1))
        yield weights
