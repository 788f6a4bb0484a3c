"""A run as a table, for notebooks and other programs: what is not there is missing, never 0."""

from __future__ import annotations

import subprocess
import sys

import pytest
from written import Item, write_run

import edit_eval
from edit_eval.core.errors import RunError, UserError

pandas = pytest.importorskip("pandas")

ITEMS = {
    "a": Item([5.0, 7.0], tags={"category": "add", "language": "en"}, quality=1, cluster="x"),
    "b": Item(["refused", 3.0], tags={"category": "remove"}),
    "c": Item(["failed:crash", None], edit_instruction="do it well"),
    "d": Item(["edited", "edited"]),
}
TYPES = {"text": "string", "whole": "Int64", "number": "Float64"}


@pytest.fixture
def loaded(tmp_path):
    write_run(tmp_path / "run", ITEMS)
    return edit_eval.load(tmp_path / "run")


def test_one_row_a_sample_and_repeat(loaded, tmp_path):
    rows = loaded.to_rows()
    assert len(rows) == len(loaded) == 8
    assert rows == list(loaded)
    assert all(list(row) == list(loaded.columns) for row in rows)
    first = rows[0]
    kept = (
        "index",
        "sample",
        "repeat",
        "instruction",
        "cluster",
        "tag:category",
        "status",
        "overall",
        "seed",
    )
    assert [first[name] for name in kept] == [0, "a", 0, "do it", "x", "add", "scored", 5.0, 0]
    assert (first["score:instruction"], first["score:quality"], first["reason:quality"]) == (4.0, 6.0, "seen")
    assert (first["device"], first["judge_device"], first["seconds"]) == ("CPU 0", "CPU 1", 1.5)
    assert first["image"] == str(tmp_path / "run" / "images" / "00" / f"{0:064x}.png")
    assert (first["source"], first["flags"]) == ("/f.png", "")


def test_what_has_no_score_says_why_and_has_no_number(loaded):
    rows = loaded.to_rows()
    said = [(row["status"], row["kind"], row["why"]) for row in rows[2:]]
    assert said == [
        ("unscored", "refused", "it is refused"),
        ("scored", None, None),
        ("edit-failed", "crash", "it is crash"),
        ("not edited", None, None),
        ("not judged", None, None),
        ("not judged", None, None),
    ]
    missing = [row for row in rows if row["status"] != "scored"]
    assert {row[name] for row in missing for name in ("overall", "score:quality", "reason:quality")} == {None}
    assert rows[4]["edit_instruction"] == "do it well"
    assert rows[4]["flags"] is None


def test_a_frame_has_types_that_do_not_depend_on_what_is_missing(loaded, tmp_path):
    frame = loaded.to_frame()
    assert list(frame.columns) == list(loaded.columns)
    assert [str(one) for one in frame.dtypes] == [TYPES[kind] for kind in loaded.columns.values()]
    assert frame["overall"].isna().sum() == 5
    assert frame["overall"].mean() == 5.0
    write_run(tmp_path / "none", {"a": "refused"})
    other = edit_eval.load(tmp_path / "none").to_frame()
    assert [str(one) for one in other.drop(columns=[]).dtypes] == [
        str(frame[name].dtype) for name in other.columns
    ]


def test_the_summary_is_the_runs(loaded):
    assert loaded.summary.scored == 3
    assert loaded.summary.headline.mean == 4.5  # (6 + 3) / 2


def test_a_run_that_was_only_edited(tmp_path):
    write_run(tmp_path / "run", {"a": 5.0}, None)
    [row] = edit_eval.load(tmp_path / "run")
    assert (row["status"], row["overall"]) == ("not judged", None)
    assert not [name for name in row if name.startswith("score:")]


def test_no_run(tmp_path):
    with pytest.raises(RunError, match="is no run directory"):
        edit_eval.load(str(tmp_path))


def test_without_pandas_one_line_says_what_to_install(loaded, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"pip install 'edit-eval\[frame\]'"):
        loaded.to_frame()
    assert loaded.to_rows()


def test_importing_the_package_loads_nothing_else():
    code = (
        "import sys; before = set(sys.modules); import edit_eval; edit_eval.load\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['__future__', 'edit_eval']"
