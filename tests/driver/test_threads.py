"""A judge whose host has several threads that work: each on its own task, none waits for another, and all is counted."""

from __future__ import annotations

import json
import time

import pytest
from harness import Ran, config_tree, make_benchmark

from edit_eval.core.errors import Interrupted, UserError
from edit_eval.driver.control import Control
from edit_eval.driver.events import StepProgress


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def tree_of(tmp_path, instructions, devices=("cpu:0",), **params):
    tags = [{"judge": what} if what != "-" else {} for what in instructions]
    table = make_benchmark(tmp_path / "data", ["-"] * len(tags), tags)
    return config_tree(
        tmp_path,
        table,
        judge={"type": "threaded:ThreadedJudge", "devices": list(devices), "params": params},
    )


def lines(ran: Ran) -> list[dict]:
    return [json.loads(one) for one in (ran.run.path / "verdicts.jsonl").read_text().splitlines()]


def test_tasks_do_not_wait_for_each_other(tmp_path):
    tree = tree_of(tmp_path, ["-"] * 24, seconds=0.3)
    Ran(tree, stages=("edit",))
    began = time.monotonic()
    ran = Ran(tree, stages=("judge",))
    assert [row.verdict.overall for row in ran.rows] == [index % 10 for index in range(24)]
    assert max(int(row.verdict.reply) for row in ran.rows) == 8
    assert time.monotonic() - began < 24 * 0.3  # what one after the other takes at least
    assert len(lines(ran)) == 24


def test_a_failure_is_its_own(tmp_path):
    ran = Ran(tree_of(tmp_path, ["-", "raise", *["-"] * 10], seconds=0.05))
    assert [row.verdict.unscored for row in ran.rows] == [None, "error", *[None] * 10]
    assert "asked to raise" in ran.rows[1].verdict.reply
    assert len(lines(ran)) == 12


@pytest.mark.parametrize("what", ["crash", "exit"])
@pytest.mark.parametrize("devices", [("cpu:0",), ("cpu:0", "cpu:1")])
def test_what_ends_the_process_is_found_and_costs_nothing_else(tmp_path, what, devices):
    ran = Ran(tree_of(tmp_path, [*["-"] * 9, what, *["-"] * 9], devices, seconds=0.05))
    assert [row.verdict.unscored for row in ran.rows] == [*[None] * 9, "error", *[None] * 9]
    assert ran.rows[9].verdict.reply.startswith("crash: ")
    assert len({line["key"] for line in lines(ran)}) == len(lines(ran)) == 19


def test_what_ends_the_process_once_costs_nothing(tmp_path):
    ran = Ran(tree_of(tmp_path, [*["-"] * 9, "once:crash", "once:exit", *["-"] * 9], seconds=0.05))
    assert all(row.verdict.unscored is None for row in ran.rows)
    assert len(lines(ran)) == 20


def test_progress_is_about_the_task_of_its_thread(tmp_path):
    ran = Ran(tree_of(tmp_path, ["-"] * 16, seconds=1.0, report=True))
    told = [event for event in ran.of(StepProgress) if event.stage == "judge"]
    assert len({event.index for event in told}) > 1
    assert all(event.steps == 100 + event.index for event in told)


def test_what_no_task_is_to_blame_for_ends_the_run_and_loses_nothing(tmp_path):
    tree = tree_of(tmp_path, [*["-"] * 20, "give-up", *["-"] * 20], seconds=0.05)
    Ran(tree, stages=("edit",))
    with pytest.raises(UserError, match=r"^the key in MY_KEY is not taken$"):
        Ran(tree, stages=("judge",))
    kept = [json.loads(one) for one in (tmp_path / "run" / "verdicts.jsonl").read_text().splitlines()]
    assert all(one["verdict"]["overall"] is not None for one in kept)
    assert 12 <= len(kept) < 41
    assert "s0020" not in {one["sample"] for one in kept}


def test_asked_to_stop_it_finishes_what_has_begun_and_no_more(tmp_path):
    tree = tree_of(tmp_path, ["-"] * 40, seconds=0.4, window=16)
    Ran(tree, stages=("edit",))
    control = Control()
    ledger = tmp_path / "run" / "verdicts.jsonl"

    def tick():
        if ledger.exists() and ledger.stat().st_size:
            control.end()

    with pytest.raises(Interrupted):
        Ran(tree, stages=("judge",), control=control, tick=tick)
    assert 8 <= len(ledger.read_text().splitlines()) <= 24  # of the first eight, and of those begun meanwhile
    again = Ran(tree)
    assert len({line["key"] for line in lines(again)}) == len(lines(again)) == 40


@pytest.mark.parametrize("threads", [0, True, 1.5, "4"])
def test_a_judge_with_no_number_of_threads_is_refused(tmp_path, threads):
    from types import SimpleNamespace

    from edit_eval.worker.roles import _count

    with pytest.raises(ValueError, match="the judge's threads is"):
        _count(SimpleNamespace(threads=threads).threads, "threads")
