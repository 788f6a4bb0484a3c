"""What `harness.cli` starts by a fork of a process that is ready is what Python starts: the same words, streams and codes."""

from __future__ import annotations

import os
import subprocess

import pytest
from harness import PYTHONPATH, cli
from ready import Ready


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["ls"], ["run", "none.yaml"], ["report"], ["ls", "judges", "--runs", "\udcff"]],
)
def test_a_command_says_the_same_whichever_way_it_is_started(tmp_path, arguments):
    ready, anew = (cli(*arguments, cwd=tmp_path, anew=how) for how in (False, True))
    assert (ready.returncode, ready.stdout, ready.stderr) == (anew.returncode, anew.stdout, anew.stderr)


def test_what_is_given_to_one_command_is_not_there_for_the_next(tmp_path):
    (tmp_path / "mine.py").write_text("raise ValueError('mine is imported')\n")
    set_type = ("run", "c.yaml", "--set", "editor.type=mine:Editor")
    (tmp_path / "c.yaml").write_text("benchmark: {type: scenes}\neditor: {type: scripted}\n")
    (tmp_path / "elsewhere").mkdir()
    more = {"PYTHONPATH": os.pathsep.join([str(tmp_path), PYTHONPATH]), "HF_ENDPOINT": "nowhere"}
    assert "mine is imported" in cli(*set_type, cwd=tmp_path, env=more).stderr
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "c.yaml").rename(elsewhere / "c.yaml")
    assert "No module named 'mine'" in cli(*set_type, cwd=elsewhere).stderr


def test_what_counts_when_python_starts_is_started_as_usual(tmp_path):
    ready = Ready()
    try:
        assert ready.serves({**os.environ, "HF_HUB_OFFLINE": "1"})
        assert not ready.serves({**os.environ, "PYTHONIOENCODING": "ascii"})
        (tmp_path / "sitecustomize.py").touch()
        assert not ready.serves({**os.environ, "PYTHONPATH": str(tmp_path)})
    finally:
        ready.close()


def test_a_command_that_takes_too_long_is_ended(tmp_path):
    os.mkfifo(tmp_path / "c.yaml")
    ready = Ready()
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            ready.run(["run", "c.yaml"], tmp_path, os.environ, 0.5)
        assert ready.run(["--version"], tmp_path, os.environ, 60).returncode == 0
    finally:
        ready.close()
