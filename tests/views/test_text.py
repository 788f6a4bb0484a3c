from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from edit_eval.views.text import Ink, clean, clock, fit, kinds, number, pad, per_second, ranges
from views.samples import HOSTILE


@given(st.text())
def test_clean_leaves_one_printable_line(text: str) -> None:
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in clean(text))
    assert "\n" not in clean(text)
    clean(text).encode()


def test_clean_takes_whole_escape_sequences_out() -> None:
    assert clean("a\x1b[31mred\x1b[0m\x1b]0;title\x07b\r\n\tc\u202e") == "aredb c"
    assert clean(HOSTILE) == "</script><b>x</b> {{ 7 * 7 }} [bold]loud[/bold] gnp.exe \ufffd 红色的 car next"


@given(st.text(st.characters(categories=("L", "N", "P"))), st.integers(0, 40))
def test_fit_never_exceeds_its_columns(text: str, columns: int) -> None:
    assert cell_len(fit(text, columns)) <= columns


def test_fit_marks_the_cut() -> None:
    assert fit("红色的汽车", 5) == "红色…"
    assert fit("abcdef", 5) == "abcd…"
    assert fit("abcde", 5) == "abcde"
    assert pad("红", 4) == "红  "
    assert pad("红", 4, right=True) == "  红"


def test_numbers_and_clocks() -> None:
    assert number(None) == "-"
    assert number(7.93) == "7.930"
    assert [clock(seconds) for seconds in (None, 0, 61.9, 3700)] == ["??:??", "00:00", "01:01", "1:01:40"]
    assert [per_second(rate) for rate in (None, 0.0, 1.84, 0.4)] == [
        "? it/s",
        "? it/s",
        "1.8 it/s",
        "2.5 s/it",
    ]
    assert kinds({}) == "0"
    assert kinds({"refused": 1, "error": 2, "timeout": 0}) == "3 (2 error, 1 refused)"


@pytest.mark.parametrize(
    ("indices", "text"), [([], ""), ([7], "7"), ([3, 1, 2, 0, 7], "0-3, 7"), ([9, 4, 5, 5], "4-5, 9")]
)
def test_ranges(indices: list[int], text: str) -> None:
    assert ranges(indices) == text


def test_a_bar_is_as_full_as_the_work_and_plain_where_blocks_cannot_be_shown() -> None:
    assert Ink().bar(3, 10, 10) == "███       "
    assert Ink().bar(9, 20, 10) == "████▌     "
    assert Ink().bar(5, 5, 4) == "████"
    assert Ink().bar(0, 0, 4) == "████"
    ascii_stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    ink = Ink.of(ascii_stream)
    assert ink.bar(9, 20, 10) == "####      "
    assert ink.ellipsis == "..."
    assert ink.safe("红 a") == "\\u7ea2 a"


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 40))
def test_a_bar_has_its_width(done: int, total: int, columns: int) -> None:
    assert len(Ink().bar(done, total, columns)) == columns
