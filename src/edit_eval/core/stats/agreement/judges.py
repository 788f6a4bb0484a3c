"""How far two series of scores of the same things agree: two judges, or one judge twice. Pure functions over numbers.

Nothing is rescaled: where two scales differ, only what depends on order alone is computed. Undefined things are None,
never 0.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from edit_eval.core.stats.agreement.order import count_pairs, spearman
from edit_eval.core.stats.agreement.raters import krippendorff_alpha
from edit_eval.core.stats.intervals import mean_interval

__all__ = ["Bridge", "Noise", "bridge", "noise"]


@dataclass(frozen=True)
class Bridge:
    """How the scores of a second judge relate to those of a first, over what both scored.

    With fewer than two in common everything but `n` and `clusters` is undefined.

    Attributes:
        n: in common.
        clusters: groups of dependent ones among them.
        same_scale: whether both judges score on one scale; without it `first` to `high`, `equal` and `alpha` are None.
        first, second: mean of each judge.
        shift: mean of second minus first.
        standard_error: of the shift, clustered; None under two clusters.
        low, high: the shift's 95 % interval; None under two clusters.
        spearman: rank correlation, -1 to 1; None where a judge gives all the same score.
        kendall: tau-b, -1 to 1; None likewise.
        ordered: pairs that neither judge ties.
        tied: pairs that one of the judges, or both, tie.
        concordant: share of the ordered pairs that both put in the same order; None where there are none.
        equal: share of equal scores.
        alpha: Krippendorff's, of the scores as numbers, at most 1; None where all scores of both are the same.
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
    kendall: float | None = None
    ordered: int | None = None
    tied: int | None = None
    concordant: float | None = None
    equal: float | None = None
    alpha: float | None = None


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
    pairs = count_pairs(first, second)
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
        spearman=spearman(first, second).value,
        kendall=pairs.tau_b,
        ordered=pairs.ordered,
        tied=pairs.tied,
        concordant=pairs.without_ties,
        equal=sum(a == b for a, b in zip(first, second, strict=True)) / n if known else None,
        alpha=krippendorff_alpha([first, second], "interval").value if known else None,
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
