"""How two series of scores agree: against arithmetic by hand, brute force, and scipy."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from edit_eval.core.agreement import Noise, bridge, noise, spearman

levels = st.integers(0, 6).map(lambda level: level / 2)
pairs = st.lists(st.tuples(levels, levels, st.integers(0, 4)), min_size=2, max_size=30)


def test_by_hand():
    """A = 8 6 4 9 7, B = 7 6 5 8 9, the first two of one cluster.

    Differences -1 0 1 -1 2, mean 0.2. Their residuals summed in clusters: -1.4, 0.8, -1.2, 1.8; squares over the share that lies in
    other clusters 1.96 / 0.6 + 5.32 / 0.8 = 9.91667; standard error its root / 5 = 0.62981. 2.57388 degrees of freedom (by the
    matrices of `tests/core/stats/test_linear.py`); t(0.975) = 3.50228, half 2.20580.
    Ranks 4 2 1 5 3 and 3 2 1 4 5: rho = 1 - 6 (1 + 0 + 0 + 1 + 4) / (5 x 24) = 0.7.
    Of 10 pairs the last with the first and with the fourth are in opposite orders: 8 of 10. One score of 5 is equal.
    """
    found = bridge([8, 6, 4, 9, 7], [7, 6, 5, 8, 9], ["x", "x", "y", "z", "w"], same_scale=True)
    assert (found.n, found.clusters, found.ordered, found.tied) == (5, 4, 10, 0)
    assert (found.first, found.second) == (pytest.approx(6.8), pytest.approx(7.0))
    assert found.shift == pytest.approx(0.2)
    assert found.standard_error == pytest.approx(0.62981, abs=1e-5)
    assert (found.low, found.high) == (pytest.approx(-2.00580, abs=1e-4), pytest.approx(2.40580, abs=1e-4))
    assert (found.spearman, found.concordant, found.equal) == (pytest.approx(0.7), 0.8, 0.2)


def test_on_other_scales_order_alone_is_said():
    found = bridge([1, 2, 3], [10, 20, 30], "abc", same_scale=False)
    assert (found.spearman, found.concordant, found.ordered) == (pytest.approx(1.0), 1.0, 3)
    for name in ("first", "second", "shift", "standard_error", "low", "high", "equal"):
        assert getattr(found, name) is None


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_say_nothing(n):
    found = vars(bridge([3.0] * n, [3.0] * n, range(n), same_scale=True))
    assert (found.pop("n"), found.pop("clusters"), found.pop("same_scale")) == (n, n, True)
    assert set(found.values()) == {None}


def test_a_judge_that_says_always_the_same_orders_nothing():
    found = bridge([5, 5, 5], [1, 2, 3], "abc", same_scale=True)
    assert (found.spearman, found.concordant, found.ordered, found.tied) == (None, None, 0, 3)
    assert found.shift == -3


@given(pairs)
def test_pairs_are_those_of_brute_force(scores):
    first, second, clusters = map(list, zip(*scores, strict=True))
    found = bridge(first, second, clusters, same_scale=True)
    orders = [
        ((a1 > a2) - (a1 < a2), (b1 > b2) - (b1 < b2)) for (a1, b1, _), (a2, b2, _) in combinations(scores, 2)
    ]
    ordered = [one for one in orders if all(one)]
    assert (found.ordered, found.tied) == (len(ordered), len(orders) - len(ordered))
    same = sum(a == b for a, b in ordered)
    assert found.concordant == (same / len(ordered) if ordered else None)


@given(pairs)
def test_spearman_is_scipys(scores):
    first, second, _ = map(list, zip(*scores, strict=True))
    found = spearman(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)


@given(pairs)
def test_the_other_way_round(scores):
    first, second, clusters = map(list, zip(*scores, strict=True))
    one = bridge(first, second, clusters, same_scale=True)
    other = bridge(second, first, clusters, same_scale=True)
    assert one.shift == pytest.approx(-other.shift)
    for name in ("n", "clusters", "ordered", "tied", "concordant", "equal"):
        assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises(ValueError, match="finite"):
        bridge([1, wrong], [1, 2], "ab", same_scale=True)
    with pytest.raises(ValueError, match="2 and 1 scores"):
        bridge([1, 2], [1], "ab", same_scale=True)


def test_noise_by_hand():
    """Differences -1 0 1 0: mean absolute 0.5; their sd sqrt(2/3), over sqrt(2): 0.57735; two of four the same."""
    found = noise([8, 6, 4, 9], [7, 6, 5, 9])
    assert (found.n, found.mean_absolute, found.identical) == (4, 0.5, 0.5)
    assert found.deviation == pytest.approx(math.sqrt(2 / 3) / math.sqrt(2))


def test_noise_of_too_few():
    assert noise([], []) == Noise(0)
    assert noise([3], [4]) == Noise(1, 1.0, None, 0.0)
    with pytest.raises(ValueError, match="finite"):
        noise([math.nan], [1])
    with pytest.raises(ValueError, match="1 and 2 scores"):
        noise([1], [1, 2])
