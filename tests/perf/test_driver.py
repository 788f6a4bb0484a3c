"""perf/driver.py runs anywhere, says what it promises to say, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import edit_eval

SCRIPT = Path(__file__).resolve().parents[2] / "perf" / "driver.py"


def test_it_says_how_busy_a_driver_is_and_how_many_appends_an_edit_costs(tmp_path):
    arguments = ["--devices", "4", "40", "--messages", "600", "--steps", "5"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
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
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: too slow, as on a machine that is busy
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
    assert re.match(r"ledger append alone: \d\.\d{3} ms of CPU, [\d,]+ a second\n", done.stdout)
    rows = re.findall(
        r"^ +(\d+) +[\d,]+ +\d+\.\d\d% +(\d+\.\d)% +(\d+\.\d\d) +\d+$", done.stdout, re.MULTILINE
    )
    assert [row[0] for row in rows] == ["4", "40"]
    assert all(float(kept) > 50 for _, kept, _ in rows)
