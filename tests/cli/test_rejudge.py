"""A run judged again by another judge: nothing is edited, nothing is lost, the first headline stays what it was."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from harness import cli, make_benchmark

RUBRIC = """\
name: two-v1
dimensions: [{name: instruction, scale: [0, 10]}, {name: quality, scale: [0, 10]}]
overall: mean(instruction, quality)
range: [0, 10]
"""
SHORT = RUBRIC.replace("two-v1", "short-v1").replace("10]", "5]")
A = ["8", "6", "4", "9", "5", "7"]
B = ["7", "6", "5", "8", "unparsable", "9"]
"""What the judges say; what comes of it is computed in tests/core/test_agreement.py."""


def write(path, **tags):
    """Write a benchmark whose first two samples share a cluster, its rubrics, and a config with judge `a`."""
    names = list(tags)
    per_sample = [dict(zip(names, values, strict=True)) for values in zip(*tags.values(), strict=True)]
    samples = make_benchmark(path / "data", ["ok"] * len(per_sample), per_sample)
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    for line in lines[:2]:
        line["cluster"] = "x"
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (path / "two.yaml").write_text(RUBRIC)
    (path / "short.yaml").write_text(SHORT)
    tree = {
        "benchmark": {"type": "folder", "path": str(samples)},
        "editor": {"type": "faulty:FaultyEditor", "devices": ["cpu:0"]},
        "judge": section("a"),
        "output": "run",
    }
    (path / "config.yaml").write_text(yaml.safe_dump(tree))
    for name in names:
        (path / f"{name}.yaml").write_text(yaml.safe_dump(section(name)))


def section(tag, **more):
    return {
        "type": "tagged:Tagged",
        "devices": ["cpu:0"],
        "rubric": "two.yaml",
        "params": {"tag": tag},
        **more,
    }


def report(path, run="run"):
    done = cli("report", run, "--format", "json", cwd=path)
    return json.loads(done.stdout)


def canonical(path, run="run"):
    return cli("export", run, "--canonical", cwd=path).stdout


def own(found):
    """Return what a report says of the run's own judge."""
    return {name: value for name, value in found.items() if name not in ("others", "facts", "usage")}


@pytest.fixture(scope="module")
def judged_once(tmp_path_factory):
    """A folder with a benchmark, configs, and a run that judge `a` has judged."""
    folder = tmp_path_factory.mktemp("judged")
    write(folder, a=A, b=B, c=["2", "3", "1", "4", "2", "5"])
    done = cli("run", "config.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def judged(judged_once, tmp_path):
    """A copy of that folder; the configs name the benchmark of the first, which nobody changes."""
    return shutil.copytree(judged_once, tmp_path / "judged", symlinks=True)


def test_another_judge_beside_the_first(judged):
    before, export = report(judged), canonical(judged)
    edits = (judged / "run" / "edits.jsonl").read_bytes()
    verdicts = (judged / "run" / "verdicts.jsonl").read_bytes()
    done = cli("score", "run", "--judge", "b.yaml", cwd=judged)
    assert done.returncode == 3, done.stderr  # one of six unscored by the judge that was asked
    assert "changed since" not in done.stdout
    assert (judged / "run" / "edits.jsonl").read_bytes() == edits
    assert (judged / "run" / "verdicts.jsonl").read_bytes().startswith(verdicts)
    after = report(judged)
    assert own(after) == own(before)
    assert before["others"] == []
    assert canonical(judged) == export
    [other] = after["others"]
    assert other["headline"]["mean"] == pytest.approx(7.0)
    assert (other["scored"], other["unscored"]) == (5, {"unparsable": 1})
    assert other["coverage"] == pytest.approx(5 / 6)
    assert other["bounds"] == [pytest.approx(35 / 6), pytest.approx(45 / 6)]
    bridge = other["bridge"]
    assert (bridge["n"], bridge["clusters"], bridge["same_scale"]) == (5, 4, True)
    assert (bridge["first"], bridge["second"], bridge["shift"]) == (
        pytest.approx(6.8),
        pytest.approx(7.0),
        pytest.approx(0.2),
    )
    assert (bridge["low"], bridge["high"]) == (
        pytest.approx(-2.006, abs=1e-3),
        pytest.approx(2.406, abs=1e-3),
    )
    assert (bridge["spearman"], bridge["concordant"], bridge["ordered"], bridge["tied"], bridge["equal"]) == (
        pytest.approx(0.7), 0.8, 10, 0, 0.2,
    )  # fmt: skip
    text = cli("report", "run", cwd=judged).stdout
    assert "Also judged by tagged:Tagged: folder/v1+two-v1" in text
    assert "Mean shift:            +0.200 (-2.006 to 2.406, 95 %)" in text
    assert "Pairs in one order:    80.0 % of 10; 0 tied" in text
    page = (judged / "run" / "report" / "index.html").read_text()
    assert "Also judged by" in page
    assert "+0.200 (\u22122.006 to 2.406, 95 %)" in page


def test_the_same_again_does_nothing_and_a_failure_may_be_taken_up(judged):
    assert cli("score", "run", "--judge", "b.yaml", cwd=judged).returncode == 3
    verdicts = (judged / "run" / "verdicts.jsonl").read_bytes()
    again = cli("score", "run", "--judge", "b.yaml", cwd=judged)
    assert (again.returncode, again.stdout.startswith("Nothing to do")) == (3, True)
    assert "Mean shift:            +0.200 (-2.006 to 2.406, 95 %)" in again.stdout  # read back from the page
    assert (judged / "run" / "verdicts.jsonl").read_bytes() == verdicts
    own_again = cli("score", "run", cwd=judged)
    assert (own_again.returncode, own_again.stdout.startswith("Nothing to do")) == (0, True)
    cli("score", "run", "--judge", "b.yaml", "--retry-failed", cwd=judged)
    more = (judged / "run" / "verdicts.jsonl").read_bytes().removeprefix(verdicts)
    assert [json.loads(line)["sample"] for line in more.splitlines()] == ["s0004"]


def verdicts_in(path):
    return [json.loads(line) for line in (path / "run" / "verdicts.jsonl").read_text().splitlines()]


def test_with_a_limit_so_many_edits_are_judged_and_the_others_wait(tmp_path):
    write(tmp_path, a=A)
    assert cli("edit", "config.yaml", cwd=tmp_path).returncode == 0
    samples = (tmp_path / "run" / "samples.jsonl").read_bytes()
    plan = json.loads(
        cli("score", "run", "--limit", "2", "--dry-run", "--display", "json", cwd=tmp_path).stdout
    )
    done = cli("score", "run", "--limit", "2", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    found = report(tmp_path)
    assert (plan["judge"]["left"], len(verdicts_in(tmp_path))) == (2, 2)
    assert (found["scored"], found["wanted"]) == (2, 6)
    assert "limit" not in found["protocol"]
    assert (tmp_path / "run" / "samples.jsonl").read_bytes() == samples

    assert "Nothing to do" in cli("score", "run", "--limit", "2", cwd=tmp_path).stdout
    assert cli("score", "run", cwd=tmp_path).returncode == 0
    assert len(verdicts_in(tmp_path)) == 6
    assert cli("score", "run", "--limit", "100", cwd=tmp_path).returncode == 0
    assert len(verdicts_in(tmp_path)) == 6
    limited = canonical(tmp_path)
    shutil.rmtree(tmp_path / "run")
    assert cli("run", "config.yaml", cwd=tmp_path).returncode == 0
    assert canonical(tmp_path) == limited


def test_another_judge_is_asked_about_a_few_edits(judged):
    before = own(report(judged))
    assert cli("score", "run", "--judge", "b.yaml", "--limit", "3", cwd=judged).returncode == 3
    assert len(verdicts_in(judged)) == 6 + 3
    assert own(report(judged)) == before
    assert cli("score", "run", "--judge", "c.yaml", "--set", "limit=4", cwd=judged).returncode == 3
    assert len(verdicts_in(judged)) == 9 + 4


def test_what_a_score_is_of_says_the_limit_of_the_edits(tmp_path):
    write(tmp_path, a=A)
    assert cli("edit", "config.yaml", "--limit", "4", cwd=tmp_path).returncode == 0
    assert cli("score", "config.yaml", cwd=tmp_path).returncode == 0
    found = report(tmp_path)
    assert "+limit-4+" in found["protocol"]
    assert (found["scored"], found["wanted"]) == (4, 4)


def test_each_line_says_which_judge(judged):
    cli("score", "run", "--judge", "b.yaml", cwd=judged)
    lines = [json.loads(line) for line in (judged / "run" / "verdicts.jsonl").read_text().splitlines()]
    first, second = ({line["judge"] for line in part} for part in (lines[:6], lines[6:]))
    assert len(lines) == 12
    assert len(first) == len(second) == 1
    assert first != second
    starts = json.loads((judged / "run" / "run.json").read_text())["starts"]
    assert [{start["judge"]} for start in starts] == [first, second]


@pytest.mark.parametrize("shape", ["config", "reward_model", "run"])
def test_what_the_judge_may_be_named_by(judged, shape):
    if shape == "run":
        other = cli("run", "config.yaml", "--set", "judge.params.tag=b", "--output", "other", cwd=judged)
        assert other.returncode == 3, other.stderr
        named = "other"
    else:
        tree = yaml.safe_load((judged / "config.yaml").read_text()) | {"judge": section("b")}
        if shape == "reward_model":
            tree["reward_model"] = tree.pop("judge")
        (judged / "named.yaml").write_text(yaml.safe_dump(tree))
        named = "named.yaml"
    done = cli("score", "run", "--judge", named, cwd=judged)
    assert done.returncode == 3, done.stderr
    [other] = report(judged)["others"]
    assert other["headline"]["mean"] == pytest.approx(7.0)


def test_on_another_scale_order_alone_compares(judged):
    (judged / "c-short.yaml").write_text(yaml.safe_dump(section("c", rubric="short.yaml")))
    done = cli("score", "run", "--judge", "c-short.yaml", cwd=judged)
    assert done.returncode == 0, done.stderr
    [other] = report(judged)["others"]
    bridge = other["bridge"]
    assert other["scale"] == [0, 5]
    assert (bridge["n"], bridge["same_scale"], bridge["shift"], bridge["equal"]) == (6, False, None, None)
    # A 8 6 4 9 5 7, C 2 3 1 4 2 5: one pair tied, of the other 14 the first with the second and with the last, and
    # the fourth with the last, in opposite orders.
    assert (bridge["tied"], bridge["ordered"], bridge["concordant"]) == (1, 14, pytest.approx(11 / 14))
    assert "Scales:             differ: nothing is rescaled, order alone compares" in done.stdout


def test_with_nothing_in_common_there_is_a_dash(tmp_path):
    write(tmp_path, a=["7", "6", "refused"], b=["refused", "5", "4"])
    assert cli("run", "config.yaml", cwd=tmp_path).returncode == 3
    done = cli("score", "run", "--judge", "b.yaml", cwd=tmp_path)
    assert "In common:             1" in done.stdout
    for label in ("Mean shift", "Spearman", "Pairs in one order", "Equal scores"):
        assert f"{label + ':':<23}-\n" in done.stdout + "\n"


def test_a_judge_that_always_says_the_same(tmp_path):
    write(tmp_path, a=["7", "6", "5"], b=["5", "5", "5"])
    assert cli("run", "config.yaml", cwd=tmp_path).returncode == 0
    done = cli("score", "run", "--judge", "b.yaml", cwd=tmp_path)
    assert "Spearman:              -\n" in done.stdout
    assert "Pairs in one order:    - (all 3 are tied)" in done.stdout


def test_the_judge_of_the_config_is_the_runs_own_and_none_is_forgotten(judged):
    """The config's judge changes from a to b and back: each time the other one stays, beside."""
    cli("score", "run", "--judge", "a.yaml", "--set", "judge.params.tag=c", cwd=judged)
    assert [one["headline"]["mean"] for one in report(judged)["others"]] == [pytest.approx(17 / 6)]
    changed = cli("run", "config.yaml", "--set", "judge.params.tag=b", cwd=judged)
    assert "changed since this run began: judge.params.tag: a -> b" in changed.stdout
    found = report(judged)
    assert found["headline"]["mean"] == pytest.approx(7.0)
    assert [one["headline"]["mean"] for one in found["others"]] == [pytest.approx(17 / 6), pytest.approx(6.5)]
    back = cli("run", "config.yaml", cwd=judged)
    assert "Nothing to do" in back.stdout
    found = report(judged)
    assert found["headline"]["mean"] == pytest.approx(6.5)
    assert [one["headline"]["mean"] for one in found["others"]] == [pytest.approx(17 / 6), pytest.approx(7.0)]
    info = json.loads((judged / "run" / "run.json").read_text())
    assert info["config"]["judge"]["params"] == {"tag": "a"}
    assert [one["config"]["params"]["tag"] for one in info["other_judges"]] == ["c", "b"]


def test_a_run_that_was_only_edited_takes_the_judge_for_its_own(tmp_path):
    write(tmp_path, a=A, b=B)
    assert cli("edit", "config.yaml", cwd=tmp_path).returncode == 0
    done = cli("score", "run", "--judge", "b.yaml", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    found = report(tmp_path)
    assert (found["headline"]["mean"], found["others"]) == (pytest.approx(7.0), [])
    again = cli("score", "run", cwd=tmp_path)
    assert again.stdout.startswith("Nothing to do")


def test_the_runs_own_judge_named_again_is_the_same_one(judged):
    done = cli("score", "run", "--judge", "a.yaml", cwd=judged)
    assert (done.returncode, done.stdout.startswith("Nothing to do")) == (0, True)
    assert report(judged)["others"] == []


def test_a_run_recorded_before_there_were_several_judges(judged):
    before = report(judged)
    path = judged / "run" / "run.json"
    info = json.loads(path.read_text())
    for start in info["starts"]:
        del start["judge"]
    path.write_text(json.dumps(info))
    ledger = judged / "run" / "verdicts.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    ledger.write_text(
        "".join(json.dumps({k: v for k, v in line.items() if k != "judge"}) + "\n" for line in lines)
    )
    assert own(report(judged)) == own(before)
    assert cli("score", "run", "--judge", "b.yaml", cwd=judged).returncode == 3
    assert own(report(judged)) == own(before)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("benchmark: {type: folder}", "names no judge"),
        ("type: tagged:Tagged\nrubrik: two.yaml", "judge.rubrik: unknown key"),
        ("type: tagged:Tagged\nrubric: gone.yaml", "gone.yaml"),
        ("- 3", "is no config"),
        (None, "no config at b.yaml"),
    ],
)
def test_a_wrong_judge_is_one_line_and_leaves_the_run_alone(judged, text, said):
    before = {path.name: path.read_bytes() for path in (judged / "run").glob("*.json*")}
    (judged / "b.yaml").unlink()
    if text is not None:
        (judged / "b.yaml").write_text(text)
    done = cli("score", "run", "--judge", "b.yaml", cwd=judged)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert {path.name: path.read_bytes() for path in (judged / "run").glob("*.json*")} == before
