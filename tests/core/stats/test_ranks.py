"""Ranks of several runs: what the means say, how sure it is, and what is not distinguishable."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from edit_eval.core.stats import compare, holm, rank
from edit_eval.core.stats.ranks import _indistinct

quick = settings(deadline=None, max_examples=25)


def drawn(means, n=60, seed=0, noise=1.0):
    """Runs of these means, with a part that all share."""
    generator = np.random.default_rng(seed)
    hard = generator.normal(5, 2, n)
    return {
        name: dict(enumerate((hard + mean + generator.normal(0, noise, n)).tolist()))
        for name, mean in means.items()
    }


def test_clear_differences_have_sure_ranks():
    found = rank(drawn({"low": 0, "high": 4, "middle": 2}), base="low")
    assert list(found.runs) == ["high", "middle", "low"]
    assert [(one.rank, one.rank_low, one.rank_high, one.best) for one in found.runs.values()] == [
        (1, 1, 1, 1),
        (2, 2, 2, 0),
        (3, 3, 3, 0),
    ]
    assert found.groups == ()
    assert found.runs["low"].against_base is None
    assert found.runs["high"].adjusted_p < 0.001


def test_runs_that_do_not_differ_share_a_group():
    found = rank(drawn({"a": 0, "b": 0.02, "c": 3}))
    assert set(found.groups[0]) == {"a", "b"}
    assert len(found.groups) == 1
    for name in "ab":
        assert (found.runs[name].rank_low, found.runs[name].rank_high) == (2, 3)
    assert found.runs["c"].best == 1


@quick
@given(
    st.lists(st.lists(st.integers(0, 4).map(float), min_size=8, max_size=8), min_size=2, max_size=5),
    st.lists(st.integers(0, 3), min_size=8, max_size=8),
)
def test_it_is_made_of_the_parts_that_it_names(columns, clusters):
    runs = {f"r{number}": dict(enumerate(column)) for number, column in enumerate(columns)}
    of_sample = dict(enumerate(clusters))
    found = rank(runs, of_sample, base="r1")
    means = {name: math.fsum(run.values()) / 8 for name, run in runs.items()}
    assert {name: one.mean for name, one in found.runs.items()} == means
    assert [means[name] for name in found.runs] == sorted(means.values(), reverse=True)
    ranks = rankdata([-one.mean for one in found.runs.values()])
    assert [one.rank for one in found.runs.values()] == ranks.tolist()
    others = [name for name in runs if name != "r1"]
    known = {name: compare(runs["r1"], runs[name], of_sample) for name in others}
    assert {name: found.runs[name].against_base for name in others} == known
    corrected = holm([known[name].p for name in others])
    assert [found.runs[name].adjusted_p for name in others] == corrected
    if found.clusters > 1:
        assert sum(one.best for one in found.runs.values()) == pytest.approx(1)
        assert all(one.rank_low <= one.rank_high for one in found.runs.values())
    alike = {pair for pair, p in found.adjusted.items() if p is None or p > 0.05}
    for group in found.groups:
        assert all((a, b) in alike for place, a in enumerate(group) for b in group[place + 1 :])
    assert {pair for group in found.groups for pair in _pairs(group)} == alike


def _pairs(group):
    return [(a, b) for place, a in enumerate(group) for b in group[place + 1 :]]


def test_groups_are_the_largest_sets_and_may_overlap():
    ps = {
        ("a", "b"): 0.5,
        ("a", "c"): 0.01,
        ("a", "d"): 0.01,
        ("b", "c"): 0.3,
        ("b", "d"): 0.2,
        ("c", "d"): 0.9,
    }
    assert _indistinct("abcd", ps, 0.05) == (("a", "b"), ("b", "c", "d"))
    assert _indistinct("abcd", dict.fromkeys(ps, 0.5), 0.05) == (("a", "b", "c", "d"),)
    assert _indistinct("abcd", dict.fromkeys(ps, 0.0), 0.05) == ()
    assert _indistinct("abcd", dict.fromkeys(ps), 0.05) == (
        ("a", "b", "c", "d"),
    )  # nothing shows a difference


def test_only_what_all_have_counts_and_the_rest_is_said():
    runs = drawn({"a": 0, "b": 1, "c": 2}, n=30)
    del runs["a"][3], runs["b"][4]
    runs["c"]["other"] = 7.0
    found = rank(runs)
    assert (found.n, found.clusters, found.lost) == (28, 28, {"a": 1, "b": 1, "c": 3})


def test_runs_without_a_sample_in_common_are_in_no_group():
    found = rank({"a": {1: 5.0}, "b": {2: 5.0}, "c": {}})
    assert (found.n, found.groups) == (0, ())
    assert {one.rank for one in found.runs.values()} == {None}


def test_the_order_in_which_runs_are_given_changes_nothing():
    runs = drawn({"a": 0, "b": 0.3, "c": 0.5})
    assert rank(runs, base="b") == rank(dict(reversed(runs.items())), base="b")


def test_equal_means_share_their_rank():
    run = dict(enumerate([1.0, 2.0, 3.0]))
    found = rank({"a": run, "b": dict(run)})
    assert [(one.rank, one.best) for one in found.runs.values()] == [(1.5, 0.5)] * 2
    assert found.groups == (("a", "b"),)
    assert list(rank({"b": run, "a": dict(run)}).runs) == ["a", "b"]


def test_what_is_undefined_and_what_is_refused():
    apart = rank({"a": {1: 2.0}, "b": {2: 3.0}})
    assert (apart.n, apart.clusters, apart.adjusted) == (0, 0, {("a", "b"): None})
    assert vars(apart.runs["a"]) == dict.fromkeys(vars(apart.runs["a"]))
    one = rank({"a": {1: 2.0}, "b": {1: 3.0}})
    assert [(run.mean, run.rank, run.rank_low, run.best) for run in one.runs.values()] == [
        (3, 1, None, None),
        (2, 2, None, None),
    ]
    with pytest.raises(ValueError, match="two runs"):
        rank({"a": {1: 2.0}})
    with pytest.raises(ValueError, match="'c'"):
        rank({"a": {1: 2.0}, "b": {1: 2.0}}, base="c")
