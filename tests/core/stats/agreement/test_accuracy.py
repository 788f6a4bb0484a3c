"""Pairwise accuracy with and without ties, and the tie threshold: by hand, against brute force and the jackknife."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.stats import t_quantile
from edit_eval.core.stats.agreement import Pairs, Share, pairwise_accuracy, tie_threshold

levels = st.integers(0, 5).map(lambda level: level / 10)
pairs = st.lists(st.tuples(levels, levels), max_size=20)


def split(scores):
    return [a for a, _ in scores], [b for _, b in scores]


def test_by_hand():
    """Truth 1 1 2 3, judge 5 5 5 4.

    Pairs: 12 tied by both; 13 and 23 tied by the judge alone; 14, 24, 34 in opposite orders. With ties 1 of 6 is right,
    without ties 0 of 3.
    """
    found = pairwise_accuracy([1, 1, 2, 3], [5, 5, 5, 4])
    assert (found.n, found.clusters) == (4, 4)
    assert found.pairs == Pairs(concordant=0, discordant=3, tied_first=0, tied_second=2, tied_both=1)
    assert found.with_ties.value == pytest.approx(1 / 6)
    assert found.without_ties == Share(0.0)  # all fare alike: no spread to tell an error from
    # Each one's share: 1/3, 1/3, 0, 0; deviations 1/6 1/6 -1/6 -1/6; error sqrt(4/3 * 4 * (2/6)^2) / 4.
    error = math.sqrt(4 / 3 * 4 * (2 / 6) ** 2) / 4
    assert found.with_ties.standard_error == pytest.approx(error)
    assert found.with_ties.low == 0
    assert found.with_ties.high == pytest.approx(1 / 6 + t_quantile(0.975, 3) * error)


@given(pairs)
def test_ranges_and_the_other_way_round(scores):
    truth, judge = split(scores)
    found = pairwise_accuracy(truth, judge)
    other = pairwise_accuracy(judge, truth)
    for name in ("with_ties", "without_ties"):
        share = getattr(found, name)
        assert share == getattr(other, name)
        if share.value is None:
            assert share == Share(None)
            continue
        assert 0 <= share.value <= 1
        if share.standard_error is not None:
            assert 0 <= share.low <= share.value <= share.high <= 1
    assert (found.with_ties.value is None) == (len(scores) < 2)
    assert pairwise_accuracy([math.exp(a) for a in truth], [b**3 for b in judge]) == found


def test_the_error_is_nearly_the_jackknifes():
    """Leaving out a cluster at a time, (C-1)/C * sum of squared deviations: the same to the order of 1/C."""
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 5, 120).astype(float)
    judge = np.round(truth + generator.normal(0, 1.5, 120))
    clusters = np.arange(120) // 2
    found = pairwise_accuracy(truth, judge, clusters.tolist())
    assert found.clusters == 60
    for name in ("with_ties", "without_ties"):
        left = [
            getattr(pairwise_accuracy(truth[clusters != one], judge[clusters != one]), name).value
            for one in range(60)
        ]
        jackknife = math.sqrt(59 / 60 * sum((one - np.mean(left)) ** 2 for one in left))
        assert getattr(found, name).standard_error == pytest.approx(jackknife, rel=0.05)


def test_the_interval_covers():
    """Of scores with a known accuracy, 95 % intervals of 40 clusters of two hold it 91 to 98 times in 100."""
    generator = np.random.default_rng(4)

    def draw(count):
        source = generator.normal(0, 1, (count, 1))
        truth = source + generator.normal(0, 1, (count, 2))
        return truth.ravel(), (truth + source + generator.normal(0, 1, (count, 2))).ravel()

    whole = pairwise_accuracy(*draw(4_000)).without_ties.value
    clusters = np.repeat(np.arange(40), 2).tolist()
    shares = [pairwise_accuracy(*draw(40), clusters).without_ties for _ in range(300)]
    covered = sum(one.low <= whole <= one.high for one in shares)
    assert 272 <= covered <= 295


def test_many_scores_in_blocks(monkeypatch):
    generator = np.random.default_rng(5)
    truth = generator.integers(0, 5, 300).astype(float)
    judge = truth + generator.normal(0, 1, 300)
    whole = pairwise_accuracy(truth, judge), tie_threshold(truth, judge)
    monkeypatch.setattr("edit_eval.core.stats.agreement.accuracy._BLOCK", 1_000)
    assert (pairwise_accuracy(truth, judge), tie_threshold(truth, judge)) == whole


@given(pairs)
def test_the_threshold_is_the_best_of_brute_force(scores):
    truth, judge = split(scores)
    found = tie_threshold(truth, judge)
    if len(scores) < 2:
        assert found is None
        return
    judge = [round(10 * one) for one in judge]  # in whole tenths nothing is lost by rounding

    def right(limit):
        return sum(
            a1 == a2 if abs(b1 - b2) <= limit else (a1 - a2) * (b1 - b2) > 0
            for (a1, b1), (a2, b2) in combinations(zip(truth, judge, strict=True), 2)
        )

    limits = sorted({0, *(abs(b1 - b2) for b1, b2 in combinations(judge, 2))})
    best = max(limits, key=right)  # the first, thus the smallest, of equally good ones
    assert found.threshold == pytest.approx(best / 10)
    assert found.accuracy == pytest.approx(right(best) / math.comb(len(scores), 2))
    assert found.accuracy >= pairwise_accuracy(truth, judge).with_ties.value


def test_the_threshold_of_many_fine_scores():
    """Scores that are off by at most 0.2 of levels 1 apart: any threshold from 0.4 to 0.6 makes every pair right."""
    generator = np.random.default_rng(6)
    truth = generator.integers(0, 5, 1_500).astype(float)
    found = tie_threshold(truth, truth + generator.uniform(-0.2, 0.2, 1_500))
    assert 0.39 < found.threshold < 0.61
    assert found.accuracy > 0.999


@pytest.mark.parametrize("function", [pairwise_accuracy, tie_threshold])
def test_what_is_wrong_is_refused(function):
    with pytest.raises(ValueError, match="finite"):
        function([1, 2], [1, math.inf])
    with pytest.raises(ValueError, match="2 and 1 scores"):
        function([1, 2], [1])


def test_differences_beyond_all_numbers_are_refused():
    assert pairwise_accuracy([1, 2], [-1e308, 1e308]).with_ties.value == 1
    with pytest.raises(ValueError, match="differences of scores must be finite"):
        tie_threshold([1, 2], [-1e308, 1e308])
