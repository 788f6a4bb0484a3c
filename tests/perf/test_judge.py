"""The scripts that measure judging run anywhere and print what they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import edit_eval

PERF = Path(__file__).resolve().parents[2] / "perf"
pytestmark = [pytest.mark.models, pytest.mark.long]


def printed(script: str, folder: Path, *arguments: str) -> str:
    env = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(Path(edit_eval.__file__).parents[1])}
    command = [sys.executable, str(PERF / script), "--tiny", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_way_is_measured_beside_the_baseline(tmp_path):
    text = printed("judge.py", tmp_path, "--only", "described", "expected-3", "vllm")
    assert "left out, for vLLM is not here: vllm" in text
    table = text[text.index("\nway ") :]
    assert re.search(r"^described +16 .* 1\.0$", table, re.MULTILINE)
    assert re.search(r"^expected-3 +32 .* \d+\.\d$", table, re.MULTILINE)


def test_scaling_says_what_is_arithmetic(tmp_path):
    text = printed("scaling.py", tmp_path)
    assert re.search(r"^all, warm +2 device\(s\), transformers: 8 verdicts in .* x one$", text, re.MULTILINE)
    assert "by arithmetic and not measured" in text
