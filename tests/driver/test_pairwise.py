"""Two runs compared edit by edit: both orders, ties, what cannot be compared, and what is refused."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from harness import Ran, cli
from PIL import Image

from driver.compared import compared, tree
from edit_eval.core.errors import UserError
from edit_eval.core.types import Sample
from edit_eval.driver.config import check_config
from edit_eval.driver.forecast import forecast
from edit_eval.driver.rubrics import load_rubric
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import read_rows, summarize
from edit_eval.judges.asking import AskingJudge, AskingParams
from edit_eval.judges.prompts import render_prompts
from edit_eval.views.closing import closing_block
from edit_eval.views.numbers import made_from, numbers_of, read_numbers
from edit_eval.views.report import html_report, json_report, text_report
from edit_eval.views.status import status_of

OWN = [200, 100, 150, 90, 220, 50, 60]
OTHER = [100, 200, 150, 80, 120, None, 70]
"""Grey levels of the edits of this run and of the other, which has none of the sixth.

Own edits: win, loss, tie (both orders say so), tie (the first shown is named both times), win, not applicable, refused.
Scores 1 0 0.5 0.5 1, mean 0.6. The first and the fifth are of one cluster: residuals by cluster 0.8, -0.6, -0.1, -0.1,
squares over what the cluster leaves to the others, 0.64 / 0.6 + 0.38 / 0.8, together 1.54167, standard error
sqrt(1.54167) / 5 = 0.24833; half the interval is more than 0.6 with any t: 0 to 1.
Decided answers: two of each of four edits, of which the first shown is named once, once, once and twice: 5 of 8.
"""


@pytest.fixture
def other(tmp_path):
    Ran(tree(tmp_path, "other", OTHER), stages=("edit",))
    return tmp_path


def test_by_hand(other):
    ran = Ran(tree(other, "own", OWN, batch_size=2))
    summary = summarize(ran.run)
    assert summary.protocol == "folder/v1+pairwise-v1+against-other"
    assert (summary.scored, summary.unscored, summary.not_applicable) == (5, {"refused": 1}, 1)
    assert summary.coverage == pytest.approx(5 / 6)
    assert (summary.waiting, summary.dimensions) == (0, {})
    assert summary.bounds == (pytest.approx(3 / 6), pytest.approx(4 / 6))
    headline = summary.headline
    assert (headline.mean, headline.n, headline.clusters) == (pytest.approx(0.6), 5, 4)
    assert headline.standard_error == pytest.approx(0.24833, abs=1e-5)
    assert (headline.low, headline.high) == (0, 1)
    found = summary.comparison
    assert (found.wins, found.ties, found.losses) == (2, 2, 1)
    assert found.disagreed == pytest.approx(1 / 5)
    assert (found.decided, found.first_preferred) == (8, pytest.approx(5 / 8))
    text = text_report(summary, ran.rows)
    assert "Win rate:  0.600 (partial) on 0 to 1" in text
    assert "Compared:  wins 2, ties 2, losses 1" in text
    assert "Bias:      the first shown preferred in 62.5 % of 8 answers" in text
    assert "Left out:  1 that the other run has no edit of: not applicable" in text
    assert "Not done" not in text
    assert [status_of(row).name for row in ran.rows][-2:] == ["not applicable", "unscored"]
    assert not Ran(tree(other, "own", OWN, batch_size=2)).worked


def test_it_is_shown_beside_the_other_edit(other):
    ran = Ran(tree(other, "own", OWN, batch_size=2))
    rows = read_rows(ran.run)
    page = html_report(ran.run.path, summarize(ran.run), rows).read_text()
    assert page.count("The other run&#39;s edit</figcaption>") == 6
    assert "win rate against another run" in page
    data = json_report(summarize(ran.run), rows)
    assert data["rows"][5]["status"] == "not applicable"
    assert [json.loads(line)["verdict"] for line in ran.canonical()].count("not applicable") == 1
    # What was compared is known when the other run is gone.
    shutil.rmtree(other / "runs" / "other")
    again = RunReader(ran.run.path)
    assert summarize(again) == summarize(ran.run)


def test_beside_a_judge_that_scores(other):
    """The first headline stays, the scales differ, and the comparison is a judge beside the run's own."""
    base = tree(other, "own", OWN)
    judge = {"type": "faulty:FaultyJudge", "devices": ["cpu:0"]}
    Ran({**base, "judge": judge})
    (other / "pair.yaml").write_text(yaml.safe_dump(compared(other)))
    (other / "own.yaml").write_text(yaml.safe_dump({**base, "judge": judge}))
    before = summarize(RunReader(other / "runs" / "own"))
    done = cli("score", "own.yaml", "--judge", "pair.yaml", cwd=other)
    assert done.returncode == 3, done.stderr
    after = summarize(RunReader(other / "runs" / "own"))
    assert (after.headline, after.coverage, after.not_applicable) == (before.headline, 1.0, 0)
    [one] = after.others
    assert (one.comparison.wins, one.not_applicable, one.coverage) == (2, 1, pytest.approx(5 / 6))
    assert (one.bridge.n, one.bridge.same_scale, one.bridge.shift) == (5, False, None)
    assert "Win rate: 0.600 (partial) on 0 to 1" in done.stdout
    assert "Coverage: 83.3 % (5 of 6 scored)" in done.stdout


def test_what_changes_in_the_other_run_is_judged_anew_and_nothing_else(other):
    own = tree(other, "own", OWN, batch_size=2)
    Ran(own)
    Image.new("RGB", (32, 24), (250,) * 3).save(other / "other" / "s0000.png")
    Image.new("RGB", (32, 24), (10,) * 3).save(other / "other" / "s0005.png")
    Ran(tree(other, "other", [250, *OTHER[1:5], 10, 70]), stages=("edit",), retry_failed=True)
    foreseen = forecast(check_config(own))
    assert (foreseen.judge.left, foreseen.judge.total) == (2, 7)
    again = Ran(own)
    assert len((again.run.path / "verdicts.jsonl").read_text().splitlines()) == 8
    found = summarize(again.run)
    assert (found.comparison.wins, found.comparison.losses, found.not_applicable) == (2, 2, 0)
    assert found.others == []  # the same comparison, gone on


def test_both_orders_ask_the_same(other):
    rubric = load_rubric("pairwise-v1")
    first, second = render_prompts(rubric, Sample("s", "Make it red", ("/a.png",)))
    assert first.text == second.text
    assert (first.images, second.images) == (
        ("source", "edited", "reference"),
        ("source", "reference", "edited"),
    )
    assert '"better": {"reason"' in first.text


def test_each_answer_decides_as_it_should():
    """Only where both orders name this run's edit it wins, and where both name the other it loses."""
    from edit_eval.judges.contract import verdict_from_scores

    rubric = load_rubric("pairwise-v1")
    overall = {
        (a, b): verdict_from_scores(rubric, {"first": a, "second": b}, {}, "").overall
        for a in range(3)
        for b in range(3)
    }
    assert overall == {pair: 1.0 if pair == (0, 2) else 0.0 if pair == (2, 0) else 0.5 for pair in overall}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"against": None}, "judge.against: is missing"),
        (
            {"rubric": "general-v1"},
            "judge.against: rubric 'general-v1' compares nothing; set judge.rubric to pairwise-v1",
        ),
        (
            {"rubric": None},
            "judge.against: the rubrics of folder compare nothing|general-v1' compares nothing",
        ),
        ({"against": "runs/none"}, "judge.against: .*is no run directory"),
        ({"against": "runs/own"}, "is this run itself"),
        ({"against": "runs/empty"}, "has no edit of any sample"),
    ],
)
def test_what_cannot_be_compared_is_refused(other, monkeypatch, change, said):
    monkeypatch.chdir(other)
    Ran(tree(other, "own", OWN), stages=("edit",))
    Ran(tree(other, "empty", [None] * 7), stages=("edit",))
    own = tree(other, "own", OWN, batch_size=2)
    own["judge"] = {name: value for name, value in {**own["judge"], **change}.items() if value is not None}
    with pytest.raises(UserError, match=said):
        Ran(own)


def test_another_sample_of_that_name_is_refused(other):
    samples = other / "data" / "samples.jsonl"
    own = tree(other, "own", OWN, batch_size=2)
    lines = samples.read_text().splitlines()
    lines[1] = lines[1].replace("bright", "tie")
    samples.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"sample 's0001' is another one in .* \(another instruction\)"):
        Ran(own)


def test_an_edit_that_is_not_what_was_recorded_is_refused(other):
    image = next((other / "runs" / "other" / "by-id").glob("*/s0001.png"))
    Image.new("RGB", (32, 24), (1, 2, 3)).save(image.resolve())
    with pytest.raises(UserError, match=r"edit of sample 's0001' in .* is not what was recorded"):
        Ran(tree(other, "own", OWN, batch_size=2))


def test_what_was_kept_of_the_other_run_and_is_damaged_is_named(other):
    own = tree(other, "own", OWN, batch_size=2)
    ran = Ran(own)
    [kept] = ran.run.path.glob("against-*.jsonl")
    whole = kept.read_bytes()
    for wrong, said in ((b"{", "line 1 is no JSON"), (b'{"sample": 3}\n', "line 1: sample")):
        kept.write_bytes(wrong)
        with pytest.raises(UserError, match=said):
            summarize(RunReader(ran.run.path))
    kept.unlink()
    with pytest.raises(UserError, match="against-"):
        summarize(RunReader(ran.run.path))
    assert not Ran(own).worked
    assert kept.read_bytes() == whole


@pytest.mark.parametrize("params", [AskingParams(mode="expected"), AskingParams(samples=3, temperature=0.5)])
def test_there_is_no_mean_of_which_is_better(params):
    with pytest.raises(UserError, match="of which there is no mean"):
        AskingJudge.adapted(params, load_rubric("pairwise-v1"))


def test_a_judge_again_says_how_sure_it_is(other):
    ran = Ran(tree(other, "own", OWN, batch_size=2), repeat_fraction=1.0)
    noise = summarize(ran.run).noise
    assert (noise.wanted, noise.overall.n, noise.overall.identical) == (6, 5, 1.0)
    assert "Judged twice" in closing_block(summarize(ran.run))


def test_numbers_are_read_back_from_the_page(other):
    """With a comparison, noise, and a second judge: a start that has nothing to do says the same."""
    base = tree(other, "own", OWN, batch_size=2)
    Ran(base, repeat_fraction=1.0)
    judge = {"type": "faulty:FaultyJudge", "devices": ["cpu:0"]}
    ran = Ran({**base, "judge": judge}, stages=("judge",), beside=True)
    rows = read_rows(ran.run)
    numbers = numbers_of(summarize(ran.run, rows), rows, None)
    stamp = made_from(ran.run.path)
    page = html_report(ran.run.path, numbers.summary, rows, made_from=stamp)
    found = read_numbers(page, stamp)
    assert closing_block(found.summary) == closing_block(numbers.summary)
    assert "Win rate" in closing_block(found.summary)
    assert "Also judged by faulty:FaultyJudge" in closing_block(found.summary)
    assert "Judged twice" in closing_block(found.summary)
    # What is compared with is among what the page was made from.
    [kept] = ran.run.path.glob("against-*.jsonl")
    kept.write_bytes(kept.read_bytes()[::-1])
    assert made_from(ran.run.path) != stamp
