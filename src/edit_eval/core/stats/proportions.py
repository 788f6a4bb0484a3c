"""Shares of successes and how well they are known: never below 0 or above 1, also where all succeed."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from edit_eval.core.stats.intervals import FEW, mean_interval, t_quantile

__all__ = ["Proportion", "proportion_interval", "proportion_interval_of"]

Method: TypeAlias = Literal["wilson", "exact"]


@dataclass(frozen=True)
class Proportion:
    """A share of successes and how well it is known.

    Attributes:
        n: tries.
        successes: how many succeeded.
        share: successes / n; None without a try.
        low, high: the interval; None without a try, and over clusters under two.
        method: `wilson` or `exact`.
        clusters: groups of dependent tries.
        effective: how many independent tries would be as informative; None where low is.
    """

    n: int
    successes: int
    share: float | None
    low: float | None
    high: float | None
    method: Method
    clusters: int
    effective: float | None

    @property
    def few(self) -> bool:
        """Whether there are fewer clusters than an interval can be trusted with: 20."""
        return self.clusters < FEW


def proportion_interval(successes: int, n: int, level: float = 0.95, method: Method = "wilson") -> Proportion:
    """Return the share of successes among independent tries with its interval.

    `wilson` is the score interval (Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference; recommended by
    Brown, Cai and DasGupta 2001, Interval Estimation for a Binomial Proportion): it covers with the given confidence on the average
    over shares, at some a little less. `exact` is the interval of Clopper and Pearson 1934: it never covers less, and is wider.

    Args:
        successes: from 0 to n.
        n: tries.
        level: confidence, between 0 and 1.
        method: `wilson` or `exact`.

    Raises:
        ValueError: numbers out of their range, or no such method.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if not 0 < level < 1 or method not in ("wilson", "exact"):
        raise ValueError("level must be between 0 and 1, method wilson or exact")
    if n == 0:
        return Proportion(0, 0, None, None, None, method, 0, None)
    share = successes / n
    low, high = _wilson(share, n, level) if method == "wilson" else _clopper_pearson(successes, n, level)
    return Proportion(n, successes, share, low, high, method, n, float(n))


def proportion_interval_of(
    values: Sequence[float], clusters: Sequence[Hashable] | None = None, level: float = 0.95
) -> Proportion:
    """Return the share of ones among zeros and ones, with Wilson's interval over clusters.

    n is replaced by the number of independent tries that would be as informative, as Korn and Graubard 1998 (Confidence Intervals
    for Proportions with Small Expected Number of Positive Counts Estimated from Survey Data) do for the exact interval, and Franco,
    Little, Louis and Slud 2019 (Comparative Study of Confidence Intervals for Proportions in Complex Sample Surveys) for Wilson's:

        n* = n / D (t_{n-1} / t_v)^2, at most n,    D = SE^2 / (p (1 - p) / (n - 1))

    with the clustered standard error and its degrees of freedom v (`mean_interval`), and quantiles of Student's t. Where all values
    are alike, which says nothing of how clusters differ, n* is the number of clusters. With one value per cluster n* is n.

    Args:
        values: zeros and ones (or false and true).
        clusters: of each value; None makes every value its own.
        level: confidence, between 0 and 1.

    Raises:
        ValueError: another value, or lengths that differ.
    """
    if not all(one in (0, 1) for one in values):
        raise ValueError("values must be 0 or 1")
    mean = mean_interval([float(one) for one in values], clusters, level)
    n, successes = mean.n, sum(1 for one in values if one)
    if n == mean.clusters or mean.mean is None:
        return proportion_interval(successes, n, level)
    if mean.standard_error is None or mean.degrees is None:
        return Proportion(n, successes, mean.mean, None, None, "wilson", mean.clusters, None)
    effective = float(mean.clusters)
    if 0 < successes < n and mean.standard_error > 0:
        spread = mean.mean * (1 - mean.mean) / (n - 1)
        upper = (1 + level) / 2
        quantiles = t_quantile(upper, n - 1) / t_quantile(upper, mean.degrees)
        effective = min(float(n), n * spread / mean.standard_error**2 * quantiles**2)
    low, high = _wilson(mean.mean, effective, level)
    return Proportion(n, successes, mean.mean, low, high, "wilson", mean.clusters, effective)


def _wilson(share: float, n: float, level: float) -> tuple[float, float]:
    from scipy.special import ndtri

    z = float(ndtri((1 + level) / 2))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if share == 0 else max(0.0, middle - half)
    return low, 1.0 if share == 1 else min(1.0, middle + half)


def _clopper_pearson(successes: int, n: int, level: float) -> tuple[float, float]:
    from scipy.special import betaincinv

    tail, failures = (1 - level) / 2, n - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes else 0.0
    return low, float(betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
