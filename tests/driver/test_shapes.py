"""Shapes: what is read of a file has the shape that is read of it, or the place is named where it has not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.driver.shapes import Each, misfit_of

SHAPE = {
    "!name": str,
    "size": float,
    "count": (int, None),
    "kind": frozenset({"edit", "judge"}),
    "parts": [{"!id": int}],
    "by": Each([bool]),
}


@pytest.mark.parametrize(
    "value",
    [
        {"name": "x"},
        {"name": "", "size": 1, "count": None, "kind": "edit", "parts": [], "by": {}, "more": object()},
        {
            "name": "\ud800",
            "size": -1.5,
            "count": 3,
            "parts": [{"id": 1, "x": 2}],
            "by": {"a": [True], "": []},
        },
    ],
)
def test_what_fits(value):
    assert misfit_of(SHAPE)(value) is None


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (None, "all of it"),
        ([], "all of it"),
        ({}, "name"),
        ({"name": None}, "name"),
        ({"name": "x", "size": True}, "size"),
        ({"name": "x", "size": float("nan")}, "size"),
        ({"name": "x", "size": float("inf")}, "size"),
        ({"name": "x", "size": 10**30}, "size"),
        ({"name": "x", "count": 1.0}, "count"),
        ({"name": "x", "count": 1 << 63}, "count"),
        ({"name": "x", "kind": "other"}, "kind"),
        ({"name": "x", "kind": []}, "kind"),
        ({"name": "x", "parts": {}}, "parts"),
        ({"name": "x", "parts": [{"id": 1}, {}]}, "parts.1.id"),
        ({"name": "x", "by": {"a": [True, 1]}}, "by.a.1"),
    ],
)
def test_where_it_does_not(value, where):
    assert misfit_of(SHAPE)(value) == where


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists, max_leaves=8)
)
def test_nothing_breaks_it(value):
    for shape in (SHAPE, [SHAPE], Each(SHAPE), (str, None), float):
        assert misfit_of(shape)(value) in (None, "all of it", "0", *(f"{index}" for index in range(20)))
