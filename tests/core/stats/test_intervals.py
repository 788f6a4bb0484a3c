"""Means and intervals against scipy's, and what is undefined stays None."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from edit_eval.core.stats import MeanInterval, bounds, mean_interval

scores = st.floats(0, 10, allow_nan=False)
many = st.lists(scores, min_size=2, max_size=40)


@given(many, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_one_value_a_cluster_is_the_usual_t_interval(values, level):
    assume(statistics.stdev(values) > 1e-6)
    found = mean_interval(values, level=level)
    error = stats.sem(values)
    low, high = stats.t.interval(level, len(values) - 1, loc=statistics.fmean(values), scale=error)
    assert found.mean == pytest.approx(statistics.fmean(values))
    assert found.standard_error == pytest.approx(error)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))
    assert found == mean_interval(values, [f"c{index}" for index in range(len(values))], level)


@given(many, st.integers(2, 5))
def test_repeating_every_cluster_does_not_narrow_the_interval(values, times):
    once = mean_interval(values)
    repeated = mean_interval(values * times, list(range(len(values))) * times)
    assert repeated.n == times * len(values)
    assert repeated.clusters == len(values)
    assert repeated.standard_error == pytest.approx(once.standard_error, abs=1e-9)
    assert repeated.low == pytest.approx(once.low, abs=1e-8)
    assert repeated.high == pytest.approx(once.high, abs=1e-8)


@given(many)
def test_ignoring_the_clusters_would_have_narrowed_it(values):
    assume(statistics.stdev(values) > 1e-3)
    clustered = mean_interval(values * 3, list(range(len(values))) * 3)
    naive = mean_interval(values * 3)
    assert clustered.high - clustered.low > naive.high - naive.low


@given(
    st.lists(st.tuples(scores, st.integers(0, 6)), min_size=2, max_size=40), st.randoms(use_true_random=False)
)
def test_order_does_not_matter(pairs, random):
    mixed = list(pairs)
    random.shuffle(mixed)
    one = mean_interval([value for value, _ in pairs], [cluster for _, cluster in pairs])
    other = mean_interval([value for value, _ in mixed], [cluster for _, cluster in mixed])
    assert (one.n, one.clusters) == (other.n, other.clusters)
    assert one.mean == other.mean  # to the last bit: fsum is exact
    assert one.standard_error == pytest.approx(other.standard_error, abs=1e-9)


@given(st.lists(st.tuples(scores, st.integers(0, 6)), min_size=2, max_size=40))
def test_clustered_error_is_that_of_the_formula(pairs):
    """Residuals summed within clusters, squared, over the share of the other clusters; Cameron and Miller 2015, II.B, where
    all are of one size."""
    numpy = pytest.importorskip("numpy")
    values = numpy.array([value for value, _ in pairs])
    groups = numpy.array([cluster for _, cluster in pairs])
    labels, sizes = numpy.unique(groups, return_counts=True)
    assume(len(labels) > 1)
    sums = numpy.array([(values[groups == label] - values.mean()).sum() for label in labels])
    expected = math.sqrt((sums**2 / (1 - sizes / len(values))).sum()) / len(values)
    assert mean_interval(list(values), list(groups)).standard_error == pytest.approx(expected, abs=1e-9)
    if len(set(sizes)) == 1:
        usual = math.sqrt(len(labels) / (len(labels) - 1) * (sums**2).sum()) / len(values)
        assert expected == pytest.approx(usual, abs=1e-9)


def test_the_interval_covers_as_often_as_it_says():
    numpy = pytest.importorskip("numpy")
    generator = numpy.random.default_rng(0)
    hits = 0
    for _ in range(400):
        effects = generator.normal(0, 1, 25)
        values = [5 + effects[index // 4] + generator.normal(0, 0.5) for index in range(100)]
        found = mean_interval(values, [index // 4 for index in range(100)])
        hits += found.low <= 5 <= found.high
    assert 0.91 <= hits / 400 <= 0.98


def test_what_is_undefined_is_none():
    assert mean_interval([]) == MeanInterval(0, 0, None, None, None, None)
    assert mean_interval([4.0]) == MeanInterval(1, 1, 4.0, None, None, None)
    assert mean_interval([4.0, 6.0], ["same", "same"]) == MeanInterval(2, 1, 5.0, None, None, None)


def test_equal_values_have_an_interval_of_no_width():
    found = mean_interval([7.5] * 10)
    assert (found.standard_error, found.low, found.high) == (0.0, 7.5, 7.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        mean_interval([1.0, bad, 2.0])


def test_clusters_must_be_as_many_as_values():
    with pytest.raises(ValueError, match="2 values but 3 clusters"):
        mean_interval([1.0, 2.0], [1, 2, 3])


@given(st.lists(scores, max_size=30), st.integers(0, 30))
def test_bounds_hold_whatever_the_missing_scores_would_have_been(values, missing):
    found = bounds(values, missing, 0.0, 10.0)
    if not values and not missing:
        assert found is None
        return
    low, high = found
    n = len(values) + missing
    assert -1e-9 <= low <= high <= 10 + 1e-9
    assert high - low == pytest.approx(10 * missing / n, abs=1e-9)
    for would_be in (0.0, 3.3, 10.0):
        mean = statistics.fmean([*values, *[would_be] * missing])
        assert low - 1e-9 <= mean <= high + 1e-9
    if values:
        assert low - 1e-9 <= statistics.fmean(values) <= high + 1e-9


def test_bounds_of_nothing_missing_are_the_mean():
    assert bounds([2.0, 4.0], 0, 0.0, 10.0) == (3.0, 3.0)
    assert bounds([], 5, 1.0, 5.0) == (1.0, 5.0)
    assert bounds([], 0, 0.0, 10.0) is None
