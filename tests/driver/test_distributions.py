from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.driver.distributions import distribution, distributions_alike


def test_a_scale_of_whole_scores_has_a_bin_for_each_level():
    one = distribution([1, 2, 2, 5], 1, 5, missing=3)
    assert (one.levels, one.counts, one.missing) == (True, (1, 2, 0, 0, 1), 3)
    assert [one.bin(place) for place in (0, 4)] == ["1", "5"]


@pytest.mark.parametrize(
    ("low", "high", "bins"), [(0, 10, 20), (0, 1, 20), (1, 5, 16), (-1, 1, 20), (0, 100, 20), (0, 7, 14)]
)
def test_other_scores_have_bins_of_round_width(low, high, bins):
    one = distribution([low + 0.123 * (high - low)], low, high)
    assert not one.levels
    assert len(one.counts) == bins


def test_the_last_bin_has_the_end_of_the_scale_and_rounding_moves_no_score():
    one = distribution([9.5, 10.0, 0.1 + 0.2 + 9.2, 2.4999999999999996], 0, 10)
    assert one.counts[-1] == 3
    assert one.counts[5] == 1
    assert one.bin(19) == "9.5 to 10"


def test_runs_that_are_shown_together_have_the_same_bins():
    found = distributions_alike([([1, 2], 0), ([1.5], 2)], 0, 10)
    assert [len(one.counts) for one in found] == [20, 20]
    assert all(one.levels for one in distributions_alike([([1, 2], 0), ([3], 2)], 0, 10))


def test_a_scale_without_length_is_refused():
    with pytest.raises(ValueError, match="no bins"):
        distribution([], 1, 1)


@given(st.lists(st.floats(-5, 15)), st.sampled_from([(0, 10), (1, 5), (0.25, 0.75), (0, 1000), (-3, 1e6)]))
def test_every_score_is_counted_once(values, scale):
    one = distribution(values, *scale)
    assert sum(one.counts) == len(values)
    assert 2 <= len(one.counts) <= 21
    assert math.isfinite(one.low)
