"""perf/report.py runs anywhere, says what it promises to say, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import edit_eval

SCRIPT = Path(__file__).resolve().parents[2] / "perf" / "report.py"


def test_it_says_seconds_memory_and_the_ratio_to_the_bare_cards(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--samples", "40"],
        cwd=tmp_path,
        env={
            **os.environ,
            "TMPDIR": str(tmp_path),
            "PYTHONPATH": str(Path(edit_eval.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
    for name in ("report", "again", "bare cards"):
        assert (
            len(
                re.findall(rf"^  {name} +\d+\.\d\d +\d+\.\d\d +\d+ +\d+ +\d+\.\d$", done.stdout, re.MULTILINE)
            )
            == 2
        )
    assert re.search(r"takes \d+\.\d times the CPU of the bare cards", done.stdout)
    assert done.stdout.endswith("as promised\n")
