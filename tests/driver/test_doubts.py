"""Whose fault a failure is: the sample's on a device that has shown better, open on one that has not."""

from __future__ import annotations

from edit_eval.driver.doubts import IN_A_ROW, Doubts
from edit_eval.driver.queue import Task


def task(name="t"):
    return Task(name, {})


def test_a_device_that_has_done_one_well_is_believed():
    doubts = Doubts()
    doubts.done("a", task())
    assert not doubts.failed("a", task(), others=True)


def test_one_that_has_not_is_asked_about_elsewhere_and_the_second_failure_is_the_last_word():
    doubts, one = Doubts(), task()
    assert doubts.failed("a", one, others=True)
    assert one.lost_on == {"a"}
    assert not doubts.failed("b", one, others=True)


def test_where_there_is_nobody_else_a_failure_stands():
    assert not Doubts().failed("a", task(), others=False)


def test_failures_in_a_row_cost_belief_and_a_success_gives_it_back():
    doubts = Doubts()
    doubts.done("a", task())
    said = [doubts.failed("a", task(str(index)), others=True) for index in range(IN_A_ROW + 2)]
    assert said == [False] * IN_A_ROW + [True, True]
    doubts.done("a", task())
    assert not doubts.failed("a", task("last"), others=True)


def test_successes_elsewhere_prove_a_device_broken_once():
    doubts = Doubts()
    tasks = [task(str(index)) for index in range(IN_A_ROW + 2)]
    for one in tasks:
        assert doubts.failed("a", one, others=True)
    assert [doubts.done("b", one) for one in tasks] == [None] * (IN_A_ROW - 1) + ["a", None, None]


def test_what_a_host_failed_is_not_held_against_the_next():
    doubts = Doubts()
    tasks = [task(str(index)) for index in range(IN_A_ROW)]
    for one in tasks:
        doubts.failed("a", one, others=True)
    doubts.fresh("a")
    assert [doubts.done("b", one) for one in tasks] == [None] * IN_A_ROW


def test_a_device_that_did_well_meanwhile_is_not_broken():
    doubts = Doubts()
    tasks = [task(str(index)) for index in range(IN_A_ROW)]
    for one in tasks:
        doubts.failed("a", one, others=True)
    doubts.done("a", task("well"))
    assert [doubts.done("b", one) for one in tasks] == [None] * IN_A_ROW
