"""Paired comparisons against scipy's paired t test, by hand, and under what must change nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from edit_eval.core.stats import benjamini_hochberg, compare, holm, mean_interval, power, sign_flip

quick = settings(deadline=None, max_examples=50)
scores = st.integers(0, 20).map(lambda score: score / 2)
table = st.lists(
    st.tuples(scores, scores, st.integers(0, 5), st.sampled_from("xyz")), min_size=2, max_size=14
)


def columns(rows):
    return tuple(list(column) for column in zip(*rows, strict=True))


@quick
@given(st.lists(st.tuples(scores, scores), min_size=3, max_size=14))
def test_without_clusters_it_is_the_paired_t_interval(rows):
    a, b = columns(rows)
    assume(len({y - x for x, y in rows}) > 1)
    found = compare(a, b)
    known = stats.ttest_rel(b, a)
    low, high = known.confidence_interval()
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))
    assert found.difference / found.standard_error == pytest.approx(known.statistic)
    assert found.degrees == known.df == len(rows) - 1
    assert found.spread == pytest.approx(stats.tstd([y - x for x, y in rows]))
    assert found.smallest == power(found.standard_error, len(rows)).smallest


def test_by_hand():
    """Differences 1, 0, 2, -1; x has the first two. Of the 16 patterns of signs of 1, 2, 1 (0 has none) those with a sum of 2 or more."""
    a = {"s1": 5, "s2": 5, "s3": 5, "s4": 5, "lost": 9}
    b = {"s1": 6, "s2": 5, "s3": 7, "s4": 4, "new": 1, "newer": 1}
    found = compare(a, b, strata={"s1": "x", "s2": "x", "s3": "y", "s4": "y"})
    assert (found.n, found.clusters, found.only_a, found.only_b) == (4, 4, ("lost",), ("new", "newer"))
    assert (found.mean_a, found.mean_b, found.difference) == (5, 5.5, 0.5)
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    assert (found.p, found.exact) == (6 / 8, True)
    assert found.correction == "holm"
    x, y = found.strata["x"], found.strata["y"]
    assert (x.n, x.difference, x.wins, x.ties, x.losses, x.p) == (2, 0.5, 1, 1, 0, 1.0)
    assert (y.n, y.difference, y.mean_a, y.mean_b, y.p) == (2, 0.5, 5, 5.5, 1.0)
    assert found.few


@quick
@given(table)
def test_swapping_the_runs_changes_signs_alone(rows):
    a, b, clusters, strata = columns(rows)
    one, other = compare(a, b, clusters, strata), compare(b, a, clusters, strata)
    for forth, back in [(one, other), *((one.strata[name], other.strata[name]) for name in one.strata)]:
        assert (forth.n, forth.clusters, forth.p, forth.ties) == (back.n, back.clusters, back.p, back.ties)
        assert (forth.wins, forth.losses) == (back.losses, back.wins)
        assert (forth.mean_a, forth.mean_b) == (back.mean_b, back.mean_a)
        assert forth.difference == -back.difference
        assert forth.standard_error == back.standard_error
        if forth.low is not None:
            assert (forth.low, forth.high) == (pytest.approx(-back.high), pytest.approx(-back.low))
    assert one.smallest == other.smallest


@quick
@given(table, st.integers(-3, 3), st.sampled_from([0.5, 2.0, 4.0]))
def test_shift_and_scale_of_the_scores(rows, shift, scale):
    a, b, clusters, strata = columns(rows)
    one = compare(a, b, clusters, strata)
    other = compare([scale * x + shift for x in a], [scale * x + shift for x in b], clusters, strata)
    assert (other.p, other.wins, other.ties, other.losses) == (one.p, one.wins, one.ties, one.losses)
    for name in ("difference", "standard_error", "low", "high", "spread", "smallest"):
        before, after = getattr(one, name), getattr(other, name)
        assert after is None if before is None else after == pytest.approx(scale * before, abs=1e-9)


@quick
@given(table, st.randoms(use_true_random=False))
def test_the_order_of_samples_changes_nothing(rows, random):
    ids = [f"s{place}" for place in range(len(rows))]
    mixed = list(ids)
    random.shuffle(mixed)

    def by(order, column):
        return {name: rows[ids.index(name)][column] for name in order}

    one = compare(*(by(ids, column) for column in range(4)))
    other = compare(*(by(mixed, column) for column in range(4)))
    assert list(one.strata) == list(other.strata)
    for first, second in [(one, other), *zip(one.strata.values(), other.strata.values(), strict=True)]:
        assert (first.n, first.clusters, first.p) == (second.n, second.clusters, second.p)
        assert first.difference == second.difference
        assert first.standard_error == pytest.approx(second.standard_error, abs=1e-9) or first.clusters < 2


@quick
@given(table)
def test_clusters_of_one_are_no_clusters_and_places_are_ids(rows):
    a, b, _, strata = columns(rows)
    alone = [f"c{place}" for place in range(len(rows))]
    assert compare(a, b, alone, strata) == compare(a, b, None, strata)
    by_id = compare(*(dict(enumerate(column)) for column in (a, b, alone, strata)))
    assert by_id == compare(a, b, None, strata)


@quick
@given(table)
def test_it_is_made_of_the_parts_that_it_names(rows):
    a, b, clusters, strata = columns(rows)
    found = compare(a, b, clusters, strata)
    differences = [y - x for x, y in zip(a, b, strict=True)]
    known = mean_interval(differences, clusters)
    assert (found.difference, found.low, found.high, found.degrees) == (
        known.mean,
        known.low,
        known.high,
        known.degrees,
    )
    totals = [
        math.fsum(d for d, c in zip(differences, clusters, strict=True) if c == cluster)
        for cluster in set(clusters)
    ]
    assert found.p == sign_flip(totals).p
    assert holm([one.p for one in found.strata.values()]) == [one.adjusted_p for one in found.strata.values()]
    assert sum(one.n for one in found.strata.values()) == found.n == found.wins + found.ties + found.losses


def test_many_strata_are_corrected_for_the_rate_of_false_discoveries():
    a, b = [float(place % 7) for place in range(60)], [float(place % 5) for place in range(60)]
    ten, eleven = (compare(a, b, strata=[place % count for place in range(60)]) for count in (10, 11))
    assert (ten.correction, eleven.correction) == ("holm", "benjamini-hochberg")
    ps = [one.p for one in eleven.strata.values()]
    assert [one.adjusted_p for one in eleven.strata.values()] == benjamini_hochberg(ps)


def test_samples_without_a_stratum_count_for_the_whole_alone():
    found = compare([1, 2, 3], [2, 2, 5], strata=["x", None, "x"])
    assert (found.n, found.strata["x"].n, list(found.strata)) == (3, 2, ["x"])


def test_what_is_undefined_is_none():
    nothing = compare({"a": 1.0}, {"b": 2.0})
    assert (nothing.n, nothing.only_a, nothing.only_b) == (0, ("a",), ("b",))
    undefined = (
        "mean_a",
        "mean_b",
        "difference",
        "standard_error",
        "low",
        "high",
        "degrees",
        "p",
        "spread",
        "smallest",
    )
    assert {getattr(nothing, name) for name in undefined} == {None}
    one = compare([1.0, 2.0], [2.0, 2.0], ["same", "same"], ["x", "x"])
    assert (one.n, one.clusters, one.difference, one.strata["x"].difference) == (2, 1, 0.5, 0.5)
    assert {getattr(one, name) for name in undefined[3:]} == {None}
    assert one.strata["x"].adjusted_p is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (({"a": 1}, [1]), "by id cannot"),
        (([1], {"a": 1}), "by id cannot"),
        (([1], [1, 2]), "1 and 2 scores"),
        (([1], [2], {0: "x"}), "clusters must be given as the scores are"),
        (([1, 2], [2, 3], ["x"]), "2 scores but 1 clusters"),
        (([1, 2], [2, 3], None, ["x"]), "2 scores but 1 strata"),
        (({"a": 1}, {"a": 1}, {}), "'a' has no cluster"),
        (({0: 1}, {0: 1}, {}), "sample 0 has no cluster"),
        (([1.0], [math.nan]), "finite"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        compare(*arguments)
