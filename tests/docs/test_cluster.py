"""docs/cluster.md: what can run without Slurm, containers and the internet runs here, as it stands on the page."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from harness import PYTHONPATH, make_benchmark

from edit_eval.driver.config import Config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ELSEWHERE = re.compile(
    r"^(?:\w+=(?:\"[^\"]*\"|\S+) )?(?:sbatch|srun|docker|apptainer|ray|edit-eval fetch|python3 -m venv)",
    re.MULTILINE,
)


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(PAGE) if found == language]


@pytest.fixture
def place(tmp_path):
    """Return a folder with a config and an `edit-eval` in the PATH."""
    benchmark = make_benchmark(tmp_path / "data", ["ok"] * 2)
    (tmp_path / "my.yaml").write_text(
        f"benchmark: {{type: folder, path: {benchmark}}}\n"
        "editor: {type: 'faulty:FaultyEditor', devices: [cpu:0]}\n"
        "judge: {type: 'faulty:FaultyJudge', devices: [cpu:0]}\n"
        "output: runs/mine\n"
    )
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "edit-eval"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m edit_eval "$@"\n')
    program.chmod(0o755)
    return tmp_path


def test_its_commands_do_what_it_says(place):
    script = "set -eu\n" + "\n".join(blocks("sh"))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=place,
        env={
            **os.environ,
            "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": PYTHONPATH,
            "XDG_CACHE_HOME": str(place / "cache"),
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for name in ("inductor", "triton", "vllm", "cuda"):
        assert f"\n{name}\n" in done.stdout
    run = place / "together" / "run"
    assert run.stat().st_mode & stat.S_ISGID
    assert stat.S_IMODE((run / "edits.jsonl").stat().st_mode) == 0o664
    assert not (place / "runs" / "mine" / "pause").exists()


def test_what_is_not_run_needs_what_is_not_here():
    assert {language for language, _ in BLOCK.findall(PAGE)} == {"sh", "bash"}
    assert len(blocks("sh")) >= 5
    for text in blocks("bash"):
        assert ELSEWHERE.search(text), text


def test_files_that_it_names_are_there():
    for path in re.findall(r"(?:examples|docker)/[\w./-]+\w", PAGE):
        assert (ROOT / path).is_file(), path


def test_figures_are_those_of_the_script_and_the_config():
    script = (ROOT / "examples" / "slurm" / "run.sbatch").read_text(encoding="utf-8")
    [signal] = set(re.findall(r"--signal=B:USR1@\d+", PAGE))
    assert f"#SBATCH {signal}\n" in script
    [grace] = re.findall(r"the script sets (\d+) s", PAGE)
    assert f"grace_s={grace} " in script
    assert "MOST_RESTARTS:-20" in script
    assert "20 times at most" in PAGE
    assert f"`grace_s` ({Config.model_fields['grace_s'].default:.0f} s)" in PAGE
