"""Few tasks are given out as well as can be, by comparison with every way there is."""

from __future__ import annotations

import itertools

import pytest
from cpu_time import within
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
def test_the_search_sees_every_way_where_all_devices_are_free(lengths, many):
    assert not _Search(lengths, [0.0] * many).cut_short


@pytest.mark.parametrize("many", [8, 32, 200, 2000])
def test_many_devices_that_are_free_at_different_times_cost_no_seconds(many):
    lengths = [1, 3, 2, 2, 1, 3, 3, 1, 2, 3, 1]
    free_at = [(place * 37 % 101) / 29 for place in range(many)]
    with within(3):  # a few tenths; 13 when every device was looked at
        chosen = assign(lengths, free_at)
    longest_first = list(free_at)
    for length in sorted(lengths, reverse=True):
        longest_first[longest_first.index(min(longest_first))] += length
    ends = [end for end, free in zip(longest_first, free_at, strict=True) if end != free]
    assert end_of(lengths, free_at, chosen) <= max(*ends, *free_at) + 1e-9


@given(st.data(), st.integers(2, 12))
@settings(max_examples=100, deadline=None)
def test_a_search_that_is_cut_short_is_no_worse_than_longest_first(data, many):
    lengths = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=FEW))
    free_at = data.draw(st.lists(st.floats(0, 5), min_size=many, max_size=many))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edit_eval.driver.assignment._MOST_NODES", 3)
        short = assign(lengths, free_at)

    def last(devices):
        loads = list(free_at)
        for length, device in zip(lengths, devices, strict=True):
            loads[device] += length
        return max(loads[device] for device in devices)

    packed = list(free_at)
    for length in sorted(lengths, reverse=True):
        packed[packed.index(min(packed))] += length
    busy = [end for end, free in zip(packed, free_at, strict=True) if end != free]
    assert last(short) <= max(busy) + 1e-9


def test_nothing_to_do():
    assert assign([], [0.0]) == []
    assert makespan_bound([], [0.0]) == 0
