"""Shards and their merge, as a person runs them."""

from __future__ import annotations

import pytest
from harness import cli

CONFIG = """\
benchmark: {type: scenes, params: {n: 12, size: 96}}
editor: {type: scripted, devices: [cpu:0, cpu:1], params: {error_rate: 0.4}}
judge: {type: reference, devices: [cpu:0, cpu:1], batch_size: 2}
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


def done(*arguments, cwd, code=0):
    result = cli(*arguments, cwd=cwd)
    assert result.returncode == code, result.stdout + result.stderr
    return result


def canonical(run, cwd):
    return done("export", run, "--canonical", cwd=cwd).stdout


def test_merged_shards_are_the_run_without_shards(place):
    done("run", "c.yaml", "--output", "whole", cwd=place)
    done("run", "c.yaml", "--output", "m", "--shard", "0/2", cwd=place)
    early = done("merge", "m/shards", cwd=place, code=2)
    assert (
        early.stderr == "edit-eval: not there: shard 1/2; finish it, or merge what there is with --partial\n"
    )
    done("run", "c.yaml", "--output", "m", "--shard", "1/2", "--devices", "cpu:0", cwd=place)
    merged = done("merge", "m/shards/0-of-2", "m/shards/1-of-2", "--output", "m", cwd=place)
    assert merged.stdout.startswith("Merged 2 of 2 shards into m: 12 edits, 12 verdicts\n")
    assert canonical("m", place) == canonical("whole", place)
    assert done("run", "c.yaml", "--output", "m", cwd=place).stdout.startswith("Nothing to do")
