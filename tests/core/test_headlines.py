"""Headlines: each worked out by hand, beside the wrong numbers that other ways of averaging give."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.core.headlines import Headline, Scored, difference, estimate
from edit_eval.core.stats import compare, mean_interval
from edit_eval.core.types import Dimension, Rubric

ONE = Rubric("one", (Dimension("a", 0, 10),), (), "a", 0, 10)
TWO = Rubric("two", (Dimension("a", 1, 5, True), Dimension("b", 1, 5, True)), (), "mean(a, b)", 1, 5)
THREE = Rubric("three", (*TWO.dimensions, Dimension("c", 1, 5, True)), (), "mean(a, b, c)", 1, 5)


def scored(group, *scores, cluster=None, rubric=ONE):
    """One sample of a group; `scores` are its dimensions'; none: it has no verdict."""
    named = dict(zip((one.name for one in rubric.dimensions), scores, strict=False))
    verdicts = [(named, math.fsum(scores) / len(scores))] if scores else []
    return Scored(cluster if cluster is not None else object(), {"group": group}, rubric, verdicts)


MACRO = Headline("O", 0, 10, group="group", groups={"x": 3, "y": 1})


def test_the_mean_of_groups_is_not_the_mean_of_samples():
    samples = [scored("x", 2), scored("x", 4), scored("x", 6), scored("y", 10)]
    found = estimate(MACRO, samples)
    assert found.mean == (4 + 10) / 2 == 7  # the mean over samples would be 5.5
    assert found.by_group == {"x": 4, "y": 10}
    assert (found.n, found.wanted, found.why_partial, found.bounds) == (4, 4, (), None)
    # The variance of x is 4, and y's one sample is taken to have the same: SE^2 = (4/3 + 4/1) / 2^2.
    assert found.standard_error == pytest.approx(math.sqrt(4 / 3))


def test_a_missing_score_bounds_the_number_and_is_said():
    samples = [scored("x", 2), scored("x", 4), scored("x"), scored("y", 10)]
    found = estimate(MACRO, samples)
    assert found.mean == (3 + 10) / 2
    assert found.bounds == ((6 / 3 + 10) / 2, (16 / 3 + 10) / 2)
    assert found.why_partial == ("1 without scores",)


def test_a_missing_group_has_no_mean_but_bounds():
    found = estimate(MACRO, [scored("x", 2), scored("x", 4), scored("x", 6)])
    assert found.mean is None
    assert found.bounds == (2, 7)
    assert found.why_partial == ("no sample of group: y",)


def test_an_unknown_group_is_left_out_and_said():
    samples = [scored("x", 2), scored("x", 4), scored("x", 6), scored("y", 10), scored("z", 0)]
    found = estimate(MACRO, samples)
    assert found.mean == 7
    assert found.why_partial == ("group unknown to the benchmark, left out: z",)


def test_what_was_left_out_may_be_what_a_group_lacks():
    found = estimate(MACRO, [scored("x", 2), scored("x", 4), scored("y", 10), scored("X", 0)])
    assert found.mean == (3 + 10) / 2
    assert found.bounds == ((6 / 3 + 10) / 2, (16 / 3 + 10) / 2)
    assert found.why_partial == (
        "group unknown to the benchmark, left out: X",
        "other numbers of samples than the benchmark's: x 2 of 3",
    )


def test_a_pool_that_lacks_a_sample_takes_it_to_weigh_as_much_as_the_others():
    pool = Headline(
        "pool", 0, 100, "(score - 1) * 25", pool=True, groups={"": 3}, expects={"group": {"x": 3}}
    )
    samples = [
        scored("x", 1, 1, rubric=TWO),
        scored("x", 5, 5, 5, rubric=THREE),
        scored("y", 1, 1, rubric=TWO),
    ]
    found = estimate(pool, samples)
    assert found.mean == 60
    assert found.bounds == (300 / 7.5, (300 + 250) / 7.5)  # two or three more scores: 2.5


def test_tags_have_the_values_that_the_benchmark_knows():
    expects = {"group": {"x": 2, "y": 0, "z": 1}}
    headline = Headline("O", 0, 10, groups={"": 4}, expects=expects)
    samples = [scored("x", 2), scored("x", 4), scored("y", 6), scored("z", 8)]
    assert estimate(headline, samples).why_partial == ()
    assert Headline.from_json(headline.to_json()) == headline
    found = estimate(headline, [scored("x", 2), scored("y", 6), scored("Y", 0)])
    assert found.mean == 4  # that of another group does not count
    assert found.bounds == ((8 + 0) / 3, (8 + 10) / 3)
    assert found.why_partial == (
        "group unknown to the benchmark, left out: Y",
        "no sample of group: z",
        "other numbers of samples than the benchmark's: x 1 of 2",
        "other numbers of samples than the benchmark's: 2 of 4",
    )


def test_a_group_of_another_size_is_said():
    found = estimate(MACRO, [scored("x", 4), scored("y", 10)])
    assert found.mean == 7
    assert found.why_partial == ("other numbers of samples than the benchmark's: x 1 of 3",)


def test_a_flat_pool_weighs_samples_by_their_dimensions():
    samples = [scored("x", 1, 1, rubric=TWO), scored("x", 5, 5, 5, rubric=THREE)]
    found = estimate(Headline("pool", 0, 100, value="(score - 1) * 25", pool=True), samples)
    assert found.mean == (0 + 0 + 100 + 100 + 100) / 5 == 60  # the mean over samples would be 50


def test_a_missing_sample_of_a_pool_weighs_as_much_as_it_has_dimensions():
    samples = [scored("x", 1, 1, rubric=TWO), scored("x", rubric=THREE)]
    found = estimate(Headline("pool", 0, 100, value="(score - 1) * 25", pool=True), samples)
    assert (found.mean, found.bounds) == (0, (0, 60))


def test_a_dimension_counts_where_it_is_asked_for_and_on_its_own_scale():
    yes_or_no = Rubric("d", (Dimension("a", 0, 1, True),), (), "a", 0, 1)
    samples = [
        scored("x", 5, 1, rubric=TWO),
        scored("x", 1, rubric=yes_or_no),
        scored("x", 1, 1, 3, rubric=THREE),
    ]
    of_a = Headline("a", 0, 100, "100 * (score - low) / (high - low)", dimension="a")
    assert estimate(of_a, samples).mean == pytest.approx((100 + 100 + 0) / 3)
    of_c = Headline("c", 0, 100, "100 * (score - low) / (high - low)", dimension="c")
    found = estimate(of_c, samples)
    assert (found.mean, found.n, found.wanted) == (50, 1, 1)


def test_the_interval_of_a_share_is_wilsons():
    from scipy.stats import binomtest

    top = ONE.dimensions[0].high
    samples = [scored("x", top if number < 6 else top - 1, cluster=number) for number in range(20)]
    found = estimate(Headline("accuracy", 0, 100, value="perfect"), samples)
    known = binomtest(6, 20).proportion_ci(method="wilson")
    assert (found.mean, found.low, found.high) == pytest.approx((30, 100 * known.low, 100 * known.high))
    none = estimate(Headline("accuracy", 0, 100, value="perfect"), samples[6:])
    assert (none.mean, none.low) == (0, pytest.approx(0, abs=1e-9))
    assert none.high == pytest.approx(100 * binomtest(0, 14).proportion_ci(method="wilson").high)
    alone = estimate(Headline("accuracy", 0, 100, value="perfect"), samples[:1])
    assert (alone.mean, alone.low, alone.high) == (100, None, None)
    # A sample that is perfect in one repeat only is no whole success: the mean's interval stands.
    half = replace(samples[7], verdicts=(samples[7].verdicts[0], samples[0].verdicts[0]))
    mixed = estimate(Headline("accuracy", 0, 100, value="perfect"), [half, *samples])
    assert mixed.low == pytest.approx(mixed.mean - (mixed.high - mixed.mean))


def test_perfect_is_the_top_of_every_dimension_that_applies():
    samples = [
        scored("x", 5, 5, rubric=TWO),
        scored("x", 5, 5, 4, rubric=THREE),
        scored("x", 4, 5, rubric=TWO),
    ]
    assert estimate(Headline("accuracy", 0, 1, value="perfect"), samples).mean == pytest.approx(1 / 3)


def test_no_top_of_a_scale_is_counted_where_scores_are_means():
    # Three readings of 5, 5 and 4, or an expected value of 4.97, would be no top: the share would be 0 for any model.
    means = replace(TWO, name="two-mean-of-3", continuous=True)
    samples = [scored("x", 5, 14 / 3, rubric=means), scored("x", rubric=means)]
    found = estimate(Headline("accuracy", 0, 1, value="perfect"), samples)
    assert (found.mean, found.n, found.bounds) == (None, 0, (0, 1))
    assert found.why_partial == (
        "means of several readings and expected values are no whole scores, of which the top is counted",
        "1 without scores",
    )
    assert estimate(Headline("mean", 1, 5), samples).mean == pytest.approx(29 / 6)


def test_only_samples_with_the_tag_count():
    samples = [scored("x", 2), scored("y", 4)]
    found = estimate(Headline("only", 0, 10, where={"group": "y"}), samples)
    assert (found.mean, found.n, found.wanted) == (4, 1, 1)


def test_repeats_of_a_sample_are_averaged_after_the_formula():
    sample = Scored("c", {}, ONE, [({"a": 0.0}, 0.0), ({"a": 4.0}, 4.0)])
    assert estimate(Headline("root", 0, 10, value="sqrt(a)"), [sample]).mean == 1  # and not sqrt(2)


def test_nothing_is_undefined_and_never_zero():
    found = estimate(Headline("O", 0, 10), [])
    assert (found.mean, found.standard_error, found.low, found.high) == (None,) * 4


def test_it_survives_a_file():
    assert Headline.from_json(MACRO.to_json()) == MACRO


values = st.floats(0, 10, allow_subnormal=False)


@settings(deadline=None)
@given(st.lists(st.tuples(values, st.integers(0, 5)), min_size=1, max_size=30))
def test_one_group_with_equal_weights_is_a_clustered_mean(pairs):
    found = estimate(
        Headline("mean", -1e9, 1e9), [scored("x", value, cluster=cluster) for value, cluster in pairs]
    )
    known = mean_interval([value for value, _ in pairs], [cluster for _, cluster in pairs])
    assert found.mean == pytest.approx(known.mean)
    assert (found.standard_error is None) == (known.standard_error is None)
    if known.standard_error is not None:
        assert found.standard_error == pytest.approx(known.standard_error, abs=1e-9)
        assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("xyz"), st.none() | values), max_size=30))
def test_the_mean_lies_within_its_bounds(pairs):
    samples = [scored(group) if value is None else scored(group, value) for group, value in pairs]
    found = estimate(Headline("O", 0, 10, group="group"), samples)
    if found.bounds is not None and found.mean is not None:
        assert found.bounds[0] - 1e-9 <= found.mean <= found.bounds[1] + 1e-9
    if found.mean is not None:
        assert 0 <= found.mean <= 10


# Differences


def pair(a, b, group="x", cluster=None, rubric=ONE):
    """One sample with the scores of two runs; None: no verdict."""
    cluster = object() if cluster is None else cluster
    return tuple(
        scored(group, *([] if one is None else [one]), cluster=cluster, rubric=rubric) for one in (a, b)
    )


def differ(headline, pairs, **options):
    return difference(headline, *map(list, zip(*pairs, strict=True)), **options)


def test_the_difference_of_means_of_groups_by_hand():
    """x: differences 1, 2, 3; y: 4, 6. Groups' means 2 and 5; variances 1 and 2: SE^2 = (1/3 + 2/2) / 2^2."""
    found = differ(
        replace(MACRO, groups={"x": 0, "y": 0}),
        [pair(1, 2), pair(1, 3), pair(1, 4), pair(2, 6, "y"), pair(1, 7, "y"), pair(5, None, "y")],
    )
    assert (found.n, found.wanted, found.clusters, found.lacking) == (5, 6, 5, ())
    assert found.by_group == {"x": 2, "y": 5}
    assert (found.mean_a, found.mean_b, found.difference) == (1.25, 4.75, 3.5)
    assert found.standard_error == pytest.approx(math.sqrt((1 / 3 + 1) / 4))
    assert found.low < 3.5 < found.high <= 10
    assert (found.p, found.exact) == (2 / 32, True)
    assert found.smallest > found.standard_error
    assert found.few


samples_of_two = st.lists(
    st.tuples(
        st.integers(0, 10), st.integers(0, 10), st.sampled_from("xy"), st.integers(0, 4), st.integers(0, 9)
    ),
    min_size=2,
    max_size=20,
)


@settings(deadline=None, max_examples=40)
@given(samples_of_two)
def test_one_group_is_the_paired_comparison(rows):
    found = differ(Headline("m", 0, 10), [pair(a, b, group, cluster) for a, b, group, cluster, _ in rows])
    a, b, _, clusters, _ = zip(*rows, strict=True)
    known = compare(a, b, clusters)
    assert (found.n, found.clusters, found.p, found.exact) == (known.n, known.clusters, known.p, known.exact)
    for name in ("mean_a", "mean_b", "difference"):
        assert getattr(found, name) == pytest.approx(getattr(known, name))
    for name in ("standard_error", "smallest"):
        expected = getattr(known, name)
        assert getattr(found, name) == (None if expected is None else pytest.approx(expected, abs=1e-9))
    if known.low is not None:
        assert found.low == pytest.approx(max(-10, known.low), abs=1e-6)
        assert found.high == pytest.approx(min(10, known.high), abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(samples_of_two)
def test_swapping_the_runs_changes_signs_alone(rows):
    """And what one run did not score (a tenth) counts in neither."""
    pairs = [pair(a, None if lost == 0 else b, group, cluster) for a, b, group, cluster, lost in rows]
    headline = Headline("m", 0, 10, group="group")
    forth, back = differ(headline, pairs), differ(headline, [(b, a) for a, b in pairs])
    assert (forth.n, forth.clusters, forth.p, forth.lacking) == (back.n, back.clusters, back.p, back.lacking)
    assert (forth.standard_error, forth.smallest) == (back.standard_error, back.smallest)
    assert (forth.mean_a, forth.mean_b) == (back.mean_b, back.mean_a)
    if forth.difference is not None:
        assert forth.difference == pytest.approx(-back.difference)
        assert forth.difference == pytest.approx(forth.mean_b - forth.mean_a)
    if forth.low is not None:
        assert (forth.low, forth.high) == (pytest.approx(-back.high), pytest.approx(-back.low))


@settings(deadline=None, max_examples=40)
@given(samples_of_two)
def test_against_a_run_of_nothing_but_zeros_it_is_the_estimate(rows):
    headline = Headline("m", 0, 10, group="group")
    pairs = [pair(0, b, group, cluster) for _, b, group, cluster, _ in rows]
    found, known = differ(headline, pairs), estimate(headline, [b for _, b in pairs])
    assert (found.difference, found.by_group) == (pytest.approx(known.mean), pytest.approx(known.by_group))
    assert (found.standard_error is None) == (known.standard_error is None)
    if known.standard_error is not None:
        assert found.standard_error == pytest.approx(known.standard_error, abs=1e-9)


def test_a_pool_weighs_by_dimensions():
    pool = Headline("pool", 0, 100, "(score - 1) * 25", pool=True)
    found = difference(
        pool,
        [scored("x", 1, 1, cluster=1, rubric=TWO), scored("x", 1, 1, 1, cluster=2, rubric=THREE)],
        [scored("x", 5, 5, cluster=1, rubric=TWO), scored("x", 1, 1, 3, cluster=2, rubric=THREE)],
    )
    assert found.difference == pytest.approx((100 + 100 + 50) / 5)
    assert found.clusters == 2
    assert found.standard_error is not None


def test_a_group_without_a_pair_leaves_no_difference():
    found = differ(MACRO, [pair(1, 2), pair(1, 3), pair(1, None, "y"), pair(1, 9, "z")])
    assert (found.n, found.lacking, found.by_group) == (2, ("y",), {"x": 1.5, "y": None})
    undefined = ("mean_a", "mean_b", "difference", "standard_error", "low", "high", "p", "smallest")
    assert {getattr(found, name) for name in undefined} == {None}
    nothing = difference(MACRO, [], [])
    assert {getattr(nothing, name) for name in undefined} == {None}
    assert (nothing.n, nothing.wanted, nothing.lacking) == (0, 0, ("x", "y"))


def test_other_samples_or_rubrics_are_refused():
    one, other = pair(1, 2)
    with pytest.raises(ValueError, match="same samples"):
        difference(MACRO, [one], [])
    with pytest.raises(ValueError, match="same samples"):
        difference(MACRO, [one], [replace(other, cluster="another")])
    with pytest.raises(ValueError, match="same samples"):
        difference(MACRO, [one], [replace(other, tags={"group": "y"})])
    pool = Headline("pool", 0, 100, "(score - 1) * 25", pool=True)
    with pytest.raises(ValueError, match="other dimensions"):
        difference(
            pool,
            [scored("x", 1, 1, cluster=1, rubric=TWO)],
            [scored("x", 1, 1, 1, cluster=1, rubric=THREE)],
        )
