"""Runs that were compared two at a time, on one scale."""

from __future__ import annotations

import math

import pytest
from harness import Ran

from driver.compared import tree
from edit_eval.driver.store import RunReader
from edit_eval.driver.tournament import tournaments


def test_three_runs(tmp_path):
    """The judge prefers what is brighter, and of the fourth sample always the first shown, which makes a tie.

    Of five samples in four clusters b wins three against a, ties one and loses one, and so does c against b; a and c never
    met. So c is stronger than b by log 3, as b is than a, and nu is 1 / sqrt(3 * 1).
    """
    levels = {"a": [100] * 5, "b": [120, 120, 120, 90, 90], "c": [130, 130, 130, 100, 80]}
    Ran(tree(tmp_path, "a", levels["a"]), stages=("edit",))
    Ran(tree(tmp_path, "b", levels["b"], against=str(tmp_path / "runs" / "a")))
    Ran(tree(tmp_path, "c", levels["c"], against=str(tmp_path / "runs" / "b")))
    runs = {name: tmp_path / "runs" / name for name in "abc"}
    [one] = tournaments([RunReader(path) for path in runs.values()])
    assert one.judge == "comparing:Comparing"
    assert (one.found.n, one.found.clusters) == (10, 4)
    strengths = {name: one.found.strengths[str(path)] for name, path in runs.items()}
    assert [(strengths[name].wins, strengths[name].losses) for name in "abc"] == [(1, 3), (4, 4), (3, 1)]
    step = math.log(3)
    assert one.found.tie == pytest.approx(1 / math.sqrt(3))
    assert [strengths[name].value for name in "abc"] == pytest.approx([-step, 0, step])
    assert strengths["c"].standard_error is not None
    # A run that was not given takes part; one without comparisons brings none.
    assert tournaments([RunReader(runs["b"])])[0].found.strengths.keys() == {str(runs["a"]), str(runs["b"])}
    assert tournaments([RunReader(runs["a"])]) == []
