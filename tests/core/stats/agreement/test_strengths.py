"""Bradley-Terry with ties: against evalica, what a maximum must satisfy, linear programming and simulation."""

from __future__ import annotations

import math

import evalica
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from edit_eval.core.stats.agreement import bradley_terry

WINNERS = {1: evalica.Winner.X, 0.5: evalica.Winner.Draw, 0: evalica.Winner.Y}
games = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 3), st.sampled_from([1, 0.5, 0])).map(
        lambda one: ("abcd"[one[0]], "abcd"[(one[0] + one[1]) % 4], one[2])
    ),
    min_size=1,
    max_size=14,
)


def fit(comparisons, **options):
    return bradley_terry(*map(list, zip(*comparisons, strict=True)), **options)


def draw(generator, count, strengths, tie):
    """Return comparisons of random two under Davidson's model."""
    names = list(strengths)
    found = []
    for _ in range(count):
        a, b = generator.choice(names, 2, replace=False)
        x, y = strengths[a], strengths[b]
        shares = np.array([math.exp(x), tie * math.exp((x + y) / 2), math.exp(y)])
        found.append((str(a), str(b), float(generator.choice([1, 0.5, 0], p=shares / shares.sum()))))
    return found


@pytest.mark.parametrize("tie", [0, 0.6])
def test_it_is_evalicas(tie):
    """Newman 2023 has Davidson's ties, with half his nu."""
    comparisons = draw(np.random.default_rng(1), 600, {"a": 0, "b": 0.5, "c": 1, "d": -0.3, "e": -0.8}, tie)
    found = fit(comparisons)
    first, second, outcomes = map(list, zip(*comparisons, strict=True))
    method = evalica.newman if tie else evalica.bradley_terry
    theirs = method(first, second, [WINNERS[one] for one in outcomes], tolerance=1e-12, limit=10_000)
    scores = np.log(theirs.scores)
    scores -= scores.mean()
    for name, one in found.strengths.items():
        assert one.value == pytest.approx(scores[name], abs=1e-6)
    assert found.tie == pytest.approx(2 * theirs.v if tie else 0, abs=1e-6)
    assert (found.n, found.clusters) == (600, 600)


@given(games)
def test_a_maximum_gives_each_the_wins_and_half_ties_that_it_had(comparisons):
    found = fit(comparisons)
    values = {name: one.value for name, one in found.strengths.items() if one.value is not None}
    assert all((one.value is None) == bool(one.undefined) for one in found.strengths.values())
    assert sum(one.n for one in found.strengths.values()) == 2 * len(comparisons)
    assert all(one.n == one.wins + one.ties + one.losses for one in found.strengths.values())
    if not values:
        assert (found.tie, found.covariance) == (None, None)
        return
    assert sum(values.values()) == pytest.approx(0, abs=1e-8)
    points, expected, ties = dict.fromkeys(values, 0.0), dict.fromkeys(values, 0.0), 0.0
    for a, b, outcome in comparisons:
        if a not in values or b not in values:
            continue
        shares = [math.exp(values[a]), found.tie * math.exp((values[a] + values[b]) / 2), math.exp(values[b])]
        win, tie, loss = (one / sum(shares) for one in shares)
        points[a] += outcome
        points[b] += 1 - outcome
        expected[a] += win + tie / 2
        expected[b] += loss + tie / 2
        ties += (outcome == 0.5) - tie
    assert points == pytest.approx(expected, abs=1e-6)
    assert ties == pytest.approx(0, abs=1e-6)


def has_a_maximum(comparisons):
    """Return whether no direction leaves the likelihood as it is, or raises it, for ever: by linear programming.

    Of a direction (one for each strength, the first 0, and one for log nu), what each end of a comparison gains over the
    other ends must not be negative. Every such direction must be 0 throughout.
    """
    names = sorted({name for a, b, _ in comparisons for name in (a, b)})
    tied = any(outcome == 0.5 for *_, outcome in comparisons)
    gains = []
    for a, b, outcome in comparisons:
        ends = {one: np.zeros(len(names) + 1) for one in (1, 0.5, 0)}
        ends[1][names.index(a)] = ends[0][names.index(b)] = ends[0.5][-1] = 1
        ends[0.5][[names.index(a), names.index(b)]] = 0.5
        if not tied:
            del ends[0.5]
        gains += [ends[outcome] - other for which, other in ends.items() if which != outcome]
    gains = np.array(gains)
    limits = [(0, 0)] + [(-1, 1)] * (len(names) - 1) + [(-1, 1) if tied else (0, 0)]
    for place, sign in ((place, sign) for place in range(len(names) + 1) for sign in (1, -1)):
        aim = np.zeros(len(names) + 1)
        aim[place] = sign
        if linprog(-aim, A_ub=-gains, b_ub=np.zeros(len(gains)), bounds=limits).fun < -1e-9:
            return False
    return True


def test_strengths_are_undefined_where_there_is_no_maximum():
    generator = np.random.default_rng(3)
    seen = set()
    for _ in range(60):
        comparisons = draw(
            generator, int(generator.integers(3, 9)), dict.fromkeys("abc", 0.0), generator.choice([0, 1, 6])
        )
        found = fit(comparisons)
        defined = all(one.value is not None for one in found.strengths.values())
        assert defined == has_a_maximum(comparisons), comparisons
        seen.add((defined, any(outcome == 0.5 for *_, outcome in comparisons)))
    assert len(seen) == 4  # with and without ties, both


@pytest.mark.parametrize(
    ("comparisons", "why"),
    [
        ([("a", "b", 1)] * 9, {"a": "never loses or ties", "b": "never wins or ties"}),
        (
            [("a", "b", 1), ("b", "a", 1), ("a", "c", 1), ("b", "c", 1)],
            {"a": "", "b": "", "c": "never wins or ties"},
        ),
        (
            [("a", "b", 1), ("b", "a", 1), ("c", "d", 1), ("d", "c", 1)],
            dict.fromkeys("abcd", "no wins and ties lead from it to all others and back"),
        ),
        ([("a", "b", 0.5)] * 4, dict.fromkeys("ab", "too many ties for wins that point one way")),
        # b never wins: the more a is stronger, the likelier; ties grow likelier with it.
        ([("a", "b", 1)] * 5 + [("a", "b", 0.5)] * 3, dict.fromkeys("ab", "too many ties for wins that point one way")),
    ],
)  # fmt: skip
def test_why_a_strength_is_undefined(comparisons, why):
    found = fit(comparisons)
    assert {name: one.undefined for name, one in found.strengths.items()} == why
    assert all((one.value is None) == bool(why[name]) for name, one in found.strengths.items())


def test_two_by_hand():
    """Six wins, two losses, three ties: without ties log 3; Davidson's nu is ties / sqrt(wins * losses)."""
    found = fit([("a", "b", 1)] * 6 + [("b", "a", 1)] * 2 + [("a", "b", 0.5)] * 3)
    assert found.difference("a", "b")[0] == pytest.approx(math.log(3))
    assert found.tie == pytest.approx(3 / math.sqrt(12))
    assert (found.strengths["a"].wins, found.strengths["b"].wins, found.strengths["b"].ties) == (6, 2, 3)
    # Without ties the variance of the difference is 1/6 + 1/2 if each is its own, by 8/7 for seven degrees of freedom.
    plain = fit([("a", "b", 1)] * 6 + [("b", "a", 1)] * 2)
    assert plain.difference("a", "b")[1] == pytest.approx(math.sqrt(8 / 7 * (1 / 6 + 1 / 2)))
    assert plain.strengths["a"].standard_error == pytest.approx(plain.difference("a", "b")[1] / 2)
    assert plain.difference("b", "a") == pytest.approx((-math.log(3), plain.difference("a", "b")[1]))


@given(games, st.integers(0, 9))
def test_names_sides_and_order_change_nothing(comparisons, seed):
    found = fit(comparisons)
    generator = np.random.default_rng(seed)
    other = [comparisons[place] for place in generator.permutation(len(comparisons))]
    other = [(b, a, 1 - outcome) if generator.random() < 0.5 else (a, b, outcome) for a, b, outcome in other]
    renamed = dict(zip("abcd", "zywx", strict=True))
    again = fit([(renamed[a], renamed[b], outcome) for a, b, outcome in other])
    for name, one in found.strengths.items():
        twin = again.strengths[renamed[name]]
        assert (twin.n, twin.wins, twin.ties, twin.undefined) == (one.n, one.wins, one.ties, one.undefined)
        assert twin.value == (one.value if one.value is None else pytest.approx(one.value, abs=1e-6))
        for part in (one.value, one.standard_error, one.low, one.high):
            assert part is None or math.isfinite(part)


def test_standard_errors_are_those_of_repetition():
    """Clusters of two comparisons that are one and the same: the spread of 150 fits is what they say, not less."""
    generator = np.random.default_rng(4)
    strengths = {"a": 0.5, "b": 0.0, "c": -0.5}
    values, errors, covered = [], [], 0
    for _ in range(150):
        comparisons = draw(generator, 120, strengths, 0.5)
        found = fit([*comparisons, *comparisons], clusters=[*range(120)] * 2)
        one = found.strengths["a"]
        values.append(one.value)
        errors.append(one.standard_error)
        covered += one.low <= 0.5 <= one.high
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.15)
    assert np.mean(values) == pytest.approx(0.5, abs=0.05)
    assert 136 <= covered <= 149


def test_too_few_clusters_give_no_standard_error():
    comparisons = draw(np.random.default_rng(5), 60, dict.fromkeys("abc", 0.0), 0.5)
    found = fit(comparisons, clusters=[place % 3 for place in range(60)])  # two strengths and nu are free
    assert found.strengths["a"].value is not None
    assert (found.strengths["a"].standard_error, found.covariance) == (None, None)
    assert found.difference("a", "b")[1] is None
    assert fit(comparisons, clusters=[place % 4 for place in range(60)]).covariance is not None


def test_without_comparisons():
    found = bradley_terry([], [], [])
    assert (found.n, found.clusters, found.strengths, found.tie) == (0, 0, {}, None)


def test_what_is_wrong_is_refused():
    with pytest.raises(ValueError, match="1 and 2 names, 1 outcomes"):
        bradley_terry(["a"], ["b", "c"], [1])
    with pytest.raises(ValueError, match="an outcome is 1"):
        bradley_terry(["a"], ["b"], [0.7])
    with pytest.raises(ValueError, match="compared with itself"):
        bradley_terry(["a"], ["a"], [1])
    with pytest.raises(ValueError, match="1 things but 2 clusters"):
        bradley_terry(["a"], ["b"], [1], ["x", "y"])
