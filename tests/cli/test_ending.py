"""What was said at the end of a run is said again only of the same files."""

from __future__ import annotations

import gc
import json
import os

import pytest
from harness import Ran, cli, config_tree, make_benchmark

from edit_eval.cli import ending
from edit_eval.cli.ending import ending_of
from edit_eval.cli.garbage import collected, uncollected

FILES = ("run.json", "samples.jsonl", "edits.jsonl", "verdicts.jsonl", "telemetry.jsonl", "report/index.html")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok", "raise", "ok"]))
    tree["editor"]["devices"] = tree["judge"]["devices"] = ["cpu:0"]
    return Ran(tree).run.path


@pytest.fixture
def readings(monkeypatch):
    """Return a list that grows whenever a run is read."""
    seen = []
    real = ending.RunReader
    monkeypatch.setattr(ending, "RunReader", lambda path: seen.append(path) or real(path))
    return seen


def test_it_is_worked_out_once_and_said_again(run, readings):
    first = ending_of(run, None, changed=True)
    assert "Score:" in first.text
    assert (first.unfinished, first.edits_reach, first.scores_reach) == (1, False, False)
    assert first.data["coverage"] == pytest.approx(2 / 3)
    page = run / "report" / "index.html"
    before = page.stat().st_ino
    for _ in range(2):
        again = ending_of(run, None, changed=False)
        assert again.text == first.text
        assert json.dumps(again.data) == json.dumps(first.data)
        assert (again.unfinished, again.edits_reach, again.scores_reach) == (1, False, False)
    assert page.stat().st_ino == before
    assert len(readings) == 1
    assert ending_of(run, None, changed=True) == first  # something was done: not asked whether it is known
    assert len(readings) == 2


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", ["time", "longer"])
def test_a_file_that_is_another_one_makes_it_anew(run, readings, name, what):
    ending_of(run, None, changed=True)
    path = run / name
    stat = path.stat()
    if what == "longer":
        path.write_bytes(path.read_bytes().removesuffix(b"\n") + b" \n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + (what == "time")))
    ending_of(run, None, changed=False)
    assert len(readings) == 2
    ending_of(run, None, changed=False)
    assert len(readings) == 2


@pytest.mark.parametrize("name", ["telemetry.jsonl", "report/index.html", "report/ending.json"])
def test_a_file_that_is_gone_makes_it_anew(run, readings, name):
    ending_of(run, None, changed=True)
    (run / name).unlink()
    ending_of(run, None, changed=False)
    assert len(readings) == 2
    assert (run / "report" / "index.html").is_file()


def test_another_price_or_version_makes_it_anew(run, readings, monkeypatch):
    ending_of(run, None, changed=True)
    ending_of(run, 2.5, changed=False)
    ending_of(run, 2.5, changed=False)
    assert len(readings) == 2
    monkeypatch.setattr(ending, "__version__", "99.0")
    ending_of(run, 2.5, changed=False)
    assert len(readings) == 3


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\x00",
        b"null",
        b"[]",
        b"{}",
        b'{"made_of": {}}',
        *[
            json.dumps({"made_of": "AS IT IS", "ending": one}).encode()
            for one in ({}, None, {"text": 3}, {"text": "x", "data": 4, "unfinished": 0})
        ],
    ],
)
def test_what_is_kept_is_doubted_and_never_an_error(run, readings, damage):
    first = ending_of(run, None, changed=True)
    path = run / "report" / "ending.json"
    kept = json.loads(path.read_bytes())["made_of"]
    path.write_bytes(damage.replace(b'"AS IT IS"', json.dumps(kept).encode()))
    assert ending_of(run, None, changed=False) == first
    assert len(readings) == 2


def test_where_it_cannot_be_kept_it_is_worked_out_each_time(run, readings):
    (run / "report").mkdir(exist_ok=True)
    (run / "report" / "ending.json").mkdir()
    first = ending_of(run, None, changed=True)
    assert ending_of(run, None, changed=False) == first
    assert len(readings) == 2


def test_the_command_says_the_same_again(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(
        "benchmark: {type: scenes, params: {n: 4, size: 64}}\neditor: {type: scripted, devices: [cpu:0]}\n"
        "judge: {type: reference, devices: [cpu:0]}\noutput: run\n"
    )
    worked = cli("run", str(config), cwd=tmp_path)
    assert worked.returncode == 0, worked.stderr
    page = tmp_path / "run" / "report" / "index.html"
    before = page.stat().st_mtime_ns
    for _ in range(2):
        again = cli("run", str(config), cwd=tmp_path)
        assert again.returncode == 0
        assert again.stdout.startswith("Nothing to do: everything in run is done already.\nResult of run")
        said = again.stdout.split("\n", 1)[1]
        assert worked.stdout.endswith(said)
        assert page.stat().st_mtime_ns == before
    as_json = json.loads(cli("run", str(config), "--display", "json", cwd=tmp_path).stdout)
    assert (as_json["event"], as_json["worked"], as_json["scored"]) == ("run_finished", False, 4)
    assert as_json["report"] == "run/report/index.html"


def test_garbage_is_looked_for_only_while_a_run_goes_on():
    assert gc.isenabled()
    with uncollected():
        assert not gc.isenabled()
        with collected():
            assert gc.isenabled()
            assert gc.get_freeze_count() > 0
        assert not gc.isenabled()
        assert gc.get_freeze_count() == 0
    assert gc.isenabled()
    with pytest.raises(RuntimeError), uncollected():
        raise RuntimeError("said on")
    assert gc.isenabled()
