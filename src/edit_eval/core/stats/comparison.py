"""Two runs over the same samples: is the second better, by how much, and where?"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from edit_eval.core.stats.intervals import FEW, mean_interval
from edit_eval.core.stats.multiple import benjamini_hochberg, holm
from edit_eval.core.stats.permutation import sign_flip
from edit_eval.core.stats.power import power

__all__ = ["Paired", "PairedComparison", "StratumComparison", "compare"]

Scores: TypeAlias = "Mapping[Any, float] | Sequence[float]"
Labels: TypeAlias = "Mapping[Any, Hashable] | Sequence[Hashable]"

_HOLM_UP_TO = 10


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Two runs over samples that both scored. The difference is b minus a.

    Attributes:
        n: samples.
        clusters: groups of dependent ones among them.
        mean_a, mean_b: None without samples.
        difference: mean paired difference; None without samples.
        standard_error: of the difference, clustered (`mean_interval`); None under two clusters.
        low, high: the interval of the difference; None under two clusters.
        degrees: of freedom of the standard error; None under two clusters.
        p: of a sign-flip test over clusters (`sign_flip`); None under two.
        exact: whether that test tried every pattern of signs.
        wins, ties, losses: samples where b's score is above, equal to and below a's.
    """

    n: int
    clusters: int
    mean_a: float | None
    mean_b: float | None
    difference: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    degrees: float | None
    p: float | None
    exact: bool
    wins: int
    ties: int
    losses: int

    @property
    def few(self) -> bool:
        """Whether there are fewer clusters than an interval can be trusted with: 20."""
        return self.clusters < FEW


@dataclass(frozen=True, kw_only=True)
class StratumComparison(Paired):
    """Two runs over the samples of one stratum.

    Attributes:
        adjusted_p: p, adjusted for the number of strata; None where p is.
    """

    adjusted_p: float | None


@dataclass(frozen=True, kw_only=True)
class PairedComparison(Paired):
    """Two runs over all samples that both scored.

    Attributes:
        only_a, only_b: ids that the other run has no score of, in the order of their run; empty for sequences.
        spread: standard deviation of the paired differences between clusters: the standard error times the square root of the
            number of clusters; None under two.
        smallest: difference that as many samples show with a probability of 0.8 (`power`); None under two clusters.
        level: confidence of the intervals.
        strata: the same by stratum.
        correction: of the strata's p-values: `holm` up to 10 strata, else `benjamini-hochberg`.
    """

    only_a: tuple[Hashable, ...]
    only_b: tuple[Hashable, ...]
    spread: float | None
    smallest: float | None
    level: float
    strata: Mapping[Hashable, StratumComparison] = field(default_factory=dict)
    correction: str = "holm"


@dataclass(frozen=True)
class _Pair:
    a: float
    b: float
    cluster: Hashable
    stratum: Hashable | None


def compare(
    a: Scores,
    b: Scores,
    clusters: Labels | None = None,
    strata: Labels | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> PairedComparison:
    """Return how b's scores differ from a's over the samples that both scored.

    The mean paired difference has a clustered interval (`mean_interval`) and the p of a permutation test that flips the
    differences of a cluster together (`sign_flip`).

    Args:
        a: scores by sample id, or a sequence of scores.
        b: likewise; sequences are paired by place.
        clusters: of each sample, by id or by place; None makes every sample its own.
        strata: likewise; a sample whose stratum is None, or which a mapping leaves out, is in none.
        level: confidence, between 0 and 1.
        seed: of the random patterns of signs.

    Raises:
        ValueError: mappings and sequences mixed, sequences of different lengths, a sample without a cluster, or a score that is not
            finite.
    """
    first, second, by_id = _paired(a, b)
    common = [one for one in first if one in second]
    cluster_of = _labels("clusters", clusters, by_id, len(first))
    stratum_of = _labels("strata", strata, by_id, len(first))
    bare = [] if cluster_of is None else [one for one in common if one not in cluster_of]
    if bare:
        raise ValueError(f"sample {bare[0]!r} has no cluster")
    pairs = [
        _Pair(
            a=float(first[one]),
            b=float(second[one]),
            cluster=one if cluster_of is None else cluster_of[one],
            stratum=None if stratum_of is None else stratum_of.get(one),
        )
        for one in common
    ]
    if not all(math.isfinite(pair.a) and math.isfinite(pair.b) for pair in pairs):
        raise ValueError("scores must be finite")
    parts: dict[Hashable, list[_Pair]] = {}
    for pair in pairs:
        if pair.stratum is not None:
            parts.setdefault(pair.stratum, []).append(pair)
    whole = _numbers(pairs, level, seed)
    of_strata = {name: _numbers(parts[name], level, seed) for name in sorted(parts, key=str)}
    correction, correct = _correction(len(parts))
    adjusted = correct([one["p"] for one in of_strata.values()])
    error: float | None = whole["standard_error"]
    count: int = whole["clusters"]
    can = power(error, count, n=whole["n"], degrees=whole["degrees"], level=level)
    return PairedComparison(
        **whole,
        only_a=tuple(one for one in first if one not in second),
        only_b=tuple(one for one in second if one not in first),
        spread=None if error is None else error * math.sqrt(count),
        smallest=can.smallest,
        level=level,
        strata={
            name: StratumComparison(**numbers, adjusted_p=p)
            for (name, numbers), p in zip(of_strata.items(), adjusted, strict=True)
        },
        correction=correction,
    )


def _paired(a: Scores, b: Scores) -> tuple[Mapping[Any, float], Mapping[Any, float], bool]:
    """Return both by id, or by place, and whether it is by id."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a, b, True
    one, other = _by_place(a), _by_place(b)
    if len(one) != len(other):
        raise ValueError(f"{len(one)} and {len(other)} scores: without ids there must be as many of both")
    return one, other, False


def _by_place(scores: Scores) -> dict[int, float]:
    mixed = isinstance(scores, Mapping)
    if mixed:
        raise ValueError("scores by id cannot be paired with scores by place")
    return dict(enumerate(scores))


def _labels(what: str, labels: Labels | None, by_id: bool, places: int) -> Mapping[Any, Hashable] | None:
    if labels is None:
        return None
    if isinstance(labels, Mapping) != by_id:
        raise ValueError(f"{what} must be given as the scores are: by id, or by place")
    if isinstance(labels, Mapping):
        return labels
    if len(labels) != places:
        raise ValueError(f"{places} scores but {len(labels)} {what}")
    return dict(enumerate(labels))


def _correction(strata: int) -> tuple[str, Callable[[Sequence[float | None]], list[float | None]]]:
    return ("holm", holm) if strata <= _HOLM_UP_TO else ("benjamini-hochberg", benjamini_hochberg)


def _numbers(pairs: Sequence[_Pair], level: float, seed: int) -> dict[str, Any]:
    """Return the fields of `Paired`."""
    differences = [pair.b - pair.a for pair in pairs]
    mean = mean_interval(differences, [pair.cluster for pair in pairs], level)
    totals: dict[Hashable, list[float]] = {}
    for pair, difference in zip(pairs, differences, strict=True):
        totals.setdefault(pair.cluster, []).append(difference)
    test = sign_flip([math.fsum(one) for one in totals.values()], seed=seed)
    return {
        "n": mean.n,
        "clusters": mean.clusters,
        "mean_a": _mean(pair.a for pair in pairs),
        "mean_b": _mean(pair.b for pair in pairs),
        "difference": mean.mean,
        "standard_error": mean.standard_error,
        "low": mean.low,
        "high": mean.high,
        "degrees": mean.degrees,
        "p": test.p,
        "exact": test.exact,
        "wins": sum(one > 0 for one in differences),
        "ties": sum(one == 0 for one in differences),
        "losses": sum(one < 0 for one in differences),
    }


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return math.fsum(values) / len(values) if values else None
