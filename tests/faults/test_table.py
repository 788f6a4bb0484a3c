"""The table itself: it adds up, it can be written into a page, and the page in docs/ is not stale."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from faults.rows import FAULTS
from faults.suite import trials
from faults.table import BEGIN, END, Line, Table, lines_in, notes_in

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reliability.md"


def table_of(*lines: Line) -> Table:
    return Table(lines)


def test_trials_add_up_and_one_that_failed_is_not_survived():
    table = Table()
    table.add("a", "x", 2, right=True, lost=0, doubled=0)
    table.add("a", "x", 3, right=False, lost=1, doubled=2)
    assert list(table.lines.values()) == [Line("a", "x", 5, 2, 1, 2)]
    assert table.text().splitlines() == [
        "fault  injected  survived  lost  doubled",
        "x             5         2     1        2",
    ]


def test_tables_of_several_processes_make_one(tmp_path):
    first, second = (
        table_of(Line("a", "y", 2, 2), Line("a", "x", 1, 0, 3)),
        table_of(Line("a", "x", 4, 4, 0, 1)),
    )
    second.notes["x"] = "took 3 s"
    whole = Table()
    for one in (first, second, Table()):
        whole.join(Table.from_json(json.loads(json.dumps(one.to_json()))))
    assert list(whole.in_order([("a", "x"), ("a", "y")]).lines.values()) == [
        Line("a", "x", 5, 4, 3, 1),
        Line("a", "y", 2, 2),
    ]
    assert whole.in_order([]).notes == {"x": "took 3 s"}
    assert whole.in_order([]).lines.keys() == whole.lines.keys()


@pytest.mark.long
@pytest.mark.parametrize("how", [(), ("--numprocesses", "2")])
def test_the_table_is_printed_whoever_ran_the_trials(tmp_path, how):
    page = tmp_path / "table.json"
    test = f"{HERE / 'test_faults.py'}::test_nothing_is_lost_or_done_twice"
    shots = [f"{test}[messages: garbage from a keeper {number}]" for number in range(2)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *how, *shots]
    env = {**os.environ, "EDIT_EVAL_FAULT_TABLE": str(page)}
    done = subprocess.run(command, cwd=HERE.parents[1], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = json.loads(page.read_text())
    assert (line["injected"], line["survived"], line["lost"], line["doubled"]) == (2, 2, 0, 0), done.stdout


def test_a_page_keeps_what_was_not_injected_now(tmp_path):
    page = tmp_path / "page.md"
    order = [("a", "x"), ("a", "y"), ("b", "z")]
    page.write_text(f"before\n\n{BEGIN}\n{END}\n\nafter\n")
    table_of(Line("b", "z", 1, 1), Line("a", "x", 2, 2), Line("a", "gone", 9, 9)).write(page, order)
    table_of(Line("a", "y", 3, 3), Line("a", "x", 4, 4)).write(page, order)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\n\nafter\n")
    assert lines_in(text) == [Line("a", "x", 4, 4), Line("a", "y", 3, 3), Line("b", "z", 1, 1)]


def test_a_page_keeps_what_was_measured_and_not_measured_now(tmp_path):
    page = tmp_path / "page.md"
    order = [("a", "x"), ("a", "y")]
    table = table_of(Line("a", "x", 2, 2))
    table.notes["x"] = "took 3 s: well"
    assert table.text().splitlines()[-1] == "x: took 3 s: well"
    table.write(page, order)
    other = table_of(Line("a", "y", 3, 3))
    other.notes["y"] = "took 4 s"
    other.write(page, order)
    assert notes_in(page.read_text()) == {"x": "took 3 s: well", "y": "took 4 s"}
    assert lines_in(page.read_text()) == [Line("a", "x", 2, 2), Line("a", "y", 3, 3)]
    table.notes["x"] = "took 5 s"
    table.write(page, order)
    assert notes_in(page.read_text()) == {"x": "took 5 s", "y": "took 4 s"}


def test_json(tmp_path):
    table_of(Line("a", "x", 2, 2)).write(tmp_path / "t.json", [])
    assert json.loads((tmp_path / "t.json").read_text()) == [
        {"family": "a", "name": "x", "injected": 2, "survived": 2, "lost": 0, "doubled": 0}
    ]


def test_every_fault_has_a_name_of_its_own_and_is_injected():
    names = Counter((fault.family, fault.name) for fault in FAULTS)
    assert set(names.values()) == {1}
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert all(0 <= fault.short <= fault.long > 0 for fault in FAULTS)
    assert len(trials(FAULTS)) == sum(fault.long for fault in FAULTS)
    assert not any("|" in fault.name or fault.name.startswith("*") for fault in FAULTS)


def test_the_page_shows_the_suite_as_it_is_and_nothing_lost():
    shown = lines_in(PAGE.read_text(encoding="utf-8"))
    assert [(line.family, line.name) for line in shown] == [(fault.family, fault.name) for fault in FAULTS]
    assert not [line for line in shown if line.lost or line.doubled or line.survived != line.injected]
    few = [line for line, fault in zip(shown, FAULTS, strict=True) if line.injected < fault.long]
    assert not few


def test_the_driver_was_killed_a_hundred_times():
    shown = {line.name: line.injected for line in lines_in(PAGE.read_text(encoding="utf-8"))}
    assert shown["SIGKILL of the driver, then other devices"] >= 100
