"""Spearman, Kendall's tau-b and pairs: against scipy, brute force and what must not change them."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from edit_eval.core.stats.agreement import Pairs, count_pairs, kendall_tau_b, spearman

levels = st.integers(-3, 6).map(lambda level: level / 2)
pairs = st.lists(st.tuples(levels, levels), max_size=30)
statistics = pytest.mark.parametrize("statistic", [spearman, kendall_tau_b])


def split(scores):
    return [a for a, _ in scores], [b for _, b in scores]


@given(pairs)
def test_both_are_scipys(scores):
    first, second = split(scores)
    for mine, theirs in ((spearman, spearmanr), (kendall_tau_b, kendalltau)):
        found = mine(first, second)
        assert (found.n, found.low, found.high) == (len(scores), None, None)
        if len(set(first)) < 2 or len(set(second)) < 2:
            assert found.value is None
        else:
            assert found.value == pytest.approx(theirs(first, second).statistic, abs=1e-12)
            assert -1 <= found.value <= 1


@given(pairs)
def test_pairs_are_those_of_brute_force(scores):
    orders = [
        ((a1 > a2) - (a1 < a2), (b1 > b2) - (b1 < b2)) for (a1, b1), (a2, b2) in combinations(scores, 2)
    ]
    assert count_pairs(*split(scores)) == Pairs(
        concordant=sum(a * b > 0 for a, b in orders),
        discordant=sum(a * b < 0 for a, b in orders),
        tied_first=sum(a == 0 != b for a, b in orders),
        tied_second=sum(b == 0 != a for a, b in orders),
        tied_both=sum(a == 0 == b for a, b in orders),
    )


@statistics
@given(scores=pairs, seed=st.integers(0, 9))
def test_what_keeps_order_changes_nothing(statistic, scores, seed):
    first, second = split(scores)
    found = statistic(first, second).value
    assert statistic(second, first).value == (found if found is None else pytest.approx(found, abs=1e-12))
    assert statistic([math.exp(a) for a in first], [b**3 - 5 for b in second]).value == found
    order = np.random.default_rng(seed).permutation(len(scores)).tolist()
    shuffled = statistic([first[i] for i in order], [second[i] for i in order]).value
    assert shuffled == (found if found is None else pytest.approx(found, abs=1e-12))
    turned = statistic(first, [-b for b in second]).value
    assert turned == (found if found is None else pytest.approx(-found, abs=1e-12))


@statistics
@given(st.lists(levels, max_size=30))
def test_a_judge_agrees_with_itself(statistic, scores):
    expected = 1.0 if len(set(scores)) > 1 else None
    assert statistic(scores, scores).value == expected


@statistics
def test_many_scores(statistic):
    """10,000 fine scores against coarse ones: both in a moment, and scipy's."""
    generator = np.random.default_rng(1)
    first = generator.integers(0, 20, 10_000) / 2
    second = first + generator.normal(0, 3, 10_000)
    theirs = {spearman: spearmanr, kendall_tau_b: kendalltau}[statistic]
    assert statistic(first, second).value == pytest.approx(theirs(first, second).statistic, abs=1e-12)


@statistics
def test_the_interval(statistic):
    """It holds the value, is the same again, is wider of clusters that repeat, and widens with the level."""
    generator = np.random.default_rng(2)
    first = generator.normal(size=60)
    second = first + generator.normal(size=60)
    found = statistic(first, second, resamples=300)
    assert -1 <= found.low < found.value < found.high <= 1
    assert statistic(first, second, resamples=300) == found
    assert statistic(first, second, resamples=300, seed=1).low != found.low
    wide = statistic(first, second, resamples=300, level=0.99)
    assert wide.low < found.low < found.high < wide.high
    # Each thing thrice, as a cluster: as well known as each once, and less well than if all were their own.
    clusters = list(range(60)) * 3
    thrice = statistic(np.tile(first, 3), np.tile(second, 3), clusters, resamples=300)
    apart = statistic(np.tile(first, 3), np.tile(second, 3), resamples=300)
    assert (thrice.n, thrice.clusters) == (180, 60)
    assert thrice.high - thrice.low == pytest.approx(found.high - found.low, rel=0.1)
    assert apart.high - apart.low < 0.75 * (thrice.high - thrice.low)


@statistics
def test_an_interval_that_cannot_be_told(statistic):
    few = statistic(range(19), range(19), resamples=50)
    assert (few.value, few.low, few.high) == (1, None, None)
    # Only one of 30 differs: a third of the resamples lack it.
    rare = statistic([0] * 29 + [1], range(30), resamples=50)
    assert rare.value is not None
    assert (rare.low, rare.high) == (None, None)


@statistics
def test_what_is_wrong_is_refused(statistic):
    with pytest.raises(ValueError, match="finite"):
        statistic([1, math.nan], [1, 2])
    with pytest.raises(ValueError, match="2 and 1 scores"):
        statistic([1, 2], [1])
    with pytest.raises(ValueError, match="2 things but 1 clusters"):
        statistic([1, 2], [1, 2], ["x"])
