"""Means and how well they are known. Standard library alone, but for one quantile."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

__all__ = ["FEW", "MeanInterval", "bounds", "mean_interval", "t_quantile"]

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
    """

    n: int
    clusters: int
    mean: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    degrees: float | None = None

    @property
    def few(self) -> bool:
        """Whether there are fewer clusters than an interval can be trusted with: 20."""
        return self.clusters < FEW


def mean_interval(
    values: Sequence[float], clusters: Sequence[Hashable] | None = None, level: float = 0.95
) -> MeanInterval:
    """Return the mean with a clustered t interval.

    The standard error is that of a mean under cluster sampling, sqrt(C/(C-1) * sum_c (sum_{i in c} (x_i - m))^2) / n,
    with C clusters (Liang and Zeger 1986, with the finite-sample factor of Cameron and Miller 2015, section II.B);
    the interval uses Student's t with C-1 degrees of freedom. With one value per cluster this is the usual s/sqrt(n).

    Args:
        values: finite numbers.
        clusters: of each value; None makes every value its own.
        level: confidence, between 0 and 1.

    Raises:
        ValueError: a value that is not finite, or lengths that differ.
    """
    groups = list(clusters) if clusters is not None else list(range(len(values)))
    if len(groups) != len(values):
        raise ValueError(f"{len(values)} values but {len(groups)} clusters")
    if not all(math.isfinite(value) for value in values):
        raise ValueError("values must be finite")
    n = len(values)
    if n == 0:
        return MeanInterval(0, 0, None, None, None, None)
    mean = math.fsum(values) / n
    residuals = _by_group([value - mean for value in values], groups)
    count = len(residuals)
    if count < 2:
        return MeanInterval(n, count, mean, None, None, None)
    square = math.fsum([residual**2 for residual in residuals])
    error = math.sqrt(count / (count - 1) * square) / n
    half = t_quantile((1 + level) / 2, count - 1) * error
    return MeanInterval(n, count, mean, error, mean - half, mean + half, count - 1)


def _by_group(values: Sequence[float], groups: Sequence[Hashable]) -> Sequence[float]:
    """Return the sum of the values of every group; groups of one, as most are, cost nothing."""
    if len(set(groups)) == len(groups):
        return values
    parts: dict[Hashable, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        parts.setdefault(group, []).append(value)
    return [math.fsum(part) for part in parts.values()]


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
