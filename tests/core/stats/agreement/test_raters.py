"""Krippendorff's alpha against evalica and its definition; intraclass correlations against pingouin's figures."""

from __future__ import annotations

import math
from itertools import permutations

import evalica
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edit_eval.core.stats.agreement import Coefficient, icc, krippendorff_alpha

SCALES = ("nominal", "ordinal", "interval")
FORMS = ("1-1", "2-1", "3-1", "1-k", "2-k", "3-k")
shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7)
tables = arrays(float, shapes, elements=st.sampled_from([1.0, 2.0, 3.0, 7.5, math.nan]))
wild = arrays(float, shapes, elements=st.floats(allow_infinity=False, allow_nan=True))
SHROUT_AND_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
).T


def same(value):
    return value if value is None else pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("scale", SCALES)
def test_alpha_is_evalicas(scale):
    generator = np.random.default_rng(1)
    for raters, units in ((2, 12), (4, 30), (3, 200)):
        truth = generator.integers(0, 5, units)
        ratings = (truth + generator.integers(-1, 2, (raters, units))).astype(float)
        ratings[generator.random(ratings.shape) < 0.3] = math.nan
        found = krippendorff_alpha(ratings, scale)
        assert found.value == pytest.approx(evalica.alpha(pd.DataFrame(ratings), scale).alpha, abs=1e-12)
        assert found.n == np.count_nonzero((~np.isnan(ratings)).sum(axis=0) > 1)


def by_definition(ratings, scale):
    units = [[one for one in unit if not math.isnan(one)] for unit in np.asarray(ratings).T]
    units = [unit for unit in units if len(unit) > 1]
    every = [one for unit in units for one in unit]
    if len(set(every)) < 2:
        return None

    def distance(a, b):
        if scale == "interval":
            return (a - b) ** 2
        if a == b or scale == "nominal":
            return float(a != b)
        low, high = min(a, b), max(a, b)
        return (sum(low <= one <= high for one in every) - (every.count(low) + every.count(high)) / 2) ** 2

    observed = sum(
        sum(distance(a, b) for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units
    ) / len(every)
    expected = sum(distance(a, b) for a, b in permutations(every, 2)) / (len(every) * (len(every) - 1))
    return 1 - observed / expected


@pytest.mark.parametrize("scale", SCALES)
@given(ratings=tables, seed=st.integers(0, 9))
def test_alpha_is_its_definition_in_any_order(scale, ratings, seed):
    found = krippendorff_alpha(ratings, scale).value
    assert found == same(by_definition(ratings, scale))
    assert found is None or found <= 1
    generator = np.random.default_rng(seed)
    assert krippendorff_alpha(generator.permutation(ratings, axis=0), scale).value == same(found)
    assert krippendorff_alpha(generator.permutation(ratings, axis=1), scale).value == same(found)
    assert krippendorff_alpha(2 * ratings - 30, scale).value == same(found)  # what no scale minds
    if scale != "interval":
        assert krippendorff_alpha(np.exp(ratings), scale).value == same(found)
    if scale == "nominal":
        assert krippendorff_alpha((ratings * 7) % 5, scale).value == same(found)


@given(wild)
def test_no_number_however_large_makes_nan(ratings):
    for scale in SCALES:
        found = krippendorff_alpha(ratings, scale).value
        assert found is None or (math.isfinite(found) and found <= 1)
    for form in FORMS:
        one = icc(ratings, form)
        assert all(part is None or math.isfinite(part) for part in (one.value, one.low, one.high))
        assert one.value is None or one.value <= 1 + 1e-9


def test_alpha_where_it_is_undefined():
    assert krippendorff_alpha([[3, 3], [3, 3]]) == Coefficient(2, 2, None)
    assert krippendorff_alpha([[1, math.nan], [math.nan, 2]]) == Coefficient(0, 0, None)
    assert krippendorff_alpha(np.empty((3, 0))) == Coefficient(0, 0, None)
    assert krippendorff_alpha([[1, 2, 3], [1, 2, 3]]).value == 1


def test_the_interval_of_alpha():
    generator = np.random.default_rng(2)
    ratings = generator.normal(size=(1, 50)) + generator.normal(0, 0.5, (3, 50))
    found = krippendorff_alpha(ratings, resamples=200)
    assert found.low < found.value < found.high <= 1
    assert krippendorff_alpha(ratings, resamples=200) == found
    twice = krippendorff_alpha(np.tile(ratings, 2), clusters=list(range(50)) * 2, resamples=200)
    assert (twice.n, twice.clusters) == (100, 50)
    assert twice.high - twice.low == pytest.approx(found.high - found.low, rel=0.15)


# Computed with pingouin 0.7.0, whose intervals were kept from being rounded. The values of the first are those of Shrout
# and Fleiss 1979, table 4.
PINGOUIN = [
    (SHROUT_AND_FLEISS, {
        "1-1": (0.1657417684, -0.1329323249, 0.7225600623),
        "2-1": (0.2897637795, 0.0187865134, 0.7610843696),
        "3-1": (0.7148407148, 0.342464765, 0.94585826),
        "1-k": (0.4427971337, -0.8844421552, 0.9124154203),
        "2-k": (0.6200505476, 0.0711368153, 0.9272320402),
        "3-k": (0.9093155424, 0.6756747138, 0.9858916782),
    }),
    (None, {
        "1-1": (0.2206616855, -0.0143420668, 0.4912015347),
        "2-1": (0.315655746, 0.0354744239, 0.5911654808),
        "3-1": (0.4976222616, 0.2580086265, 0.7113567002),
        "1-k": (0.459289754, -0.0442968162, 0.7433425759),
        "2-k": (0.580494432, 0.0993728803, 0.8126615411),
        "3-k": (0.7482124459, 0.5105653501, 0.8808594942),
    }),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("ratings", "expected"), PINGOUIN)
def test_icc_is_pingouins(ratings, expected, form):
    if ratings is None:
        generator = np.random.default_rng(7)
        things, raters = generator.normal(size=(25, 1)), 0.5 * generator.normal(size=(1, 3))
        ratings = (things + raters + generator.normal(size=(25, 3))).round(1).T
    found = icc(ratings, form)
    assert (found.n, found.left_out, found.raters) == (ratings.shape[1], 0, ratings.shape[0])
    assert (found.value, found.low, found.high) == pytest.approx(expected[form], abs=1e-9)


@given(form=st.sampled_from(FORMS), ratings=tables, seed=st.integers(0, 9))
def test_icc_in_any_order_and_unit(form, ratings, seed):
    found = icc(ratings, form)
    assert found.n + found.left_out == ratings.shape[1]
    if found.low is not None:
        assert found.low <= found.value + 1e-9
        assert found.value <= found.high + 1e-9
    generator = np.random.default_rng(seed)
    for other in (
        generator.permutation(ratings, axis=0),
        generator.permutation(ratings, axis=1),
        100 - 8 * ratings,
    ):
        again = icc(other, form)
        assert (again.n, again.value) == (found.n, same(found.value))
    if form[0] == "3":  # consistency does not mind what is added to a rater's scores
        shifted = icc(ratings + np.arange(len(ratings))[:, None], form)
        assert found.value is None or shifted.value == same(found.value)


def test_icc_where_it_is_undefined():
    assert icc([[1, 2, 3]]).value is None
    assert icc([[1], [2]]).value is None
    assert icc([[2, 2], [2, 2]]).value is None
    assert icc([[1, 1, 1], [2, 2, 2]], "3-1").value is None  # things do not differ, and nothing is left over
    perfect = icc([[1, 2, 3], [1, 2, 3]])
    assert (perfect.value, perfect.low, perfect.high) == (1, None, None)
    part = icc([[1, 2, 3, 4], [2, 2, 3, math.nan]])
    assert (part.n, part.left_out) == (3, 1)


@pytest.mark.parametrize("function", [krippendorff_alpha, icc])
def test_what_is_wrong_is_refused(function):
    with pytest.raises(ValueError, match="raters x units"):
        function([1, 2, 3])
    with pytest.raises(ValueError, match="finite"):
        function([[1, math.inf], [1, 2]])
    with pytest.raises(ValueError, match=r"unknown \w+ 'ratio'; one of"):
        function([[1, 2], [1, 2]], "ratio")
