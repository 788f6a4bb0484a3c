"""The judge's own noise: some edits are judged twice, always the same ones, and the second verdicts count for nothing else."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from harness import PYTHONPATH, Ran, cli, make_benchmark
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.types import Sample
from edit_eval.driver.config import check_config
from edit_eval.driver.events import StageStarted, VerdictGiven
from edit_eval.driver.forecast import forecast
from edit_eval.driver.plan import Judging, WantedEdit, judged_again
from edit_eval.driver.rubrics import load_rubric
from edit_eval.driver.summary import summarize
from edit_eval.views.closing import closing_block
from edit_eval.views.lines import PermanentLines

RUBRIC = """\
name: two-v1
dimensions: [{name: instruction, scale: [0, 10]}, {name: quality, scale: [0, 10]}]
overall: mean(instruction, quality)
range: [0, 10]
"""
TWICE = ["8/8,7/9", "6,6", "4/6,5/5", "9/9,9/7", "3,unparsable"]
"""What the judge says of each edit the first time, and the second. Overall scores, and dimensions:

instruction 8 6 4 9 and 7 6 5 9: differences -1 0 1 0, mean absolute 0.5, sd of them sqrt(2/3), over sqrt(2): 0.57735
quality     8 6 6 9 and 9 6 5 7: differences 1 0 -1 -2, mean absolute 1, sd sqrt(5/3), over sqrt(2): 0.91287
overall     8 6 5 9 and 8 6 5 8: differences 0 0 0 -1, mean absolute 0.25, sd 0.5, over sqrt(2): 0.35355; 3 of 4 the same
The fifth has no second score.
"""


def tree(folder, said=TWICE, **params):
    samples = make_benchmark(folder / "data", ["ok"] * len(said), [{"a": one} for one in said])
    (folder / "two.yaml").write_text(RUBRIC)
    return {
        "benchmark": {"type": "folder", "path": str(samples)},
        "editor": {"type": "faulty:FaultyEditor", "devices": ["cpu:0"]},
        "judge": {
            "type": "tagged:Tagged",
            "devices": ["cpu:0"],
            "rubric": str(folder / "two.yaml"),
            "params": params,
        },
        "output": str(folder / "run"),
    }


def test_by_hand(tmp_path):
    whole = Ran(tree(tmp_path))
    before, export = summarize(whole.run), whole.canonical()
    twice = Ran(tree(tmp_path), stages=("judge",), repeat_fraction=1.0)
    summary = summarize(twice.run)
    found = summary.noise
    assert (found.wanted, found.unscored) == (5, {"unparsable": 1})
    assert list(found.dimensions) == ["instruction", "quality"]
    for noise, expected in (
        (found.overall, (0.25, 0.35355, 0.75)),
        (found.dimensions["instruction"], (0.5, 0.57735, 0.5)),
        (found.dimensions["quality"], (1.0, 0.91287, 0.25)),
    ):
        assert noise.n == 4
        assert (noise.mean_absolute, noise.deviation, noise.identical) == pytest.approx(expected, abs=1e-5)
    # Nothing else has changed.
    assert before.noise is None
    assert (summary.headline, summary.dimensions, summary.scored, summary.coverage) == (
        before.headline,
        before.dimensions,
        5,
        1.0,
    )
    assert twice.canonical() == export
    assert [event.again for event in twice.of(VerdictGiven)] == [True] * 5
    assert [(event.total, event.done) for event in twice.of(StageStarted)] == [(10, 5)]
    text = closing_block(summary)
    [row] = [line.split() for line in text.splitlines() if line.startswith("  overall ")]
    assert row == ["overall", "4", "0.250", "0.354", "75.0", "%"]
    assert "1 of 5 have not two scores; second time unscored: 1 (1 unparsable)" in text
    # Again there is nothing to do, with the same share, a smaller one, or none.
    for share in (1.0, 0.5, 0.0):
        assert not Ran(tree(tmp_path), repeat_fraction=share).worked
    assert summarize(twice.run.__class__(twice.run.path)).noise == found
    retried = Ran(tree(tmp_path), stages=("judge",), repeat_fraction=1.0, retry_failed=True)
    assert [(event.sample_id, event.again) for event in retried.of(VerdictGiven)] == [("s0004", True)]


def test_what_is_shown_while_it_goes_on(tmp_path):
    """In one start with the first verdicts: those of the second time are no part of groups, totals and averages."""
    ran = Ran(tree(tmp_path), repeat_fraction=0.4)
    lines = PermanentLines()
    said = [line.text for event in ran.events for line in lines(event)]
    assert sum("] Again: " in line for line in said) + sum("Unscored" in line for line in said[:-2]) >= 1
    assert "  Total images: 5" in said
    assert "  Average score: 6.200" in said
    assert "  Judged a second time: 2" in said
    assert [event.total for event in ran.of(StageStarted) if event.stage == "judge"] == [7]
    assert summarize(ran.run).noise.wanted == 2


def test_a_share_of_few_is_rounded_up_and_foreseen(tmp_path):
    Ran(tree(tmp_path))
    for share, left in ((0.1, 1), (0.2, 1), (0.21, 2), (1.0, 5)):
        found = forecast(check_config(tree(tmp_path)), stages=("judge",), repeat_fraction=share)
        assert (found.judge.left, found.judge.total) == (left, 5 + left)
    fresh = {**tree(tmp_path), "output": str(tmp_path / "fresh")}
    assert forecast(check_config(fresh), repeat_fraction=0.4).judge.left == 7


@given(
    st.sets(st.text("0123456789abcdef", min_size=8, max_size=8), max_size=60),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_larger_share_holds_a_smaller_one(keys, one, other):
    small, large = (judged_again(keys, share) for share in sorted((one, other)))
    assert small <= large <= keys
    assert len(large) in {
        math.ceil(max(one, other) * len(keys)),
        math.ceil(max(one, other) * len(keys) - 1e-9),
    }
    assert judged_again(sorted(keys), one) == judged_again(sorted(keys, reverse=True), one)


@pytest.mark.parametrize(
    ("share", "count", "chosen"), [(0.1, 30, 3), (0.1, 900, 90), (0.1, 31, 4), (0, 9, 0)]
)
def test_a_tenth_is_a_tenth(share, count, chosen):
    assert len(judged_again(map(str, range(count)), share)) == chosen


def test_a_second_judgement_has_a_key_and_a_seed_of_its_own():
    judging = Judging({"name": "j"}, {"": load_rubric("general-v1")}, ())
    one = WantedEdit(0, Sample("s", "do it", ("/a.png",)), 0, 12345, "k", ("f" * 64,))
    assert judging.key(one, "s") == judging.key(one, "s", repeat=0) != judging.key(one, "s", repeat=1)
    assert judging.seed(one) == 12345 != judging.seed(one, 1)
    assert 0 <= judging.seed(one, 1) < 2**63


def test_beside_another_judge(tmp_path):
    base = tree(tmp_path, ["8,6", "6,6"])
    Ran(base)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(base))
    (tmp_path / "other.yaml").write_text(
        yaml.safe_dump({**base["judge"], "params": {"tag": "a", "style": "other"}})
    )
    done = cli("score", "run", "--judge", "other.yaml", "--repeat-fraction", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(cli("report", "run", "--format", "json", cwd=tmp_path).stdout)
    assert found["noise"] is None
    [other] = found["others"]
    assert other["noise"]["overall"] == {
        "n": 2,
        "mean_absolute": 1.0,
        "deviation": pytest.approx(1.0),
        "identical": 0.5,
    }
    assert "How sure this judge is" in (tmp_path / "run" / "report" / "index.html").read_text()


@pytest.mark.parametrize("share", ["0", "1.5", "-1", "nan", "a tenth"])
def test_what_is_no_share_is_refused(tmp_path, share):
    done = cli("score", "run", "--repeat-fraction", share, cwd=tmp_path)
    assert done.returncode == 2
    assert "is no share" in done.stderr


def test_killed_in_the_middle_it_goes_on(tmp_path):
    """Killed while second verdicts come in: what was judged stays, the same command makes the rest, each once."""
    base = tree(tmp_path, ["8,7"] * 12, seconds=0.2)
    Ran({**base, "judge": {**base["judge"], "params": {}}})
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**base, "judge": {**base["judge"], "batch_size": 1}}))
    command = [
        sys.executable,
        "-m",
        "edit_eval",
        "score",
        "c.yaml",
        "--repeat-fraction",
        "1",
        "--display",
        "none",
    ]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    ledger = tmp_path / "run" / "verdicts.jsonl"
    until = time.monotonic() + 60
    while ledger.read_text().count("\n") < 15 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    began = ledger.read_text().count("\n")
    assert 15 <= began < 24
    done = cli(*command[3:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert len({line["key"] for line in lines}) == len(lines) == 24
    assert sum(line.get("again", 0) for line in lines) == 12
    assert cli(*command[3:], cwd=tmp_path).stdout.startswith("Nothing to do")
