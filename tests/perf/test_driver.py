"""perf/driver.py runs anywhere, says what it promises to say, and leaves nothing behind."""

from __future__ import annotations

import re

from perf_scripts import run_script


def test_it_says_how_busy_a_driver_is_and_how_many_appends_an_edit_costs(tmp_path):
    arguments = ["--devices", "4", "40", "--messages", "600", "--steps", "5"]
    # 1: too slow, as on a machine that is busy
    done = run_script("driver.py", tmp_path, *arguments, timeout_s=200, ends_with=(0, 1))
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
    assert re.match(r"ledger append alone: \d\.\d{3} ms of CPU, [\d,]+ a second\n", done.stdout)
    rows = re.findall(
        r"^ +(\d+) +[\d,]+ +\d+\.\d\d% +(\d+\.\d)% +(\d+\.\d\d) +\d+$", done.stdout, re.MULTILINE
    )
    assert [row[0] for row in rows] == ["4", "40"]
    assert all(float(kept) > 50 for _, kept, _ in rows)
