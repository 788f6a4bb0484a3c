"""Intervals hold the truth as often as they say, and tests err as often as they may: a short form of `perf/coverage.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve()
spec = importlib.util.spec_from_file_location("perf_coverage", HERE.parents[3] / "perf" / "coverage.py")
coverage = importlib.util.module_from_spec(spec)
sys.modules["perf_coverage"] = coverage
spec.loader.exec_module(coverage)

GROUPED = coverage.Grouped.made(20, (1, 2, 3), 0.3, crossed=True)
SHORT = [
    coverage.Case("mean, one value a cluster", 20, coverage.a_mean(coverage.GOOD, [1] * 20)),
    coverage.Case("mean, clusters of 1-5", 25, coverage.a_mean(coverage.ROOTS, coverage.unequal(25), 0.5)),
    coverage.Case(
        "paired, clusters of 1-5",
        30,
        coverage.a_pair(coverage.BAD, coverage.GOOD, coverage.unequal(30), 0.5, 0.6),
    ),
    coverage.Case("mean of means", 20, coverage.a_headline(GROUPED)),
    coverage.Case("difference of means of means", 20, coverage.a_headline_pair(GROUPED)),
    *(coverage.Case("Wilson, mean over shares", n, coverage.a_share(n, "wilson")) for n in (20, 100, 360)),
    coverage.Case("Wilson, clusters", 30, coverage.a_clustered_share(coverage.unequal(30), 0.4, 0.7)),
]


def names(case):
    return f"{case.name}, {case.clusters}"


@pytest.mark.parametrize("case", SHORT, ids=names)
def test_95_percent_intervals_cover(case):
    """Of 300; within 93 to 97 %, give or take two standard errors of the simulation (1.3 % each)."""
    assert 0.905 <= coverage.measured(case, 300, seed=1).value <= 0.995


@pytest.mark.parametrize("clusters", [12, 30])
def test_p_is_uniform_where_nothing_differs(clusters):
    assert coverage.uniform(clusters, 300, seed=1).ok


def test_holm_holds_the_rate_of_any_error():
    case = coverage.Case("Holm", 10, coverage.any_found(5, 8), 0.0, 0.05)
    assert coverage.measured(case, 300, seed=1).ok


def test_usual_clustered_intervals_would_not_cover():
    """With C - 1 degrees of freedom and the factor C / (C - 1) a cluster of a quarter of all is taken for one like the others."""
    sizes = [1] * 8 + [2] * 4 + [3] * 3 + [5, 5, 8, 12, 20]
    case = coverage.Case("one big cluster", 20, coverage.a_mean(coverage.GOOD, sizes, 0.7))
    assert coverage.measured(case, 400, seed=1).value > 0.93


def test_exact_intervals_never_cover_less():
    """Not by simulation: the probability of each count, for shares across the scale."""
    from scipy.stats import binom

    for n in (20, 100):
        found = [coverage.proportion_interval(count, n, method="exact") for count in range(n + 1)]
        for share in [place / 50 for place in range(1, 50)]:
            covered = sum(
                binom.pmf(count, n, share) for count, one in enumerate(found) if one.low <= share <= one.high
            )
            assert covered >= 0.95 - 1e-9
