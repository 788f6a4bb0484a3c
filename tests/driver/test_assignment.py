"""Few tasks are given out as well as can be, by comparison with every way there is."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.driver.assignment import FEW, _Search, assign, makespan_bound


def end_of(lengths, free_at, devices):
    loads = list(free_at)
    for length, device in zip(lengths, devices, strict=True):
        loads[device] += length
    return max(loads[device] for device in devices)


def least_end(lengths, free_at):
    """Every way there is."""
    ways = itertools.product(range(len(free_at)), repeat=len(lengths))
    return min(end_of(lengths, free_at, devices) for devices in ways)


def least_end_of_whole(lengths, many):
    """Every distinct set of loads there is, for whole numbers; devices that are all free."""
    loads = {(0,) * many}
    for length in lengths:
        loads = {
            tuple(sorted((*one[:place], one[place] + length, *one[place + 1 :])))
            for one in loads
            for place in range(many)
        }
    return min(max(one) for one in loads)


@given(st.data(), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_no_other_way_ends_sooner(data, many):
    lengths = data.draw(st.lists(st.floats(0.1, 20), min_size=1, max_size=6))
    free_at = data.draw(st.lists(st.floats(0, 20), min_size=many, max_size=many))
    found = end_of(lengths, free_at, assign(lengths, free_at))
    assert found <= least_end(lengths, free_at) + 1e-6
    assert found >= makespan_bound(lengths, free_at) - 1e-6


@given(st.lists(st.integers(1, 30), min_size=7, max_size=FEW), st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_no_other_way_ends_sooner_with_as_many_tasks_as_there_may_be(lengths, many):
    found = end_of(lengths, [0] * many, assign(lengths, [0] * many))
    assert found == least_end_of_whole(lengths, many)
    assert found >= makespan_bound(lengths, [0] * many) - 1e-9


@pytest.mark.parametrize(
    ("lengths", "many", "end"),
    [
        ([3, 3, 2, 2, 2], 2, 6),  # longest first takes 7
        ([5, 5, 4, 4, 3, 3, 3], 3, 9),  # longest first takes 11: Graham's worst case
        ([7, 7, 6, 6, 5, 5, 4, 4, 4], 4, 12),  # likewise, 15
        ([1.0], 8, 1.0),
    ],
)
def test_where_longest_first_is_not_best(lengths, many, end):
    assert end_of(lengths, [0.0] * many, assign(lengths, [0.0] * many)) == end


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=FEW), st.integers(1, 8))
@settings(max_examples=200, deadline=None)
def test_the_search_is_short(lengths, many):
    assert _Search(lengths, [0.0] * many)._nodes < 20_000


def test_the_hardest_of_the_shapes_tried_takes_milliseconds():
    shape = [101, 97, 89, 83, 79, 73, 71, 67, 61, 59, 53]
    began = time.process_time()
    for many in range(2, 9):
        assign(shape, [0.0] * many)
    assert time.process_time() - began < 5


def test_nothing_to_do():
    assert assign([], [0.0]) == []
    assert makespan_bound([], [0.0]) == 0
