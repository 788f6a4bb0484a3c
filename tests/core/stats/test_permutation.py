"""The sign-flip test against scipy's permutation test, and against the binomial distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edit_eval.core.stats import SignFlip, sign_flip

whole = st.lists(st.integers(-9, 9).map(float), min_size=2, max_size=9)
quick = settings(deadline=None)


@quick
@given(whole)
def test_few_clusters_are_tested_exactly(totals):
    found = sign_flip(totals)
    zeros = [0.0] * len(totals)
    known = stats.permutation_test(
        (totals, zeros),
        lambda a, b, axis: abs((a - b).sum(axis=axis)),
        permutation_type="samples",
        vectorized=True,
        n_resamples=math.inf,
        alternative="greater",
    )
    assert found.exact
    assert found.p == pytest.approx(known.pvalue)


@pytest.mark.parametrize(("plus", "minus"), [(9, 1), (12, 2), (10, 4)])
def test_equal_sizes_are_a_sign_test(plus, minus):
    totals = [0.1] * plus + [-0.1] * minus
    assert sign_flip(totals).p == pytest.approx(stats.binomtest(plus, plus + minus).pvalue)
    assert sign_flip(totals + [0.0] * 30) == sign_flip(totals)  # what does not differ says nothing


@pytest.mark.parametrize(("plus", "minus"), [(18, 8), (200, 160), (5005, 4990)])
def test_many_clusters_are_sampled(plus, minus):
    found = sign_flip([0.1] * plus + [-0.1] * minus)
    known = stats.binomtest(plus, plus + minus).pvalue
    assert not found.exact
    assert found.p == pytest.approx(known, abs=4 * math.sqrt(known * (1 - known) / 9_999))


def test_a_sampled_p_is_never_0():
    assert sign_flip([1.0] * 100, resamples=999).p == 1 / 1000


@quick
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.randoms(use_true_random=False))
def test_order_and_sign_change_nothing_and_scale_as_good_as_nothing(totals, random):
    mixed = list(totals)
    random.shuffle(mixed)
    found = sign_flip(totals, resamples=200)
    assert found == sign_flip(mixed, resamples=200) == sign_flip([-one for one in totals], resamples=200)
    assert found == sign_flip([4 * one for one in totals], resamples=200)
    assert 0 < found.p <= 1


def test_chunks_change_nothing(monkeypatch):
    totals = np.random.default_rng(0).normal(0.2, 1, 40).tolist()
    found = sign_flip(totals)
    monkeypatch.setattr("edit_eval.core.stats.permutation._CHUNK_BYTES", 10_000)
    assert sign_flip(totals) == found
    assert sign_flip(totals, seed=1) != found


def test_what_is_undefined_and_what_is_refused():
    assert sign_flip([]) == sign_flip([3.0]) == SignFlip(None, exact=False)
    assert sign_flip([0.0, 0.0]) == SignFlip(1.0, exact=True)
    with pytest.raises(ValueError, match="finite"):
        sign_flip([1.0, math.nan])
    with pytest.raises(ValueError, match="resample"):
        sign_flip([1.0, 2.0], resamples=0)
