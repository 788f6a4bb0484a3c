"""The standard error over unequal clusters against matrices: the regression that its sources write down."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh

from edit_eval.core.stats import linear_error, mean_interval

rows = st.lists(
    st.tuples(st.integers(1, 10), st.sampled_from([1.0, 2.0, 3.0]), st.integers(0, 5), st.integers(0, 2)),
    min_size=3,
    max_size=25,
)


def residuals_of(table):
    """Residuals of weighted sums (here score times weight) about their group's ratio."""
    scores, weights, _, groups = (np.array(column, dtype=float) for column in zip(*table, strict=True))
    sums = scores * weights
    ratios = {one: sums[groups == one].sum() / weights[groups == one].sum() for one in set(groups)}
    return sums - weights * np.array([ratios[one] for one in groups])


def by_matrices(table):
    """CR2 and its degrees of freedom as Bell and McCaffrey 2002 and Imbens and Kolesar 2016 have them, cluster by cluster."""
    _, weights, clusters, groups = (np.array(column) for column in zip(*table, strict=True))
    left = residuals_of(table)
    kinds = sorted(set(groups))
    design = np.sqrt(weights)[:, None] * (groups[:, None] == kinds)
    inverse = np.linalg.inv(design.T @ design)
    hat = design @ inverse @ design.T
    contrast = inverse @ np.full(len(kinds), 1 / len(kinds))
    same = clusters[:, None] == clusters
    other = same & ~np.eye(len(left), dtype=bool)
    pairs, squares = np.outer(weights, weights), left @ left
    alike = 0.0
    if other.any() and squares:
        mean_product = np.outer(left, left)[other].sum() / pairs[other].sum()
        alike = min(1, max(0, mean_product / (squares / (weights**2).sum())))
    model = pairs * np.where(other, alike, np.eye(len(left))) / np.sqrt(pairs)
    square, columns = 0.0, []
    for cluster in sorted(set(clusters)):
        member = clusters == cluster
        values, vectors = eigh(np.eye(member.sum()) - hat[np.ix_(member, member)])
        values = np.where(values > 1e-9, values, np.inf)
        adjust = vectors @ np.diag(values**-0.5) @ vectors.T
        row = adjust @ design[member] @ contrast
        square += (row @ (left / np.sqrt(weights))[member]) ** 2
        columns.append((np.eye(len(left)) - hat)[:, member] @ row)
    covariance = np.array(columns) @ model @ np.array(columns).T
    return math.sqrt(square), np.trace(covariance) ** 2 / (covariance**2).sum()


@settings(deadline=None)
@given(rows)
def test_it_is_what_the_matrices_give(table):
    clusters, groups = [row[2] for row in table], [row[3] for row in table]
    for group in set(groups):
        assume(len({c for c, g in zip(clusters, groups, strict=True) if g == group}) > 1)
    found = linear_error(residuals_of(table).tolist(), clusters, [row[1] for row in table], groups)
    error, degrees = by_matrices(table)
    assert found.clusters == len(set(clusters))
    assert found.standard_error == pytest.approx(error, abs=1e-9)
    assert found.degrees == pytest.approx(degrees, rel=1e-6)


@settings(deadline=None)
@given(st.lists(st.integers(0, 10), min_size=2, max_size=12), st.integers(1, 3))
def test_equal_clusters_have_one_degree_of_freedom_less_than_there_are(values, each):
    count = len(values)
    scores = [value + place for value in values for place in range(each)]
    clusters = [place for place in range(count) for _ in range(each)]
    mean = math.fsum(scores) / len(scores)
    left = [score - mean for score in scores]
    found = linear_error(left, clusters)
    known = mean_interval(scores, clusters)
    assert found.degrees == pytest.approx(count - 1)
    assert found.standard_error == pytest.approx(known.standard_error, abs=1e-9)


def test_a_cluster_of_half_of_all_leaves_few_degrees_of_freedom():
    sizes = [1] * 20 + [20]
    clusters = [place for place, size in enumerate(sizes) for _ in range(size)]
    scores = [float(place % 7) for place in range(len(clusters))]
    found = mean_interval(scores, clusters)
    assert found.degrees < 5 < found.clusters - 1


def test_a_group_within_one_cluster_is_taken_to_be_as_spread_as_the_others():
    """Two groups of means 4 and 10, of three clusters and of one: the variance within the first is 4, and so the sum's
    (4/3 + 4/1) / 2^2; without the second it would be 4/3 / 4."""
    found = linear_error([-2, 0, 2, 0], "abcd", groups="xxxy")
    assert found.standard_error == pytest.approx(math.sqrt((4 / 3 + 4) / 4))
    alone = linear_error([-2, 0, 2], "abc", groups="xxx")
    assert alone.standard_error == pytest.approx(math.sqrt(4 / 3))
    assert found.degrees == pytest.approx(alone.degrees) == pytest.approx(2)


def test_what_shows_no_spread_is_undefined():
    assert linear_error([0.0], "a").standard_error is None
    assert linear_error([1.0, -1.0], "aa").standard_error is None
    only_one_each = linear_error([0.0, 0.0], "ab", groups="xy")
    assert (only_one_each.clusters, only_one_each.standard_error, only_one_each.degrees) == (2, None, None)
