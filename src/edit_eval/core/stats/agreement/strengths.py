"""How strong several runs are, from comparisons of two at a time: Bradley and Terry's model with Davidson's ties."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edit_eval.core.stats.agreement.coefficient import clusters_of
from edit_eval.core.stats.intervals import t_quantile
from edit_eval.core.stats.labels import numbered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BradleyTerry", "Strength", "bradley_terry"]

_ITERATIONS = 200


@dataclass(frozen=True)
class Strength:
    """How strong one of the compared is.

    Attributes:
        n: comparisons it was in.
        wins, ties, losses: how these ended.
        value: log-strength, the mean of all that have one being 0; None where it is undefined.
        standard_error: clustered; None where undefined, or with too few clusters (`bradley_terry`).
        low, high: the interval; None with the standard error.
        undefined: why it has no value; empty if it has one.
    """

    n: int
    wins: int
    ties: int
    losses: int
    value: float | None = None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None
    undefined: str = ""


@dataclass(frozen=True)
class BradleyTerry:
    """A fit of Bradley and Terry's model.

    Attributes:
        n: comparisons.
        clusters: groups of dependent ones among them.
        strengths: by name, in the order in which the names first occur.
        tie: Davidson's nu, at least 0: how likely ties are; two of equal strength tie with probability nu / (2 + nu). None
            where no strength is defined.
        covariance: of the log-strengths that are defined, in the order of `strengths`; None with their standard errors.
    """

    n: int
    clusters: int
    strengths: Mapping[str, Strength]
    tie: float | None
    covariance: tuple[tuple[float, ...], ...] | None

    def difference(self, first: str, second: str) -> tuple[float, float | None] | None:
        """Return how much stronger `first` is than `second`, and the standard error of that; None where undefined.

        A win of `first` is exp(difference) times as likely as a loss.
        """
        a, b = self.strengths[first].value, self.strengths[second].value
        if a is None or b is None:
            return None
        if self.covariance is None:
            return a - b, None
        defined = [name for name, one in self.strengths.items() if one.value is not None]
        i, j = defined.index(first), defined.index(second)
        variance = self.covariance[i][i] + self.covariance[j][j] - 2 * self.covariance[i][j]
        return a - b, math.sqrt(max(0.0, variance))


def bradley_terry(
    first: Sequence[str],
    second: Sequence[str],
    outcomes: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
) -> BradleyTerry:
    """Return the strengths that make the outcomes of comparisons likeliest.

    With log-strengths x, the first wins, they tie, or the second wins in proportion to

        exp(x1) : nu * exp((x1 + x2) / 2) : exp(x2)

    (Bradley and Terry 1952, Rank Analysis of Incomplete Block Designs; ties as in Davidson 1970, On Extending the
    Bradley-Terry Model to Accommodate Ties). Davidson's ties rather than those of Rao and Kupper 1967, for then the
    log-likelihood is concave, and a tie counts as half a win, as it does in a win rate: the fitted and the actual wins
    plus half ties of each are equal.

    Strengths are defined for those among whom wins and ties lead from each to each other (Ford 1957, Solution of a Ranking
    Problem from Binary Comparisons), if there is one such group; else the likelihood has no maximum, and for those
    outside the reason is given. With ties, the group must also have a circle in which more wins than ties point the same
    way round: else it grows for ever as strengths move apart while ties become likelier.

    The covariance is H^-1 B H^-1 with the information H and B = C/(C-1) * the sum over C clusters of the outer product of
    their scores (Liang and Zeger 1986); intervals use Student's t with C-1 degrees of freedom. With no more clusters than
    parameters there are none.

    Args:
        first: a name for each comparison.
        second: another name.
        outcomes: 1 if the first won, 0.5 for a tie, 0 if the second won.
        clusters: of each comparison; None makes each its own.
        level: confidence, between 0 and 1.

    Raises:
        ValueError: lengths that differ, another outcome, or one compared with itself.
    """
    import numpy as np

    if not len(first) == len(second) == len(outcomes):
        raise ValueError(f"{len(first)} and {len(second)} names, {len(outcomes)} outcomes")
    if not set(outcomes) <= {0, 0.5, 1}:
        raise ValueError("an outcome is 1, 0.5 or 0")
    if any(a == b for a, b in zip(first, second, strict=True)):
        raise ValueError("nothing is compared with itself")
    codes, count = numbered(clusters_of(clusters, len(outcomes)))
    names = list(dict.fromkeys(name for pair in zip(first, second, strict=True) for name in pair))
    number = {name: place for place, name in enumerate(names)}
    games = np.array([[number[a], number[b]] for a, b in zip(first, second, strict=True)], dtype=np.intp)
    games = games.reshape(-1, 2)
    ends = 2 - (2 * np.asarray(outcomes, dtype=float)).astype(np.intp)  # 0 first, 1 tie, 2 second
    wins, ties = _tables(games, ends, len(names))
    members, why = _comparable(wins, ties)
    inside = np.isin(games, members).all(axis=1)
    place = np.zeros(len(names), dtype=np.intp)
    place[members] = np.arange(len(members))
    fit = _fit(place[games[inside]], ends[inside], codes[inside], len(members)) if len(members) else _Fit()
    covariance, half = fit.covariance, None
    if covariance is not None:
        half = t_quantile((1 + level) / 2, len(set(codes[inside].tolist())) - 1)
    strengths = {}
    for at, name in enumerate(names):
        won, tied, lost = int(wins[at].sum()), int(ties[at].sum()), int(wins[:, at].sum())
        one = Strength(won + tied + lost, won, tied, lost, undefined=why.get(at, ""))
        if at not in why:
            one = _with_value(one, fit, int(place[at]), half)
        strengths[name] = one
    rows = None if covariance is None else tuple(tuple(row) for row in covariance.tolist())
    return BradleyTerry(len(games), count, strengths, fit.tie, rows)


def _with_value(one: Strength, fit: _Fit, at: int, quantile: float | None) -> Strength:
    if fit.values is None:
        return replace(one, undefined="the fit did not converge")
    value = float(fit.values[at])
    if fit.covariance is None or quantile is None:
        return replace(one, value=value)
    error = math.sqrt(max(0.0, float(fit.covariance[at, at])))
    return replace(
        one, value=value, standard_error=error, low=value - quantile * error, high=value + quantile * error
    )


def _tables(
    games: NDArray[np.intp], ends: NDArray[np.intp], count: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return how often each beat each, and how often each tied with each, which is symmetric."""
    import numpy as np

    wins, ties = np.zeros((2, count, count), dtype=np.intp)
    for end, table, columns in ((0, wins, [0, 1]), (2, wins, [1, 0]), (1, ties, [0, 1]), (1, ties, [1, 0])):
        np.add.at(table, tuple(games[ends == end][:, columns].T), 1)
    return wins, ties


def _comparable(wins: NDArray[np.intp], ties: NDArray[np.intp]) -> tuple[NDArray[np.intp], dict[int, str]]:
    """Return those whose strengths are defined, by place, and of each of the others why its strength is not."""
    import numpy as np

    count = len(wins)
    reach = (wins + ties > 0) | np.eye(count, dtype=bool)
    for middle in range(count):
        reach |= np.outer(reach[:, middle], reach[middle])
    together = reach & reach.T
    members = np.flatnonzero(together.sum(axis=1) > 1)
    if len(members) and not together[np.ix_(members, members)].all():
        members = members[:0]  # several groups: none is the one
    why = {}
    for at in sorted(set(range(count)) - set(members.tolist())):
        if not (wins[at] + ties[at]).any():
            why[at] = "never wins or ties"
        elif not (wins[:, at] + ties[at]).any():
            why[at] = "never loses or ties"
        else:
            why[at] = "no wins and ties lead from it to all others and back"
    if len(members) and not _bounded(wins[np.ix_(members, members)], ties[np.ix_(members, members)]):
        why |= dict.fromkeys(members.tolist(), "too many ties for wins that point one way")
        members = members[:0]
    return members, why


def _bounded(wins: NDArray[np.intp], ties: NDArray[np.intp]) -> bool:
    """Return whether the likelihood of a connected group stays below its value somewhere as nu grows for ever.

    It does not if places on a line can be found where each win is over one at least 1 below and each tie is between two at
    most 1 apart, for then strengths can move apart along these places while log nu grows half as fast. Such places are
    a system of difference constraints: there are some unless a circle of wins (1 each, from winner to loser) and
    ties (-1 each, either way) has a positive sum. Longest paths find one (Floyd 1962, Algorithm 97).
    """
    import numpy as np

    if not ties.any():
        return True
    longest = np.where(wins > 0, 1.0, np.where(ties > 0, -1.0, -np.inf))
    for middle in range(len(wins)):
        longest = np.maximum(longest, np.add.outer(longest[:, middle], longest[middle]))
        longest = np.minimum(longest, len(wins))  # a circle of positive sum would grow without end
    return bool((np.diag(longest) > 0).any())


@dataclass(frozen=True)
class _Fit:
    """Log-strengths, nu, and the covariance of the log-strengths; None where there are none."""

    values: NDArray[np.float64] | None = None
    tie: float | None = None
    covariance: NDArray[np.float64] | None = None


def _fit(games: NDArray[np.intp], ends: NDArray[np.intp], codes: NDArray[np.intp], count: int) -> _Fit:
    """Return the maximum of a likelihood that has one, by Newton's method.

    Args:
        games: comparisons x 2, the places of the two.
        ends: 0 the first won, 1 a tie, 2 the second won.
        codes: cluster of each comparison.
        count: how many are compared.
    """
    import numpy as np

    swapped = games[:, 0] > games[:, 1]
    pairs, which = np.unique(np.sort(games, axis=1), axis=0, return_inverse=True)
    ends = np.where(swapped, 2 - ends, ends)
    features = _features(pairs, count)
    if not (ends == 1).any():  # nu is 0: no tie can happen
        features, ends = features[:, ::2, :-1], ends // 2
    counts = np.zeros(features.shape[:2])
    np.add.at(counts, (which, ends), 1)
    size = features.shape[2]
    pin = np.zeros((size, size))
    pin[:count, :count] = 1  # the sum of the log-strengths stays 0
    at = np.zeros(size)
    for _ in range(_ITERATIONS):
        shares = _shares(features, at)
        expected = np.einsum("pe,pes->ps", shares, features)
        weights = counts.sum(axis=1)[:, None] * shares
        gradient = np.einsum("pe,pes->s", counts - weights, features)
        away = features - expected[:, None]
        information = np.einsum("pes,pet->st", weights[:, :, None] * away, away)
        step = np.linalg.solve(information + pin, gradient)
        if float(np.abs(step).max()) < 1e-10:
            covariance = _sandwich(away[which, ends], codes, information + pin)
            tie = float(np.exp(at[count])) if size > count else 0.0
            return _Fit(at[:count], tie, None if covariance is None else covariance[:count, :count])
        before = _likelihood(features, counts, at)
        while _likelihood(features, counts, at + step) < before - 1e-9 * abs(before):
            step /= 2
        at = at + step
    return _Fit()


def _features(pairs: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """Return of each pair and each end what the log of its probability has of each log-strength, and of log nu."""
    import numpy as np

    rows = np.arange(len(pairs))
    features = np.zeros((len(pairs), 3, count + 1))
    features[rows, 0, pairs[:, 0]] = 1
    features[rows, 2, pairs[:, 1]] = 1
    features[rows[:, None], 1, pairs] = 0.5
    features[:, 1, count] = 1
    return features


def _shares(features: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import softmax

    shares: NDArray[np.float64] = softmax(features @ at, axis=1)
    return shares


def _likelihood(features: NDArray[np.float64], counts: NDArray[np.float64], at: NDArray[np.float64]) -> float:
    from scipy.special import log_softmax

    return float((counts * log_softmax(features @ at, axis=1)).sum())


def _sandwich(
    scores: NDArray[np.float64], codes: NDArray[np.intp], information: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return the clustered covariance of the parameters; None with no more clusters than free parameters."""
    import numpy as np

    _, codes = np.unique(codes, return_inverse=True)
    count = int(codes.max()) + 1
    if count < len(information):  # one of the log-strengths is not free
        return None
    sums = np.zeros((count, len(information)))
    np.add.at(sums, codes, scores)
    bread = np.linalg.inv(information)
    covariance: NDArray[np.float64] = count / (count - 1) * bread @ (sums.T @ sums) @ bread
    return covariance
