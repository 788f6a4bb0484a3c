"""perf/report.py runs anywhere, says what it promises to say, and leaves nothing behind."""

from __future__ import annotations

import re

from perf_scripts import run_script


def test_it_says_seconds_memory_and_the_ratio_to_the_bare_cards(tmp_path):
    done = run_script("report.py", tmp_path, "--samples", "40", timeout_s=200)
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
