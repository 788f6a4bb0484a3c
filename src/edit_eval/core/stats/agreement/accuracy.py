"""How often a judge orders two things as a human, or another judge, does."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edit_eval.core.stats.agreement.coefficient import clusters_of
from edit_eval.core.stats.agreement.order import Pairs, count_pairs, levels_of
from edit_eval.core.stats.intervals import t_quantile
from edit_eval.core.stats.linear import linear_error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PairwiseAccuracy", "Share", "TieThreshold", "pairwise_accuracy", "tie_threshold"]

_BLOCK = 1 << 20  # pairs looked at in one go
_THRESHOLDS = 1_000  # candidates among which a tie threshold is chosen


@dataclass(frozen=True)
class Share:
    """A share of pairs and how well it is known.

    Attributes:
        value: 0 to 1; None without pairs.
        standard_error: clustered; None under two clusters, or where every thing fares alike, of which no spread can be told.
        low, high: the interval, cut at 0 and 1; None with the standard error.
    """

    value: float | None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class PairwiseAccuracy:
    """How often a judge orders two things as the truth does.

    Attributes:
        n: things.
        clusters: groups of dependent ones among them.
        pairs: of the truth, which is the first, and the judge, which is the second.
        with_ties: share of all pairs that both order alike, or that both tie (`Pairs.with_ties`).
        without_ties: of the pairs that neither ties, the share that both order alike (`Pairs.without_ties`).
    """

    n: int
    clusters: int
    pairs: Pairs
    with_ties: Share
    without_ties: Share


@dataclass(frozen=True)
class TieThreshold:
    """The difference up to which two scores of a judge are best called equal.

    Attributes:
        threshold: largest difference that is a tie, but for rounding.
        accuracy: with ties, of the judge whose scores are tied so; at least that of the judge as it is.
    """

    threshold: float
    accuracy: float


def pairwise_accuracy(
    truth: Sequence[float],
    judge: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
) -> PairwiseAccuracy:
    """Return how often a judge orders two things as the truth does, with ties counted and without.

    Deutsch, Foster and Freitag 2023, Ties Matter: Meta-Evaluating Modern Metrics with Pairwise Accuracy and Tie
    Calibration, section 4. The share is a mean over pairs, so its standard error is that of a U-statistic: each thing
    has its own share over the pairs that it is in, and twice their deviations from the whole are added up by cluster
    (Sen 1960, On Some Convergence Properties of U-Statistics; clusters as in `linear_error`, which also gives Student's
    degrees of freedom). Without ties it is a ratio of two such means, linearised.

    Args:
        truth: finite numbers.
        judge: likewise, of the same things in the same order.
        clusters: of each thing; None makes each its own.
        level: confidence, between 0 and 1.

    Raises:
        ValueError: lengths that differ, or a number that is not finite.
    """
    import numpy as np

    first, second = levels_of(truth, judge)
    n = len(first)
    groups = clusters_of(clusters, n)
    count = len(set(groups))
    pairs = count_pairs(truth, judge)
    if n < 2:
        return PairwiseAccuracy(n, count, pairs, Share(None), Share(None))
    right, alike, ordered = (np.zeros(n) for _ in range(3))
    for rows in _blocks(n):
        same, both = _fares(first, second, rows)
        right[rows], alike[rows] = same
        ordered[rows] = both
    return PairwiseAccuracy(
        n,
        count,
        pairs,
        _share(pairs.with_ties, right, np.full(n, n - 1.0), groups, level),
        _share(pairs.without_ties, alike, ordered, groups, level),
    )


def _blocks(n: int) -> Iterator[slice]:
    size = max(1, _BLOCK // n)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _fares(
    first: NDArray[np.intp], second: NDArray[np.intp], rows: slice
) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], NDArray[np.intp]]:
    """Return of some things with how many others they are ordered or tied alike, ordered alike, and tied by neither."""
    import numpy as np

    tied = np.equal.outer(first[rows], first), np.equal.outer(second[rows], second)
    less = np.less.outer(first[rows], first), np.less.outer(second[rows], second)
    ordered = ~(tied[0] | tied[1])
    concordant = np.count_nonzero(ordered & (less[0] == less[1]), axis=1)
    both = np.count_nonzero(tied[0] & tied[1], axis=1) - 1  # a thing is no pair with itself
    return (concordant + both, concordant), np.count_nonzero(ordered, axis=1)


def _share(
    value: float | None,
    right: NDArray[np.float64],
    counted: NDArray[np.float64],
    clusters: Sequence[Hashable],
    level: float,
) -> Share:
    """Return a share with its interval, from each thing's pairs and those of them that are right."""
    if value is None:
        return Share(None)
    some = counted > 0
    residuals = 2 * (right - value * counted)[some]
    groups = [cluster for cluster, counts in zip(clusters, some, strict=True) if counts]
    error = linear_error(residuals.tolist(), groups, counted[some].tolist())
    if error.standard_error is None or error.degrees is None or error.standard_error < 1e-12:
        return Share(value)
    half = t_quantile((1 + level) / 2, error.degrees) * error.standard_error
    return Share(value, error.standard_error, max(0.0, value - half), min(1.0, value + half))


def tie_threshold(truth: Sequence[float], judge: Sequence[float]) -> TieThreshold | None:
    """Return the difference up to which the judge's scores are best called equal; None without pairs.

    Tie calibration of Deutsch, Foster and Freitag 2023, section 5: a judge of fine steps never ties what a human of few
    levels does, and loses these pairs. The threshold is fitted to the truth: what it gains here is optimistic, so take it
    from one set and use it on another. It is one of 0 and the differences that occur, or, if these are more than 1,000,
    of that many of them evenly spread by rank; the smallest of equally good ones. The accuracy is exact.

    Args:
        truth: finite numbers.
        judge: likewise, of the same things in the same order.

    Raises:
        ValueError: lengths that differ, or a number or a difference that is not finite.
    """
    import numpy as np

    levels, _ = levels_of(truth, judge)
    n = len(levels)
    if n < 2:
        return None
    scores = np.asarray(judge, dtype=float)
    if not math.isfinite(float(scores.max()) - float(scores.min())):
        raise ValueError("differences of scores must be finite")
    thresholds, slack = _thresholds(scores)
    # Tied from its difference on, a pair is won if the truth ties it too, and lost if it was in the right order.
    gains = np.zeros(len(thresholds) + 1, dtype=np.int64)
    right = 0
    for rows in _blocks(n):
        columns = slice(rows.start, n)
        differences = np.subtract.outer(scores[rows], scores[columns])
        orders = np.subtract.outer(levels[rows], levels[columns])
        later = np.arange(*columns.indices(n)) > np.arange(*rows.indices(n))[:, None]
        tied = later & (orders == 0)
        alike = later & ((orders > 0) & (differences > 0) | (orders < 0) & (differences < 0))
        right += int(alike.sum())
        sizes = np.abs(differences)
        for sign, which in ((1, tied), (-1, alike)):
            places = np.searchsorted(thresholds + slack, sizes[which])
            gains += sign * np.bincount(places, minlength=len(gains))
    rights = right + np.cumsum(gains[:-1])
    best = int(np.argmax(rights))
    return TieThreshold(float(thresholds[best]), float(rights[best]) / (n * (n - 1) // 2))


def _thresholds(scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the differences that are tried, rising from 0, and how much two that are equal may differ by rounding."""
    import numpy as np

    values = np.unique(scores)
    tried = _spread(values)
    differences = np.unique(np.abs(np.subtract.outer(tried, tried)))
    slack = 1e-12 * float(np.abs(values).max())
    differences = differences[np.diff(differences, prepend=-np.inf) > slack]
    return _spread(differences), slack


def _spread(rising: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values, or 1,000 of them that are evenly spread by rank, the first and the last among them."""
    import numpy as np

    if len(rising) <= _THRESHOLDS:
        return rising
    return rising[np.linspace(0, len(rising) - 1, _THRESHOLDS).round().astype(np.intp)]
