"""A device goes over from editing to judging: the judge's host has imported before, and edits never notice."""

from __future__ import annotations

import os

import pytest
from harness import Ran, config_tree, make_benchmark, ours

from edit_eval.driver import loading
from edit_eval.driver.events import DeviceState, EditFinished, VerdictGiven
from edit_eval.driver.machine import Memory

MANY = Memory(free=1 << 40, total=1 << 40, limited=False)


@pytest.fixture(autouse=True)
def _a_large_machine(monkeypatch, tmp_path):
    gate = loading.LoadGate
    monkeypatch.setattr(
        "edit_eval.driver.pool.LoadGate", lambda **_: gate(memory=lambda: MANY, cores=lambda: 64)
    )
    mark = f"mark-{tmp_path.name}-{os.getpid()}"
    monkeypatch.setenv("EDIT_EVAL_TEST", mark)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    assert ours(mark) == []


def tree(tmp_path, instructions, **changes):
    params = {"folder": str(tmp_path / "prepared"), **changes.pop("params", {})}
    (tmp_path / "prepared").mkdir()
    return config_tree(
        tmp_path,
        make_benchmark(tmp_path / "data", instructions),
        judge={"type": "preparing:PreparedJudge", "devices": ["cpu:0", "cpu:1"], "params": params},
        **changes,
    )


def judges(ran):
    return [facts for name, facts in ran.run.info["starts"][-1]["hosts"].items() if name.startswith("judge")]


def test_the_host_that_judges_is_the_one_that_was_prepared(tmp_path):
    ran = Ran(tree(tmp_path, ["sleep:0.6"] * 8))
    assert len(ran.of(VerdictGiven)) == 8
    hosts = judges(ran)
    assert len(list((tmp_path / "prepared").iterdir())) == 2
    assert hosts  # the second one may find nothing left to judge
    assert all(one["was_prepared"] and one["prepared_s"] >= 0 for one in hosts)


@pytest.mark.parametrize("how", ["crash", "raise", "exit"])
def test_a_host_that_cannot_be_prepared_costs_nothing_but_its_head_start(tmp_path, how):
    ran = Ran(tree(tmp_path, ["sleep:0.6"] * 4, params={"how": how}))
    assert len(ran.of(EditFinished)) == len(ran.of(VerdictGiven)) == 4
    assert not any(one["was_prepared"] for one in judges(ran))


def test_a_host_that_hangs_while_preparing_is_replaced_by_one_that_was_not(tmp_path):
    made = tree(tmp_path, ["sleep:0.3"] * 2, params={"how": "hang"}, editor__devices=["cpu:0"])
    made["judge"] |= {"devices": ["cpu:0"], "deadlines": {"load_s": 3}}
    ran = Ran(made)
    assert len(ran.of(VerdictGiven)) == 2
    assert not any(one["was_prepared"] for one in judges(ran))


def test_a_device_that_runs_out_of_edits_starts_its_judge_while_others_still_edit(tmp_path):
    ran = Ran(tree(tmp_path, ["sleep:4", "sleep:0.1", "sleep:0.1"]))
    [last] = [one for one in ran.of(EditFinished) if one.sample_id == "s0000"]
    begun = [one for one in ran.of(DeviceState) if one.stage == "judge" and one.state == "starting"]
    assert begun[0].at < last.at
    assert begun[0].device != last.device


def test_an_editor_that_crashes_takes_no_prepared_host_with_it(tmp_path):
    ran = Ran(
        tree(tmp_path, ["sleep:0.6", "once:crash", "sleep:0.6", "sleep:0.6"], editor__devices=["cpu:0"])
    )
    assert len(ran.of(EditFinished)) == len(ran.of(VerdictGiven)) == 4
    prepared = len(list((tmp_path / "prepared").iterdir()))
    assert prepared == 1


def test_nothing_is_prepared_where_stages_are_kept_apart(tmp_path):
    ran = Ran(tree(tmp_path, ["sleep:0.3"] * 4, stages="sequential"))
    assert len(ran.of(VerdictGiven)) == 4
    assert list((tmp_path / "prepared").iterdir()) == []


def test_nothing_is_prepared_without_a_core_to_spare(tmp_path, monkeypatch):
    gate = loading.LoadGate
    monkeypatch.setattr(
        "edit_eval.driver.pool.LoadGate", lambda **_: gate(memory=lambda: MANY, cores=lambda: 3)
    )
    Ran(tree(tmp_path, ["sleep:0.3"] * 4))
    assert list((tmp_path / "prepared").iterdir()) == []
