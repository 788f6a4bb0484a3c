"""Means and how well they are known. Where clusters are of equal sizes, with the standard library and one quantile."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from edit_eval.core.stats.linear import LinearError, linear_error

__all__ = ["FEW", "MeanInterval", "bounds", "mean_interval", "t_quantile"]

Method: TypeAlias = Literal["t", "bootstrap"]
FEW = 20  # clusters under which an interval is marked


@dataclass(frozen=True)
class MeanInterval:
    """A mean and how well it is known.

    Attributes:
        n: values.
        clusters: groups of dependent values.
        mean: None without values.
        standard_error: clustered; None under two clusters.
        low, high: the interval; None under two clusters.
        degrees: of freedom of the standard error; None under two clusters.
        method: of the interval.
    """

    n: int
    clusters: int
    mean: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    degrees: float | None = None
    method: Method = "t"

    @property
    def few(self) -> bool:
        """Whether there are fewer clusters than an interval can be trusted with: 20."""
        return self.clusters < FEW


def mean_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    method: Method = "t",
    *,
    seed: int = 0,
    resamples: int = 4_000,
) -> MeanInterval:
    """Return the mean with a clustered interval.

    The standard error is that of a mean under cluster sampling with C clusters of n/C values,
    sqrt(C/(C-1) * sum_c (sum_{i in c} (x_i - m))^2) / n (Liang and Zeger 1986, with the finite-sample factor of Cameron and Miller
    2015, section II.B), and the interval uses Student's t with C-1 degrees of freedom. With one value per cluster this is the usual
    s/sqrt(n). Where clusters are of unequal sizes that is too narrow; both are then those of `linear_error`, of which the above is
    the case of equal sizes.

    Args:
        values: finite numbers.
        clusters: of each value; None makes every value its own.
        level: confidence, between 0 and 1.
        method: `t`, or `bootstrap`: the ends are those of `bootstrap`, for skewed values; under 20 clusters it is t all the same.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        ValueError: a value that is not finite, lengths that differ, or no such level or method.
    """
    groups = list(clusters) if clusters is not None else list(range(len(values)))
    if len(groups) != len(values):
        raise ValueError(f"{len(values)} values but {len(groups)} clusters")
    if not all(math.isfinite(value) for value in values):
        raise ValueError("values must be finite")
    if not 0 < level < 1 or method not in ("t", "bootstrap"):
        raise ValueError("level must be between 0 and 1, method t or bootstrap")
    n = len(values)
    if n == 0:
        return MeanInterval(0, 0, None, None, None, None)
    mean = math.fsum(values) / n
    error = _error([value - mean for value in values], groups)
    if error.standard_error is None or error.degrees is None:
        return MeanInterval(n, error.clusters, mean, None, None, None)
    half = t_quantile((1 + level) / 2, error.degrees) * error.standard_error
    low: float | None = mean - half
    high: float | None = mean + half
    resampled = method == "bootstrap" and error.clusters >= FEW
    if resampled:
        from edit_eval.core.stats.resampling import bootstrap_mean

        found = bootstrap_mean(values, groups, level, resamples=resamples, seed=seed)
        low, high = found.low, found.high
    return MeanInterval(
        n,
        error.clusters,
        mean,
        error.standard_error,
        low,
        high,
        error.degrees,
        "bootstrap" if resampled else "t",
    )


def _error(residuals: Sequence[float], groups: Sequence[Hashable]) -> LinearError:
    """Return the standard error of a mean; equal clusters, as most are, cost little."""
    sizes = Counter(groups)
    count = len(sizes)
    if count < 2:
        return LinearError(count, None, None)
    if len(set(sizes.values())) > 1:
        return linear_error(residuals, groups)
    sums = residuals
    if count < len(residuals):
        parts: dict[Hashable, list[float]] = {}
        for residual, group in zip(residuals, groups, strict=True):
            parts.setdefault(group, []).append(residual)
        sums = [math.fsum(part) for part in parts.values()]
    square = math.fsum([one**2 for one in sums])
    return LinearError(count, math.sqrt(count / (count - 1) * square) / len(residuals), count - 1)


def t_quantile(probability: float, degrees: float) -> float:
    """Return the quantile of Student's t with `degrees` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def bounds(values: Sequence[float], missing: int, low: float, high: float) -> tuple[float, float] | None:
    """Return the mean if all `missing` values had the lowest, and if they had the highest, possible score.

    Args:
        values: the scores there are.
        missing: how many there are not.
        low: lowest possible score.
        high: highest possible score.

    Returns:
        None without any value, there or missing.
    """
    n = len(values) + missing
    if n == 0:
        return None
    total = math.fsum(values)
    return (total + missing * low) / n, (total + missing * high) / n
