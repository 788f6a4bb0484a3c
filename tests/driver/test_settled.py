"""That no verdict is missing is believed as long as nothing changed that could say otherwise, and no longer."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edit_eval.driver.plan import Against, Judging
from edit_eval.driver.rubrics import load_rubric
from edit_eval.driver.settled import is_settled, ledger_is_as_noted, note_settled, verdicts_hang_on

JUDGING = Judging({"name": "j", "version": 1}, {"": load_rubric("general-v1")}, ("target",))


def hanging_on(
    root: Path, judging: Judging = JUDGING, *, twice: float = 0.0, retry_failed: bool = False
) -> str:
    return verdicts_hang_on(root, judging, twice=twice, retry_failed=retry_failed)


@pytest.fixture
def run(tmp_path):
    """Return a run directory in which no verdict was missing."""
    for name in ("samples.jsonl", "edits.jsonl", "verdicts.jsonl"):
        (tmp_path / name).write_text("one\ntwo\n")
    note_settled(tmp_path, hanging_on(tmp_path))
    assert is_settled(tmp_path, hanging_on(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["samples.jsonl", "edits.jsonl", "verdicts.jsonl"])
def test_a_file_that_changed_in_place_is_looked_into_though_its_size_and_time_are_as_before(run, name):
    before = (run / name).stat()
    time.sleep(0.02)  # the clock of the file system ticks every few milliseconds
    (run / name).write_text("one\nTWO\n")
    os.utime(run / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not is_settled(run, hanging_on(run))


def test_another_judge_or_another_wish_is_another_question(run):
    others = [
        hanging_on(run, replace(JUDGING, identity={"name": "j", "version": 2})),
        hanging_on(run, replace(JUDGING, rubrics={"": load_rubric("reference-v1")})),
        hanging_on(run, replace(JUDGING, reads=("reference", "target"))),
        hanging_on(run, twice=0.5),
        hanging_on(run, retry_failed=True),
    ]
    assert len({*others, hanging_on(run)}) == 6
    assert not any(is_settled(run, one) for one in others)


def test_what_is_compared_with_another_run_is_never_settled(run):
    compared = hanging_on(run, replace(JUDGING, against=Against("/other", {})))
    assert compared == ""
    note_settled(run, compared)
    assert not is_settled(run, compared)
    assert is_settled(run, hanging_on(run))  # of the other judge


def test_a_file_that_is_missing_settles_nothing(run):
    (run / "verdicts.jsonl").unlink()
    assert hanging_on(run) == ""


@pytest.mark.parametrize("text", [b"", b"\xff", b"0" * 64])
def test_a_note_that_is_damaged_is_none(run, text):
    (run / ".settled").write_bytes(text)
    assert not is_settled(run, hanging_on(run))


def test_a_note_that_cannot_be_written_is_no_fault(run):
    (run / ".settled").unlink()
    (run / ".settled").mkdir()
    note_settled(run, hanging_on(run))
    assert not is_settled(run, hanging_on(run))


def test_a_ledger_is_read_at_the_start_unless_it_was_read_before_and_is_the_same_file(run):
    assert ledger_is_as_noted(run)
    with (run / "verdicts.jsonl").open("a") as file:
        file.write("three")
    assert not ledger_is_as_noted(run)
    (run / "verdicts.jsonl").unlink()
    assert not ledger_is_as_noted(run)
    (run / ".settled").unlink()
    assert not ledger_is_as_noted(run)
