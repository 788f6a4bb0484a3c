"""Shards and their merge, as a person runs them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import PYTHONPATH, make_benchmark

from edit_eval.cli import main
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import read_rows
from edit_eval.views.export import canonical_lines

CONFIG = """\
benchmark: {type: scenes, params: {n: 12, size: 96}}
editor: {type: scripted, devices: [cpu:0, cpu:1], params: {error_rate: 0.4}}
judge: {type: reference, devices: [cpu:0, cpu:1], batch_size: 2}
"""


def told(*arguments, cwd, code=0):
    """Give a command in this process, which has imported everything; return what it wrote."""
    out, said = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(said),
    ):
        patch.chdir(cwd)
        patch.setenv("XDG_CACHE_HOME", str(cwd / "cache"))
        try:
            found = main(arguments)
        except SystemExit as end:  # of the parser of arguments
            found = end.code
    assert found == code, out.getvalue() + said.getvalue()
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), said.getvalue())


def canonical(path: Path) -> list[str]:
    return list(canonical_lines(read_rows(RunReader(path), thumbnails=False)))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Return a folder with a run, `whole`, and the same one in two shards, `m`; nobody changes it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "c.yaml").write_text(CONFIG)
    told("run", "c.yaml", "--output", "whole", cwd=folder)
    told("run", "c.yaml", "--output", "m", "--shard", "0/2", cwd=folder)
    told("run", "c.yaml", "--output", "m", "--shard", "1/2", "--devices", "cpu:0", cwd=folder)
    return folder


@pytest.fixture
def place(made, tmp_path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(made, tmp_path / "place", symlinks=True))


def test_shards_that_are_not_there_are_named(tmp_path):
    line = told("merge", "没有", cwd=tmp_path, code=2).stderr
    assert line == "edit-eval: 没有 does not exist; name shards, or the folder shards of a run\n"


def test_merged_shards_are_the_run_without_shards(place):
    early = told("merge", "m/shards/0-of-2", "--output", "m", cwd=place, code=2)
    assert (
        early.stderr == "edit-eval: not there: shard 1/2; finish it, or merge what there is with --partial\n"
    )
    merged = told("merge", "m/shards/0-of-2", "m/shards/1-of-2", "--output", "m", cwd=place)
    assert merged.stdout.startswith("Merged 2 of 2 shards into m: 12 edits, 12 verdicts\n")
    for name in ("1/2 CPU 0", "Report: m/report/index.html"):
        assert name in merged.stdout
    exports = [told("export", name, "--canonical", cwd=place).stdout for name in ("m", "whole")]
    assert exports[0] == exports[1]
    assert len(exports[0].splitlines()) == 12
    again = told("run", "c.yaml", "--output", "m", cwd=place)
    assert again.stdout.startswith("Nothing to do")
    assert told("merge", "m/shards", cwd=place).stdout == merged.stdout
    compared = told("compare", "whole", "m", cwd=place).stdout
    assert "whole and m have the same score in all 12 samples that both scored." in compared


def test_a_part_is_merged_and_gone_on_with_in_one_place(place):
    part = told("merge", "m/shards/1-of-2", "--partial", cwd=place, code=3)
    assert part.stderr == "edit-eval: not there: shard 0/2\n"
    assert "(partial)" in part.stdout
    told("run", "m", cwd=place)
    assert canonical(place / "m") == canonical(place / "whole")
    told("merge", "m/shards", cwd=place)
    assert canonical(place / "m") == canonical(place / "whole")


def test_a_shard_is_a_run(place):
    shard = "m/shards/0-of-2"
    report = json.loads(told("report", shard, "--format", "json", cwd=place).stdout)
    assert report["run"] == "m shard 0/2"
    assert report["facts"]["shard"] == "0/2"
    assert report["coverage"] == 1
    assert 0 < report["wanted"] < 12
    assert len(canonical(place / shard)) == report["wanted"]
    again = told("run", shard, cwd=place).stdout
    assert again.startswith(f"Nothing to do: everything in {shard} is done already.")
    assert "Shard:     0/2, a part of the run's samples; edit-eval merge puts them together" in again
    shutil.rmtree(place / "m/shards/1-of-2")
    forecast = told("run", "c.yaml", "--output", "m", "--shard", "1/2", "--dry-run", cwd=place).stdout
    assert f"Edits     {12 - report['wanted']} left of {12 - report['wanted']}" in forecast


def test_what_cannot_be_done_is_refused_in_one_line(place):
    for arguments, said in [
        (["merge", "m"], "name the run that the shards become: --output RUN"),
        (
            ["merge", "m", "--output", "x"],
            "m is no run directory (no run.json in it; it has shards: 'edit-eval merge m/shards' ",
        ),
        (
            ["report", "m"],
            "m is no run directory (no run.json in it; it has shards: 'edit-eval merge m/shards' ",
        ),
        (["merge", "m/shards/0-of-2", "--output", "m/shards/0-of-2"], "m/shards/0-of-2 is one of the shards"),
        (
            ["run", "m/shards/0-of-2", "--shard", "1/2"],
            "shard: this is shard 0/2 already, and none of it is 1/2",
        ),
        (
            ["run", "c.yaml", "--shard", "2/2"],
            "argument --shard: '2/2': there is no such shard; they are counted from 0, so the last of 2 is 1/2; see",
        ),
    ]:
        line = told(*arguments, cwd=place, code=2).stderr
        assert line.startswith(f"edit-eval: {said}")
        assert line.count("\n") == 1


def test_a_run_that_was_edited_in_one_place_is_judged_in_shards(place):
    told("edit", "c.yaml", "--output", "e", cwd=place)
    for shard in ("0/2", "1/2"):
        told("score", "e", "--shard", shard, cwd=place)
    merged = told("merge", "e/shards", cwd=place).stdout
    assert merged.startswith("Merged 2 of 2 shards into e: 12 edits, 12 verdicts\n")
    assert canonical(place / "e") == canonical(place / "whole")
    starts = json.loads((place / "e" / "run.json").read_text())["starts"]
    assert len(starts) == 3  # the run's own, which is still told of, and one of each shard
    assert [any(name.startswith("edit ") for name in start["hosts"]) for start in starts] == [
        True,
        False,
        False,
    ]


def test_a_shard_to_which_no_sample_falls_is_complete(place):
    said = [
        told("run", "c.yaml", "--limit", "1", "--output", "one", "--shard", f"{i}/2", cwd=place)
        for i in (0, 1)
    ]
    assert sum(one.stdout.startswith("Nothing to do: no sample falls to shard ") for one in said) == 1
    assert "1 edits, 1 verdicts" in told("merge", "one/shards", cwd=place).stdout


def kill_after_edits(place: Path, ledger: Path, count: int, *arguments: str) -> None:
    """Start a shard, and kill it once it has made so many edits."""
    env = {**os.environ, "PYTHONPATH": PYTHONPATH, "XDG_CACHE_HOME": str(place / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-m", "edit_eval", *arguments], cwd=place, env=env, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 100
    while not (ledger.exists() and ledger.read_bytes().count(b"\n") >= count):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()


def test_killed_resumed_on_other_devices_and_another_disk_they_are_the_same_run(tmp_path):
    """With samples that fail, and repeats."""
    what = ["sleep:0.1", "raise", "sleep:0.1", "ok"] * 2
    tags = [{"judge": "raise"} if one == "ok" else {} for one in what]
    (tmp_path / "c.yaml").write_text(
        f"benchmark: {{type: folder, path: {make_benchmark(tmp_path / 'data', what, tags)}}}\n"
        "editor: {type: 'faulty:FaultyEditor', devices: [cpu:0]}\n"
        "judge: {type: 'faulty:FaultyJudge', devices: [cpu:0], batch_size: 2}\n"
        "repeats: 2\nmin_coverage: 0\n"
    )
    shard = ("run", "c.yaml", "--output", "m", "--shard", "0/2")
    told("run", "c.yaml", "--output", "whole", cwd=tmp_path)
    kill_after_edits(tmp_path, tmp_path / "m/shards/0-of-2/edits.jsonl", 2, *shard)
    told(*shard, "--devices", "cpu:0,cpu:1,cpu:2", cwd=tmp_path)
    told("run", "c.yaml", "--output", "other disk/m", "--shard", "1/2", cwd=tmp_path)
    (tmp_path / "other disk/m/shards/1-of-2").rename(tmp_path / "carried")
    assert told("run", "carried", cwd=tmp_path).stdout.startswith("Nothing to do")
    told("merge", "m/shards", "carried", "--output", "m", cwd=tmp_path)
    assert canonical(tmp_path / "m") == canonical(tmp_path / "whole")
    assert {(one["edit"], one["verdict"]) for one in map(json.loads, canonical(tmp_path / "m"))} == {
        ("edited", "scored"),
        ("edited", "unscored"),
        ("failed", "missing"),
    }
    assert told("run", "m", cwd=tmp_path).stdout.startswith("Nothing to do")


@pytest.mark.long
def test_the_demo_in_shards_is_the_demo(tmp_path):
    quick = ("--set", "benchmark.params.n=6", "--display", "none")
    told("demo", *quick, "--output", "whole", cwd=tmp_path)
    end: list[str] = []
    for shard in ("0/2", "1/2"):
        end = told("demo", *quick, "--shard", shard, cwd=tmp_path).stdout.splitlines()[-3:]
        assert end == [
            "  edit-eval merge runs/demo/20-steps/shards",
            "  edit-eval merge runs/demo/2-steps/shards",
            "  edit-eval compare runs/demo/20-steps runs/demo/2-steps",
        ]
    for line in end:
        assert told(*line.split()[1:], cwd=tmp_path).returncode == 0
    for name in ("20-steps", "2-steps"):
        assert canonical(tmp_path / "runs/demo" / name) == canonical(tmp_path / "whole" / name)
