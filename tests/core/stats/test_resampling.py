"""The cluster bootstrap: linear numbers have the spread that they must have, and undefined ones none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edit_eval.core.stats import bootstrap, mean_interval, mean_of_groups
from edit_eval.core.stats.resampling import _degrees, draws

GENERATOR = np.random.default_rng(0)
VALUES = GENERATOR.integers(1, 11, 120).astype(float).tolist()
CLUSTERS = [place // 3 for place in range(120)]


def test_a_mean_has_its_closed_form_spread():
    found = bootstrap(mean_of_groups(VALUES, [0] * 120), CLUSTERS, resamples=20_000)
    known = mean_interval(VALUES, CLUSTERS)
    assert found.value == pytest.approx(known.mean)
    assert found.standard_error == pytest.approx(known.standard_error, rel=0.02)
    assert (found.low, found.high) == (
        pytest.approx(known.low, abs=0.03),
        pytest.approx(known.high, abs=0.03),
    )


def test_a_mean_may_ask_for_it():
    found, known = mean_interval(VALUES, CLUSTERS, method="bootstrap"), mean_interval(VALUES, CLUSTERS)
    assert (found.method, known.method) == ("bootstrap", "t")
    assert (found.mean, found.standard_error) == (known.mean, known.standard_error)
    assert (found.low, found.high) != (known.low, known.high)
    assert found == mean_interval(VALUES, CLUSTERS, method="bootstrap", seed=0)
    assert found != mean_interval(VALUES, CLUSTERS, method="bootstrap", seed=1)


def test_it_follows_the_skewness():
    skewed = [1.0] * 36 + [8.0, 9.0, 9.0, 10.0]
    found = mean_interval(skewed, method="bootstrap")
    assert found.high - found.mean > 1.1 * (found.mean - found.low)


def test_under_20_clusters_it_is_t():
    assert mean_interval(VALUES[:19], method="bootstrap") == mean_interval(VALUES[:19])
    assert mean_interval(VALUES[:19]).few
    assert not mean_interval(VALUES[:20]).few
    few = bootstrap(mean_of_groups(VALUES[:19], [0] * 19), range(19))
    assert (few.clusters, few.value, few.standard_error, few.low) == (
        19,
        pytest.approx(np.mean(VALUES[:19])),
        None,
        None,
    )


def test_shift_and_scale_of_the_values():
    one = mean_interval(VALUES, CLUSTERS, method="bootstrap", resamples=500)
    other = mean_interval([2 * value - 3 for value in VALUES], CLUSTERS, method="bootstrap", resamples=500)
    assert (other.low, other.high) == (pytest.approx(2 * one.low - 3), pytest.approx(2 * one.high - 3))


def test_groups_of_one_size_average_as_their_samples_do():
    groups = [place % 4 for place in range(120)]
    statistic = mean_of_groups(VALUES, groups)
    assert statistic(np.ones((2, 120))).tolist() == pytest.approx([np.mean(VALUES)] * 2)
    weights = np.zeros((1, 120))
    weights[0, :3] = 1  # the fourth group has nothing
    assert math.isnan(statistic(weights)[0])


def test_a_group_that_most_resamples_lack_has_no_interval():
    lone = ["lone", *["other"] * 119]
    found = bootstrap(mean_of_groups(VALUES, lone), range(120), resamples=400)
    assert found.undefined == pytest.approx(math.exp(-1), abs=0.1)  # (1 - 1/120)^120
    assert (found.standard_error, found.low, found.high) == (None, None, None)
    assert found.value == pytest.approx((VALUES[0] + np.mean(VALUES[1:])) / 2)


def test_draws_take_one_cluster_less_than_there_are_of_each_stratum_and_each_alike(monkeypatch):
    strata = np.array([0] * 20 + [1] * 10)
    drawn = np.concatenate(list(draws(strata, 3_000, seed=0)))
    assert drawn.shape == (3_000, 30)
    assert drawn[:, :20].sum(axis=1) == pytest.approx(np.full(3_000, 20))
    assert drawn[:, 20:].sum(axis=1) == pytest.approx(np.full(3_000, 10))
    assert drawn.mean(axis=0) == pytest.approx(np.ones(30), abs=0.1)
    assert drawn.var() == pytest.approx(1, abs=0.03)
    monkeypatch.setattr("edit_eval.core.stats.resampling._CHUNK_BYTES", 8 * 30 * 7)
    assert len(next(draws(strata, 3_000, seed=0))) == 7
    assert len(next(draws(strata, 3_000, seed=0, width=70))) == 3


def test_strata_have_the_spread_of_a_mean_of_means():
    groups = ["small" if place < 4 else "large" for place in range(120)]
    statistic = mean_of_groups(VALUES, groups)
    found = bootstrap(statistic, range(120), groups, resamples=20_000)
    small, large = mean_interval(VALUES[:4]), mean_interval(VALUES[4:])
    known = math.hypot(small.standard_error, large.standard_error) / 2
    assert found.standard_error == pytest.approx(known, rel=0.02)
    assert found.undefined == 0
    # Equation 5.16 of Cochran 1977, for the mean of the two means.
    parts = small.standard_error**2 / 4, large.standard_error**2 / 4
    strata = np.array([0] * 4 + [1] * 116)
    degrees = _degrees(statistic, np.arange(120), strata)
    assert degrees == pytest.approx(sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 115))
    assert _degrees(mean_of_groups([1.0] * 120, groups), np.arange(120), strata) == 3


def test_what_is_undefined_and_what_is_refused():
    assert bootstrap(lambda weights: weights.sum(axis=1), []).value is None
    undefined = bootstrap(lambda weights: np.full(len(weights), np.nan), range(30))
    assert (undefined.n, undefined.value, undefined.low) == (30, None, None)
    for arguments in ({"level": 1.0}, {"resamples": 0}):
        with pytest.raises(ValueError):
            bootstrap(lambda weights: weights.sum(axis=1), range(30), **arguments)
    lone = bootstrap(mean_of_groups(VALUES, [0] + [1] * 119), range(120), [0] + [1] * 119)
    assert (lone.low, lone.value is None) == (None, False)
    with pytest.raises(ValueError, match="several strata"):
        bootstrap(lambda weights: weights.sum(axis=1), "aabb", "xyxx")
    with pytest.raises(ValueError, match="4 clusters but 2 strata"):
        bootstrap(lambda weights: weights.sum(axis=1), "aabb", "xy")
    with pytest.raises(ValueError, match="method"):
        mean_interval([1.0, 2.0], method="jackknife")
