from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.types import Sample, Verdict
from edit_eval.views.export import canonical_lines
from views.samples import HOSTILE, failed_row, row, scored, unscored

ROWS = [
    row(0),
    row(1, unscored()),
    failed_row(2),
    row(3, edited=None, image=None, verdict=None, verdict_key=None),
]


@given(st.permutations(ROWS))
def test_the_order_of_rows_makes_no_difference(rows: list[object]) -> None:
    lines = list(canonical_lines(rows))  # type: ignore[arg-type]
    assert lines == list(canonical_lines(ROWS))
    assert [json.loads(line)["edit_key"] for line in lines] == sorted(one.edit_key for one in ROWS)


def test_time_device_and_paths_make_no_difference() -> None:
    elsewhere = replace(
        row(0),
        index=7,
        edit={"sha256": "ab" * 32, "seconds": 99.0, "device": "cpu:3", "attempts": 2},
        image="images/other.png",
        thumbnail=None,
        source_thumbnail=None,
    )
    assert list(canonical_lines([elsewhere])) == list(canonical_lines([row(0)]))
    assert list(canonical_lines([failed_row(2, "on host a")])) == list(
        canonical_lines([failed_row(2, "on host b")])
    )


def test_the_reply_counts_where_the_judge_wrote_it() -> None:
    one, other = row(0, scored(8.5, "a")), row(0, scored(8.5, "b"))
    assert list(canonical_lines([one])) != list(canonical_lines([other]))
    notes = [row(0, Verdict(unscored="timeout", reply=text)) for text in ("after 120 s", "after 121 s")]
    assert list(canonical_lines(notes[:1])) == list(canonical_lines(notes[1:]))


def test_what_a_line_says() -> None:
    lines = [json.loads(line) for line in canonical_lines(ROWS)]
    assert [one["edit"] for one in lines] == ["edited", "edited", "failed", "missing"]
    assert [one["verdict"] for one in lines] == ["scored", "unscored", "missing", "missing"]
    assert [one["overall"] for one in lines] == [8.5, None, None, None]
    assert lines[0]["scores"] == {"quality": 8.5}
    assert lines[1]["unscored"] == "unparsable"
    assert lines[2]["edit_failure"] == "crash"
    assert lines[2]["image_sha256"] is None


def test_any_text_fits_in_a_line() -> None:
    (line,) = canonical_lines([row(0, unscored(HOSTILE), sample=Sample(HOSTILE, HOSTILE, ("/a",)))])
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line)["sample"] == HOSTILE
