"""Several runs over the same samples: their order, how sure each rank is, and which cannot be told apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edit_eval.core.stats.comparison import PairedComparison, compare
from edit_eval.core.stats.labels import numbered
from edit_eval.core.stats.multiple import holm
from edit_eval.core.stats.resampling import draws

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Ranking", "RunRank", "rank"]

_RESAMPLES = 2_000


@dataclass(frozen=True)
class RunRank:
    """One run among several.

    Attributes:
        mean: over the samples in common; None without any.
        rank: from 1, the highest mean; runs with equal means share the mean of their ranks. None without samples.
        rank_low, rank_high: the bootstrap interval of the rank; None under two clusters.
        best: share of the resamples in which the run is first, shared firsts divided; None under two clusters.
        against_base: the run compared with the base, over the samples in common; None for the base, and without one.
        adjusted_p: p of that, adjusted for the number of runs compared with the base (Holm).
    """

    mean: float | None
    rank: float | None
    rank_low: float | None
    rank_high: float | None
    best: float | None
    against_base: PairedComparison | None = None
    adjusted_p: float | None = None


@dataclass(frozen=True)
class Ranking:
    """Several runs over the samples that all of them scored.

    Attributes:
        n: samples in common.
        clusters: groups of dependent ones among them.
        lost: by run, how many of its samples another run lacks.
        runs: by name, the highest mean first.
        base: the run that the others are compared with, if any.
        groups: runs that are not distinguishable: within a group no pair has an adjusted p (Holm over all pairs) of at most
            1 - level. Largest sets; a run may be in several, and one that differs from all others is in none. None at all
            where no sample is in common: nothing was compared.
        adjusted: that p by pair of names, the one with the higher mean first; None under two clusters.
    """

    n: int
    clusters: int
    lost: Mapping[str, int]
    runs: Mapping[str, RunRank]
    base: str | None
    groups: tuple[tuple[str, ...], ...]
    adjusted: Mapping[tuple[str, str], float | None]


def rank(
    runs: Mapping[str, Mapping[Any, float]],
    clusters: Mapping[Any, Hashable] | None = None,
    *,
    base: str | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Ranking:
    """Return the order of several runs by their means over the samples that all of them scored.

    The interval of a rank holds the ranks from the (1-level)/2 to the (1+level)/2 quantile over a bootstrap of clusters, drawn
    alike for all runs (Goldstein and Spiegelhalter 1996, League Tables and Their Limitations; percentile intervals as Efron and
    Tibshirani 1993, chapter 13).

    Args:
        runs: by name, scores by sample id.
        clusters: by sample id; None makes every sample its own.
        base: name of the run that the others are compared with.
        level: confidence, between 0 and 1.
        seed: of the bootstrap and the permutation tests.

    Raises:
        ValueError: fewer than two runs, an unknown base, a sample without a cluster, or a score that is not finite.
    """
    if len(runs) < 2:
        raise ValueError("a ranking needs at least two runs")
    if base is not None and base not in runs:
        raise ValueError(f"no run is named {base!r}")
    first = next(iter(runs.values()))
    # In an order of their own, so that the same resamples are drawn however the runs are ordered.
    common = sorted((one for one in first if all(one in run for run in runs.values())), key=str)
    scores = {name: {one: run[one] for one in common} for name, run in runs.items()}
    named = [*([] if base is None else [base]), *(name for name in runs if name != base)]
    pairs = {
        (one, other): compare(scores[one], scores[other], clusters, level=level, seed=seed)
        for one, other in itertools.combinations(named, 2)
    }
    known = next(iter(pairs.values()))
    means = {name: math.fsum(run.values()) / len(common) if common else None for name, run in scores.items()}
    order = sorted(runs, key=lambda name: (-(means[name] or 0.0), name))
    places = {name: place for place, name in enumerate(order)}
    adjusted = {
        (one, other) if places[one] < places[other] else (other, one): p
        for (one, other), p in zip(pairs, holm([pair.p for pair in pairs.values()]), strict=True)
    }
    spread = _bootstrap(
        [list(scores[name].values()) for name in order],
        [one if clusters is None else clusters[one] for one in common],
        level,
        seed,
    )
    against = {other: pair for (one, other), pair in pairs.items() if one == base}
    corrected = dict(zip(against, holm([one.p for one in against.values()]), strict=True))
    return Ranking(
        n=len(common),
        clusters=known.clusters,
        lost={name: len(run) - len(common) for name, run in runs.items()},
        runs={
            name: RunRank(
                means[name], _rank(means, name), *spread[place], against.get(name), corrected.get(name)
            )
            for place, name in enumerate(order)
        },
        base=base,
        groups=_indistinct(order, adjusted, 1 - level) if common else (),
        adjusted=adjusted,
    )


def _rank(means: Mapping[str, float | None], name: str) -> float | None:
    own = means[name]
    if own is None:
        return None
    above = sum(1 for one in means.values() if one is not None and one > own)
    return above + (sum(1 for one in means.values() if one == own) + 1) / 2


def _bootstrap(
    runs: Sequence[Sequence[float]], clusters: Sequence[Hashable], level: float, seed: int
) -> Sequence[tuple[float | None, float | None, float | None]]:
    """Return for each run the least and the greatest rank, and the share of firsts; None under two clusters."""
    import numpy as np

    places, count = numbered(clusters)
    if count < 2:
        return [(None, None, None)] * len(runs)
    sums = np.stack([np.bincount(places, run, count) for run in runs], axis=1)  # clusters x runs
    ranks = np.concatenate(
        [_ranks(weights @ sums) for weights in draws(np.zeros(count, dtype=np.intp), _RESAMPLES, seed)]
    )
    low, high = np.quantile(ranks, [(1 - level) / 2, (1 + level) / 2], axis=0, method="inverted_cdf")
    first = ranks == ranks.min(axis=1, keepdims=True)
    best = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return [(float(a), float(b), float(c)) for a, b, c in zip(low, high, best, strict=True)]


def _ranks(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks within each row, the greatest 1, equal ones sharing the mean of theirs.

    Dividing by the number of samples drawn, which is the same for all runs, would change no rank.
    """
    from scipy.stats import rankdata

    # Equal but for rounding is equal.
    steps = 1e-9 * abs(sums).max() or 1.0
    ranks: NDArray[np.float64] = rankdata(-(sums / steps).round(), axis=1)
    return ranks


def _indistinct(
    order: Sequence[str], adjusted: Mapping[tuple[str, str], float | None], least: float
) -> tuple[tuple[str, ...], ...]:
    """Return the largest sets of runs of which no pair differs, the highest first.

    They are grown run by run: each run joins those of the sets so far that it does not differ from.
    """
    alike = {pair for pair, p in adjusted.items() if p is None or p > least}
    sets: list[frozenset[str]] = []
    for name in order:
        own = {frozenset({name, *(one for one in a_set if (one, name) in alike)}) for a_set in sets} | {
            frozenset({name})
        }
        every = [*sets, *own]
        sets = [one for one in every if not any(one < other for other in every)]
    places = {name: place for place, name in enumerate(order)}
    groups = [tuple(sorted(one, key=places.__getitem__)) for one in sets if len(one) > 1]
    return tuple(sorted(groups, key=lambda group: [places[name] for name in group]))
