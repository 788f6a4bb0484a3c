"""Tables for papers and files for programs: whatever a text holds, it stays text."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.views.records import csv_lines, json_pieces, parquet_writer
from edit_eval.views.tables import Table, latex, markdown, signed
from views.samples import HOSTILE

text = st.text(st.characters(exclude_categories=()), max_size=12)
ESCAPES = re.compile(
    r"\\(textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar|char34)\{\}|\\[{}$&#_%]|\$[+-]\$|\{[\[*]\}"
)


def obeyed(line: str) -> list[str]:
    return [one for one in line if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]


def table(*cells: str) -> Table:
    return Table("scores", ("name", *["n"] * (len(cells) - 1)), (cells,))


@settings(max_examples=50, deadline=None)
@given(st.lists(text, min_size=1, max_size=4))
def test_no_character_of_a_text_means_anything_in_latex(cells):
    line = latex([table(*cells)]).splitlines()[-4]
    assert line.endswith(r" \\")
    parts = line.removesuffix(r" \\").split(" & ")
    assert len(parts) == len(cells)
    for part in parts:
        assert not re.search(r'[\\{}$&#_%^~<>|"\[*]', ESCAPES.sub("", part))
        assert not obeyed(part)


@settings(max_examples=50, deadline=None)
@given(st.lists(text, min_size=1, max_size=4))
def test_no_character_of_a_text_means_anything_in_markdown(cells):
    lines = markdown([table(*cells)]).splitlines()
    assert len(lines) == 5
    bare = re.sub(r"\\[\\`*_{}\[\]|~$#]|&(amp|lt|gt);", "", lines[-1])
    assert bare.count("|") == len(cells) + 1
    assert not re.search(r"[\\`*_{}\[\]~$#<>&]", bare)
    assert not obeyed(lines[-1])


def test_numbers_in_latex():
    [line] = [one for one in latex([table("x", "-1.5", "-1.0 to +2.0", "-")]).splitlines() if "x &" in one]
    assert line == r"x & $-$1.5 & $-$1.0 to $+$2.0 & -- \\"


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0.000"), (-0.0001, "0.000"), (0.5, "+0.500"), (-0.5, "-0.500"), (None, "-")]
)
def test_a_difference_that_rounds_to_nothing_has_no_sign(value, shown):
    assert signed(value) == shown


COLUMNS = {"a": "text", "b": "text", "n": "number", "i": "whole"}
row = st.fixed_dictionaries(
    {
        "a": text,
        "b": st.none() | text,
        "n": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "i": st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
    }
)


def valid(value):
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


@settings(max_examples=50, deadline=None)
@given(st.lists(row, max_size=4))
def test_csv_is_read_back_and_holds_no_formula(rows):
    written = "".join(csv_lines(COLUMNS, rows))
    head, *lines = csv.reader(io.StringIO(written, newline=""))
    assert head == list(COLUMNS)
    assert len(lines) == len(rows)
    for line, one in zip(lines, rows, strict=True):
        for cell, name in zip(line, COLUMNS, strict=True):
            value = valid(one[name])
            if isinstance(value, str):
                assert cell.removeprefix("'") == value.removeprefix("'")
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
            else:
                assert cell == ("" if value is None else str(value))


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_text_that_a_spreadsheet_would_compute_gets_an_apostrophe(start):
    lines = list(csv_lines({"a": "text", "n": "number"}, [{"a": start, "n": -1.5}]))
    [[_, _], [cell, number]] = csv.reader(io.StringIO("".join(lines), newline=""))
    assert (cell, number) == (f"'{start}", "-1.5")


@settings(max_examples=50, deadline=None)
@given(st.lists(row, max_size=4))
def test_json_is_read_back_as_it_was(rows):
    written = "".join(json_pieces(rows))
    assert written.isascii()
    assert json.loads(written) == rows


def test_parquet_keeps_types_and_what_is_missing(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"a": "=1", "b": None, "n": None, "i": 3}, {"a": HOSTILE, "b": "x", "n": 0.5, "i": None}]
    with (tmp_path / "x.parquet").open("wb") as file:
        parquet_writer()(COLUMNS, iter(rows), file)
    found = parquet.read_table(tmp_path / "x.parquet")
    assert [str(one) for one in found.schema.types] == ["string", "string", "double", "int64"]
    assert found.to_pylist() == [{name: valid(value) for name, value in one.items()} for one in rows]
