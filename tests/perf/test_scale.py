"""perf/scale.py runs anywhere, says what it promises to say, and leaves nothing behind."""

from __future__ import annotations

import re

import pytest
from perf_scripts import run_script

MEASURED = r"( +\d+\.\d\d){2} +\d+"
GROWTH = r" +\d+\.\d +-?\d+\.\d\d"


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("scale")
    arguments = ["--sizes", "150", "30", "--ledger", "3000", "--shared", "3"]
    done = run_script("scale.py", folder, *arguments)
    assert list(folder.iterdir()) == []
    return done.stdout.splitlines()


def test_the_sizes_stand_above_their_columns_in_order(printed):
    assert printed[0].split()[:2] == ["30", "150"]
    assert printed[1].split() == ["wall", "s", "CPU", "s", "MiB"] * 2


@pytest.mark.parametrize(
    "name",
    [
        "first start",
        "resume",
        "... its plan",
        "... not settled",
        "plan to judge",
        "report",
        "report --format json",
        "export --canonical",
        "reading a ledger",
        "... json.loads (baseline)",
    ],
)
def test_seconds_and_memory_at_both_sizes_with_ratio_and_exponent(printed, name):
    [line] = [line for line in printed if re.match(re.escape(name) + r" {2,}", line)]
    assert re.fullmatch(f"{re.escape(name)}{MEASURED}{MEASURED}{GROWTH}", line), line


@pytest.mark.parametrize("name", ["... an edit, us", "... a verdict, us", "appending a line, us"])
def test_microseconds_at_both_sizes(printed, name):
    [line] = [line for line in printed if line.startswith(name)]
    assert re.fullmatch(rf"{re.escape(name)} +\d+\.\d +\d+\.\d{GROWTH}", line), line


def test_a_long_ledger_beside_the_baseline_and_the_judgement(printed):
    assert re.search(
        r"a ledger of 3,000 lines .* MiB; with json.loads .*: \d+\.\d times as long", "\n".join(printed)
    )
    assert printed[-1] == "no worse than linear, and as promised"
