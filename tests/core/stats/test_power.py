"""What differences can be shown, against simulation by the noncentral t distribution and textbooks' tables."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edit_eval.core.stats import power


@pytest.mark.parametrize("clusters", [10, 20, 100, 600])
@pytest.mark.parametrize("aim", [0.8, 0.9])
def test_the_smallest_difference_is_found_as_often_as_it_says(clusters, aim):
    found = power(0.1, clusters, power=aim)
    edge = stats.t.ppf(0.975, clusters - 1)
    truth = 1 - stats.nct.cdf(edge, clusters - 1, found.smallest / 0.1)
    assert truth == pytest.approx(aim, abs=0.015)


def test_known_figures():
    """606 paired items with a standard deviation of differences of 2.5 show 0.28 (the normal distribution's 2.8016 standard errors);
    an effect of half a standard deviation needs 32 pairs by the normal distribution, 34 by Student's t (Cohen 1988)."""
    assert power(2.5 / math.sqrt(606), 606).smallest == pytest.approx(0.285, abs=0.001)
    assert power(1 / math.sqrt(50), 50).needed(0.5) == 34


@given(st.floats(1e-3, 10), st.integers(2, 500), st.integers(1, 4), st.floats(0.05, 5))
def test_what_is_needed_shows_the_difference_and_one_cluster_less_does_not(error, clusters, each, times):
    found = power(error, clusters, n=clusters * each)
    difference = times * error
    needed = found.needed(difference) // each
    one = error * math.sqrt(clusters)

    def smallest(count):
        return power(one / math.sqrt(count), count).smallest

    assert smallest(needed) <= difference * (1 + 1e-9)
    assert needed == 2 or smallest(needed - 1) > difference * (1 - 1e-9)
    assert found.needed(-difference) == found.needed(difference)


def test_fewer_degrees_of_freedom_show_less():
    assert power(1.0, 30, degrees=4).smallest > power(1.0, 30).smallest


def test_what_is_undefined_and_what_is_refused():
    assert power(None, 0).smallest is None
    assert power(None, 5).needed(1.0) is None
    assert power(1.0, 1).smallest is None
    assert (power(0.0, 9).smallest, power(0.0, 9).needed(0.1)) == (0.0, 2)
    for bad in (0.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="other than 0"):
            power(1.0, 9).needed(bad)
    for arguments in ({"level": 1.0}, {"power": 0.4}, {"n": 3}, {"standard_error": -1.0}):
        with pytest.raises(ValueError):
            power(**{"standard_error": 1.0, "clusters": 9} | arguments)
