"""How far two series of scores of the same things agree: two judges, or one judge twice. Pure functions over numbers.

Nothing is rescaled: where two scales differ, only what depends on order alone is computed. Undefined things are None,
never 0.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from edit_eval.core.stats import mean_interval

__all__ = ["Bridge", "Noise", "bridge", "noise", "spearman"]


@dataclass(frozen=True)
class Bridge:
    """How the scores of a second judge relate to those of a first, over what both scored.

    With fewer than two in common everything but `n` and `clusters` is undefined.

    Attributes:
        n: in common.
        clusters: groups of dependent ones among them.
        same_scale: whether both judges score on one scale; without it `first` to `high` and `equal` are None.
        first, second: mean of each judge.
        shift: mean of second minus first.
        standard_error: of the shift, clustered; None under two clusters.
        low, high: the shift's 95 % interval; None under two clusters.
        spearman: rank correlation, -1 to 1; None where a judge gives all the same score.
        ordered: pairs that neither judge ties.
        tied: pairs that one of the judges, or both, tie.
        concordant: share of the ordered pairs that both put in the same order; None where there are none.
        equal: share of equal scores.
    """

    n: int
    clusters: int
    same_scale: bool
    first: float | None = None
    second: float | None = None
    shift: float | None = None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None
    spearman: float | None = None
    ordered: int | None = None
    tied: int | None = None
    concordant: float | None = None
    equal: float | None = None


def bridge(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[Hashable], *, same_scale: bool
) -> Bridge:
    """Return how `second` relates to `first`, which are scores of the same things in the same order.

    The shift's interval is that of a clustered mean (`stats.mean_interval`) of the differences.

    Args:
        first: finite numbers, of the first judge.
        second: likewise, of the second; as many.
        clusters: of each.
        same_scale: whether differences mean anything.

    Raises:
        ValueError: lengths that differ, or a number that is not finite.
    """
    if not len(first) == len(second) == len(clusters):
        raise ValueError(f"{len(first)} and {len(second)} scores, {len(clusters)} clusters")
    if not all(map(math.isfinite, [*first, *second])):
        raise ValueError("scores must be finite")
    n, groups = len(first), len(set(clusters))
    if n < 2:
        return Bridge(n, groups, same_scale)
    ordered, tied, concordant = _pairs(first, second)
    shift = mean_interval([b - a for a, b in zip(first, second, strict=True)], clusters)
    known = same_scale
    return Bridge(
        n=n,
        clusters=groups,
        same_scale=same_scale,
        first=math.fsum(first) / n if known else None,
        second=math.fsum(second) / n if known else None,
        shift=shift.mean if known else None,
        standard_error=shift.standard_error if known else None,
        low=shift.low if known else None,
        high=shift.high if known else None,
        spearman=spearman(first, second),
        ordered=ordered,
        tied=tied,
        concordant=concordant / ordered if ordered else None,
        equal=sum(a == b for a, b in zip(first, second, strict=True)) / n if known else None,
    )


@dataclass(frozen=True)
class Noise:
    """How much a judge differs from itself: of things that it scored twice.

    Attributes:
        n: scored both times.
        mean_absolute: mean absolute difference of the two scores; None if n is 0.
        deviation: standard deviation of a single score about what the judge would say on average: that of the
            differences over the square root of 2, for the variances of two independent scores add up; None under two.
        identical: share of things to which it gave the same score twice; None if n is 0.
    """

    n: int
    mean_absolute: float | None = None
    deviation: float | None = None
    identical: float | None = None


def noise(first: Sequence[float], second: Sequence[float]) -> Noise:
    """Return how much `second`, a judge's scores of the same things in the same order, differ from its `first`.

    Raises:
        ValueError: lengths that differ, or a number that is not finite.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} scores")
    if not all(map(math.isfinite, [*first, *second])):
        raise ValueError("scores must be finite")
    differences = [b - a for a, b in zip(first, second, strict=True)]
    n = len(differences)
    if n == 0:
        return Noise(0)
    return Noise(
        n=n,
        mean_absolute=math.fsum(map(abs, differences)) / n,
        deviation=statistics.stdev(differences) / math.sqrt(2) if n > 1 else None,
        identical=sum(one == 0 for one in differences) / n,
    )


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank.

    Spearman 1904, The Proof and Measurement of Association between Two Things; with ties as in Kendall 1948, Rank
    Correlation Methods, chapter 3. None where one of the series has a single value throughout.
    """
    n = len(first)
    middle = (n + 1) / 2
    ranks = [[rank - middle for rank in _ranks(series)] for series in (first, second)]
    squares = [math.fsum(rank * rank for rank in series) for series in ranks]
    if not all(squares):
        return None
    product = math.fsum(a * b for a, b in zip(*ranks, strict=True))
    return max(-1.0, min(1.0, product / math.sqrt(squares[0] * squares[1])))


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value from 1, equal ones sharing the mean of theirs."""
    rank_of: dict[float, float] = {}
    below = 0
    for value, count in sorted(Counter(values).items()):
        rank_of[value] = below + (count + 1) / 2
        below += count
    return [rank_of[value] for value in values]


def _pairs(first: Sequence[float], second: Sequence[float]) -> tuple[int, int, int]:
    """Return of all pairs how many neither judge ties, how many one ties, and how many both put in the same order.

    Sorted by the first score and then the second, a pair is in opposite orders if the later one's second score is
    lower; these are counted in n log n steps (Knight 1966, A Computer Method for Calculating Kendall's Tau).
    """
    every = _pairs_in([len(first)])
    tied = _tied(first) + _tied(second) - _pairs_in(Counter(zip(first, second, strict=True)).values())
    place = {value: number for number, value in enumerate(sorted(set(second)), 1)}
    opposite = _falls([place[b] for _, b in sorted(zip(first, second, strict=True))], len(place))
    return every - tied, tied, every - tied - opposite


def _tied(values: Sequence[float]) -> int:
    return _pairs_in(Counter(values).values())


def _pairs_in(counts: Iterable[int]) -> int:
    return sum(count * (count - 1) // 2 for count in counts)


def _falls(places: Sequence[int], levels: int) -> int:
    """Return how many pairs of whole numbers from 1 to `levels` stand in falling order; counts in a Fenwick tree."""
    tree = [0] * (levels + 1)
    falls = 0
    for seen, place in enumerate(places):
        at, not_above = place, 0
        while at:
            not_above += tree[at]
            at -= at & -at
        falls += seen - not_above
        at = place
        while at <= levels:
            tree[at] += 1
            at += at & -at
    return falls
