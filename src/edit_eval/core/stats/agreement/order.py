"""Whether two series of scores put the same things in the same order: ranks and pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edit_eval.core.stats.agreement.coefficient import Coefficient, clusters_of, coefficient

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Pairs", "count_pairs", "kendall_tau_b", "spearman"]


@dataclass(frozen=True)
class Pairs:
    """All pairs of things that were scored twice.

    Attributes:
        concordant: put in the same order by both.
        discordant: put in opposite orders.
        tied_first: tied by the first alone.
        tied_second: tied by the second alone.
        tied_both: tied by both.
    """

    concordant: int
    discordant: int
    tied_first: int
    tied_second: int
    tied_both: int

    @property
    def every(self) -> int:
        """All of them."""
        return self.ordered + self.tied

    @property
    def ordered(self) -> int:
        """Pairs that neither ties."""
        return self.concordant + self.discordant

    @property
    def tied(self) -> int:
        """Pairs that one of the two, or both, tie."""
        return self.tied_first + self.tied_second + self.tied_both

    @property
    def with_ties(self) -> float | None:
        """Share of all pairs that both order alike or both tie; None without pairs.

        acc_eq of Deutsch, Foster and Freitag 2023, Ties Matter, section 4.
        """
        return (self.concordant + self.tied_both) / self.every if self.every else None

    @property
    def without_ties(self) -> float | None:
        """Share of the pairs that neither ties that both put in the same order; None without such pairs."""
        return self.concordant / self.ordered if self.ordered else None

    @property
    def tau_b(self) -> float | None:
        """Kendall's tau-b, -1 to 1; None where one of the two ties every pair.

        (C - D) / sqrt((pairs not tied by the first) * (pairs not tied by the second)); Kendall 1945, The Treatment of
        Ties in Ranking Problems.
        """
        product = (self.ordered + self.tied_second) * (self.ordered + self.tied_first)
        if not product:
            return None
        return max(-1.0, min(1.0, (self.concordant - self.discordant) / math.sqrt(product)))


def spearman(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    resamples: int = 0,
    level: float = 0.95,
    seed: int = 0,
) -> Coefficient:
    """Return Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank; -1 to 1.

    Spearman 1904, The Proof and Measurement of Association between Two Things; with ties as in Kendall 1948, Rank
    Correlation Methods, chapter 3. Undefined where one of the series has a single value throughout.

    Args:
        first: finite numbers.
        second: likewise, of the same things in the same order.
        clusters: of each thing, for the interval; None makes each its own.
        resamples: of the cluster bootstrap that gives the interval (`resampling.bootstrap`); 0 for none.
        level: confidence, between 0 and 1.
        seed: of the bootstrap.

    Raises:
        ValueError: lengths that differ, or a number that is not finite.
    """
    return _coefficient(_rho, first, second, clusters, resamples, level, seed)


def kendall_tau_b(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    resamples: int = 0,
    level: float = 0.95,
    seed: int = 0,
) -> Coefficient:
    """Return Kendall's tau-b (`Pairs.tau_b`); the rest as of `spearman`."""
    return _coefficient(_tau, first, second, clusters, resamples, level, seed)


def count_pairs(first: Sequence[float], second: Sequence[float]) -> Pairs:
    """Return how the pairs of things stand, in n log n steps.

    Raises:
        ValueError: lengths that differ, or a number that is not finite.
    """
    return _pairs(*levels_of(first, second))


def levels_of(*series: Sequence[float]) -> list[NDArray[np.intp]]:
    """Return each series with its values numbered from 0 in rising order, equal ones alike.

    Raises:
        ValueError: lengths that differ, or a number that is not finite.
    """
    import numpy as np

    if len({len(one) for one in series}) > 1:
        raise ValueError(f"{' and '.join(str(len(one)) for one in series)} scores")
    arrays = [np.asarray(one, dtype=float) for one in series]
    if not all(np.isfinite(one).all() for one in arrays):
        raise ValueError("scores must be finite")
    return [np.unique(one, return_inverse=True)[1] for one in arrays]


def _coefficient(
    statistic: Callable[[NDArray[np.intp], NDArray[np.intp]], float | None],
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable] | None,
    resamples: int,
    level: float,
    seed: int,
) -> Coefficient:
    a, b = levels_of(first, second)
    return coefficient(
        lambda drawn: statistic(a[drawn], b[drawn]),
        clusters_of(clusters, len(a)),
        resamples=resamples,
        level=level,
        seed=seed,
    )


def _rho(first: NDArray[np.intp], second: NDArray[np.intp]) -> float | None:
    a, b = _centred_ranks(first), _centred_ranks(second)
    squares = float(a @ a), float(b @ b)
    if not all(squares):
        return None
    return max(-1.0, min(1.0, float(a @ b) / math.sqrt(squares[0] * squares[1])))


def _centred_ranks(levels: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the rank of each value less the mean rank, equal values sharing the mean of theirs."""
    import numpy as np

    counts = np.bincount(levels)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts + len(levels)) / 2)[levels]
    return ranks


def _tau(first: NDArray[np.intp], second: NDArray[np.intp]) -> float | None:
    return _pairs(first, second).tau_b


def _pairs(first: NDArray[np.intp], second: NDArray[np.intp]) -> Pairs:
    """Return the pairs of two series of levels.

    Sorted by the first level and then the second, a pair is in opposite orders if the later one's second level is lower
    (Knight 1966, A Computer Method for Calculating Kendall's Tau).
    """
    import numpy as np

    n = len(first)
    if n < 2:
        return Pairs(0, 0, 0, 0, 0)
    joint = first * (int(second.max()) + 1) + second
    both = _pairs_in(np.unique(joint, return_counts=True)[1])
    in_first, in_second = _pairs_in(np.bincount(first)), _pairs_in(np.bincount(second))
    discordant = _falls(second[np.argsort(joint, kind="stable")])
    concordant = n * (n - 1) // 2 - in_first - in_second + both - discordant
    return Pairs(concordant, discordant, in_first - both, in_second - both, both)


def _pairs_in(counts: NDArray[np.intp]) -> int:
    return int((counts * (counts - 1) // 2).sum())


def _falls(levels: NDArray[np.intp]) -> int:
    """Return how many pairs of levels stand in falling order.

    Two levels fall at the highest binary digit in which they differ, if the earlier one has a 1 there and the later one a
    0. So for each digit, from the highest, the ones before each zero are counted among the levels that are alike so far.
    """
    import numpy as np

    falls = 0
    for digit in reversed(range(int(levels.max()).bit_length())):
        group = levels >> digit + 1
        ones = levels >> digit & 1
        before = np.cumsum(ones) - ones
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        before -= np.repeat(before[starts], np.diff(starts, append=len(levels)))
        falls += int(before[ones == 0].sum())
        levels = levels[np.argsort(levels >> digit, kind="stable")]
    return falls
