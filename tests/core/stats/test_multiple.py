"""Corrections against their definitions and scipy's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from edit_eval.core.stats import benjamini_hochberg, holm

ps = st.lists(st.floats(0, 1), max_size=20)


def test_by_hand():
    """Holm: 4 x 0.01, 3 x 0.02 = 0.06, 2 x 0.03 held to 0.06, 0.04 held to 0.06. Benjamini and Hochberg: 4/4 x 0.04, 4/3 x 0.03, ..."""
    assert holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04] * 4)
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == benjamini_hochberg([]) == []


@given(ps)
def test_benjamini_hochberg_is_scipys(values):
    expected = false_discovery_control(values).tolist() if values else []
    assert benjamini_hochberg(values) == pytest.approx(expected)


@given(ps)
def test_holm_rejects_step_by_step(values):
    """The definition: from the smallest p on, reject while p <= a / (tests not rejected yet)."""
    level = 0.3
    rejected = set()
    for place in sorted(range(len(values)), key=values.__getitem__):
        if values[place] * (len(values) - len(rejected)) > level:
            break
        rejected.add(place)
    assert {place for place, p in enumerate(holm(values)) if p <= level} == rejected


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
@given(values=ps, holes=st.lists(st.integers(0, 20), max_size=5))
def test_adjusted_ps_are_no_less_in_the_same_order_and_what_is_none_does_not_count(correct, values, holes):
    found = correct(values)
    assert all(p <= adjusted <= 1 for p, adjusted in zip(values, found, strict=True))
    order = sorted(range(len(values)), key=values.__getitem__)
    assert [found[place] for place in order] == sorted(found)
    with_holes = list(values)
    for hole in holes:
        with_holes.insert(min(hole, len(with_holes)), None)
    assert [p for p in correct(with_holes) if p is not None] == found
    assert [p is None for p in correct(with_holes)] == [p is None for p in with_holes]


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_what_is_no_p_is_refused(correct, bad):
    with pytest.raises(ValueError, match="between 0 and 1"):
        correct([0.5, bad])
