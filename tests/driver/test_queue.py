"""The queue: longest first, suspects last and elsewhere, nothing lost."""

from __future__ import annotations

import heapq

import pytest
from cpu_time import within
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.driver.queue import Task, TaskQueue

DEVICES = frozenset({"cpu-0", "cpu-1", "cpu-2"})
estimates = st.floats(0, 1000, allow_nan=False)


def tasks_of(sizes, solo=frozenset()) -> list[Task]:
    return [
        Task(f"t{index}", {"n": index}, estimate=size, solo=index in solo) for index, size in enumerate(sizes)
    ]


def taken(queue: TaskQueue, device: str = "cpu-0", among=DEVICES) -> list[Task]:
    found = []
    while (task := queue.take(device, among)) is not None:
        found.append(task)
    return found


@given(st.lists(estimates, max_size=30), st.data())
def test_longest_first_suspects_last_nothing_lost(sizes, data):
    solo = data.draw(st.sets(st.integers(0, 29)))
    tasks = tasks_of(sizes, solo)
    queue = TaskQueue()
    queue.put_all(tasks)
    assert len(queue) == len(tasks)
    found = taken(queue)
    assert len(queue) == 0
    assert sorted(task.id for task in found) == sorted(task.id for task in tasks)
    order = [(task.solo, -task.estimate, task.payload["n"]) for task in found]
    assert order == sorted(order)  # equal ones in the order they came


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "take", "drain"]), estimates, st.sets(st.sampled_from(sorted(DEVICES)))
        ),
        max_size=40,
    )
)
def test_any_sequence_loses_and_doubles_nothing(steps):
    queue = TaskQueue()
    inside: dict[str, Task] = {}
    for number, (what, size, lost_on) in enumerate(steps):
        if what == "put":
            task = Task(str(number), {}, size, solo=bool(lost_on), lost_on=set(lost_on))
            queue.put(task)
            inside[task.id] = task
        elif what == "take":
            task = queue.take("cpu-0", DEVICES)
            if task is None:
                assert all("cpu-0" in one.lost_on and DEVICES - one.lost_on for one in inside.values())
            else:
                del inside[task.id]
        else:
            assert sorted(task.id for task in queue.drain()) == sorted(inside)
            inside.clear()
        assert len(queue) == len(inside)


def test_a_suspect_goes_to_a_device_it_was_not_lost_on():
    queue = TaskQueue()
    suspect = Task("suspect", {}, solo=True, lost_on={"cpu-0"})
    other = Task("other suspect", {}, estimate=0.5, solo=True)
    queue.put_all([suspect, other])
    assert queue.take("cpu-0", DEVICES) is other
    assert queue.take("cpu-0", DEVICES) is None
    assert len(queue) == 1  # it waits; it is not dropped
    assert queue.take("cpu-1", DEVICES) is suspect


def test_a_suspect_that_was_lost_everywhere_goes_anywhere():
    queue = TaskQueue()
    queue.put(Task("suspect", {}, solo=True, lost_on={"cpu-0", "cpu-1"}))
    assert queue.take("cpu-0", {"cpu-0", "cpu-1", "cpu-2"}) is None
    assert queue.take("cpu-0", {"cpu-0", "cpu-1"}).id == "suspect"


def test_one_device_left_takes_its_suspects_back():
    queue = TaskQueue()
    queue.put(Task("suspect", {}, solo=True, lost_on={"cpu-0"}))
    assert queue.take("cpu-0", {"cpu-0"}).id == "suspect"


def test_a_payload_may_be_made_when_the_task_is_sent():
    made = []
    task = Task("t", lambda: made.append(1) or {"n": len(made)})
    assert made == []
    assert task.message() == {"id": "t", "payload": {"n": 1}}
    assert task.message() == {"id": "t", "payload": {"n": 2}}  # sent again after a host was lost
    assert Task("t", {"n": 0}).message() == {"id": "t", "payload": {"n": 0}}


def test_a_suspect_is_not_given_to_a_host_that_has_tasks():
    queue = TaskQueue()
    queue.put(Task("suspect", {}, estimate=100, solo=True))
    assert queue.take("cpu-0", DEVICES, alone=False) is None
    queue.put(Task("plain", {}, estimate=1, lost_on={"cpu-0"}))
    assert (
        queue.take("cpu-0", DEVICES, alone=False) is None
    )  # neither the one before it nor the suspect behind it
    assert queue.take("cpu-1", DEVICES, alone=False).id == "plain"
    assert queue.take("cpu-0", DEVICES).id == "suspect"


def test_drained_in_the_order_it_would_have_been_taken():
    queue = TaskQueue()
    queue.put_all(tasks_of([1, 5, 3, 9], solo={3}))
    assert [task.id for task in queue.drain()] == ["t1", "t2", "t0", "t3"]
    assert queue.drain() == []


@given(
    st.lists(st.tuples(estimates, st.sets(st.sampled_from(sorted(DEVICES)))), max_size=20),
    st.lists(st.sampled_from(sorted(DEVICES)), min_size=1, max_size=30),
    st.sets(st.sampled_from(sorted(DEVICES)), min_size=1),
)
def test_what_is_taken_is_the_first_that_may_go_there(tasks, asking, among):
    queue = TaskQueue()
    waiting = [
        Task(str(number), {}, size, solo=bool(lost_on), lost_on=set(lost_on))
        for number, (size, lost_on) in enumerate(tasks)
    ]
    queue.put_all(waiting)
    for device in asking:
        may = [one for one in waiting if device not in one.lost_on or not among - one.lost_on]
        expected = min(may, key=lambda one: (one.solo, -one.estimate, one.order), default=None)
        if expected and expected.solo:
            assert queue.take(device, among, alone=False) is None
        assert queue.take(device, among) is expected
        if expected:
            waiting.remove(expected)
        assert len(queue) == len(waiting)


@pytest.mark.parametrize("count", [100, 10_000])
def test_however_many_were_lost_on_a_device_it_is_asked_for_none_of_them(count, monkeypatch):
    queue = TaskQueue()
    queue.put_all(Task(str(index), {}, solo=True, lost_on={"cpu-0"}) for index in range(count))
    queue.put_all(Task(f"other {index}", {}, solo=True, lost_on={"cpu-1"}) for index in range(10))
    moved = []
    for name in ("heappop", "heappush"):
        real = getattr(heapq, name)
        monkeypatch.setattr(heapq, name, lambda *given, real=real: moved.append(given) or real(*given))
    assert len(taken(queue, "cpu-0")) == 10
    assert queue.take("cpu-0", DEVICES) is None
    assert queue.take("cpu-1", DEVICES) is not None
    assert len(moved) == 11  # one for each that was taken, whatever waits beside them


def test_a_hundred_thousand_tasks_are_no_burden():
    queue = TaskQueue()
    with within(3):
        queue.put_all(Task(str(index), {}, index * 7919 % 1000) for index in range(100_000))
        assert len(taken(queue)) == 100_000
