"""Proportions against scipy's intervals, and over clusters against what they must become."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edit_eval.core.stats import Proportion, mean_interval, proportion_interval, proportion_interval_of

tries = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(tries, st.sampled_from([0.5, 0.9, 0.95, 0.99]), st.sampled_from(["wilson", "exact"]))
def test_independent_tries_have_scipys_intervals(counts, level, method):
    successes, n = counts
    found = proportion_interval(successes, n, level, method)
    known = stats.binomtest(successes, n).proportion_ci(level, method)
    assert found.share == successes / n
    assert (found.low, found.high) == (
        pytest.approx(known.low, abs=1e-9),
        pytest.approx(known.high, abs=1e-9),
    )
    mirrored = proportion_interval(n - successes, n, level, method)
    assert (1 - mirrored.high, 1 - mirrored.low) == (pytest.approx(found.low), pytest.approx(found.high))


@given(tries)
def test_clusters_of_one_are_no_clusters(counts):
    successes, n = counts
    values = [1] * successes + [0] * (n - successes)
    assert proportion_interval_of(values) == proportion_interval(successes, n)


@given(st.lists(st.integers(0, 1), min_size=2, max_size=60), st.integers(2, 5))
def test_repeating_every_value_does_not_narrow_the_interval(values, times):
    once = proportion_interval_of(values)
    repeated = proportion_interval_of(values * times, list(range(len(values))) * times)
    assert (repeated.n, repeated.clusters) == (times * len(values), len(values))
    assert repeated.low <= once.low + 1e-9
    assert repeated.high >= once.high - 1e-9
    # Quantiles of t with 2 C - 1 and C - 1 degrees of freedom differ little but for few clusters.
    if len(values) >= 20:
        assert repeated.high - repeated.low < 1.08 * (once.high - once.low)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=2, max_size=60))
def test_the_interval_stays_between_0_and_1_and_holds_the_share(pairs):
    values, clusters = [value for value, _ in pairs], [cluster for _, cluster in pairs]
    found = proportion_interval_of(values, clusters)
    assert found.clusters == len(set(clusters))
    if found.clusters < 2:
        assert (found.low, found.high, found.effective) == (None, None, None)
        return
    assert 0 <= found.low <= found.share <= found.high <= 1
    assert found.low < found.high
    assert 0 < found.effective <= found.n
    mirrored = proportion_interval_of([1 - value for value in values], clusters)
    assert (1 - mirrored.high, 1 - mirrored.low) == (pytest.approx(found.low), pytest.approx(found.high))


def test_all_alike_counts_clusters():
    found = proportion_interval_of([1] * 40, [place % 10 for place in range(40)])
    assert (found.low, found.high, found.effective) == (*_ends(10, 10), 10)


def test_the_design_effect_by_hand():
    """Ten clusters of two, both of each alike, half of them ones: SE^2 = 10/9 x 10 x 1 / 20^2 and D = SE^2 / (0.25 / 19) = 2.111."""
    values, clusters = [1, 1] * 5 + [0, 0] * 5, [place // 2 for place in range(20)]
    assert mean_interval(values, clusters).standard_error ** 2 == pytest.approx(1 / 36)
    quantiles = stats.t.ppf(0.975, 19) / stats.t.ppf(0.975, 9)
    assert proportion_interval_of(values, clusters).effective == pytest.approx(
        20 * 36 * 0.25 / 19 * quantiles**2
    )


def _ends(successes, n):
    known = proportion_interval(successes, n)
    return pytest.approx(known.low), pytest.approx(known.high)


def test_what_is_undefined_and_what_is_refused():
    assert proportion_interval(0, 0) == Proportion(0, 0, None, None, None, "wilson", 0, None)
    assert proportion_interval_of([]).share is None
    assert proportion_interval(19, 19).few
    assert not proportion_interval(19, 20).few
    for bad in ((3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="successes of"):
            proportion_interval(*bad)
    with pytest.raises(ValueError, match="method"):
        proportion_interval(1, 2, method="wald")
    with pytest.raises(ValueError, match="0 or 1"):
        proportion_interval_of([0.5, 1.0])
