"""The arithmetic of a long job, by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "perf" / "compose.py"


@pytest.fixture(scope="module")
def compose():
    spec = importlib.util.spec_from_file_location("compose", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["compose"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["compose"]


def test_our_job_by_hand(compose):
    parts = compose.Ours(load=20, first=10, step=0.5, around=1, unload=0.5, judge_start=30, verdict=0.2)
    job = compose.ours(parts, 900, 6, 40)
    assert job.seconds == pytest.approx(20 + 10 + 150 * 21 + 0.5 + 30 + 150 * 0.2)
    assert "by arithmetic" in job.lines()[0]


@pytest.mark.parametrize(("judges", "judging_s"), [(1, 900 * 4), (6, 150 * 4)])
def test_the_described_job_by_hand(compose, judges, judging_s):
    parts = compose.Described(load=20, step=0.8, around=1, unload=49, judge_start=10, verdict=4)
    job = compose.described(parts, 900, 6, 40, judges)
    assert job.seconds == pytest.approx(20 + 150 * 33 + 6 * 49 + 10 + judging_s)


def test_a_share_is_a_whole_number_of_edits(compose):
    parts = compose.Ours(0, 0, 1, 0, 0, 0, 0)
    assert compose.ours(parts, 900, 8, 1).seconds == 113
