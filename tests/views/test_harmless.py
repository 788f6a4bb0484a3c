"""Untrusted text on its way to a terminal: whatever it is, nothing in it is obeyed."""

from __future__ import annotations

import unicodedata

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.cli.output import one_line
from edit_eval.core.errors import shown
from edit_eval.views.harmless import clean, harmless
from edit_eval.views.page import visible
from edit_eval.views.text import Ink

ANY = st.text(st.characters(exclude_categories=()))
ESCAPES = st.lists(
    st.sampled_from(
        [
            "\x1b",
            "[",
            "]",
            "P",
            "0",
            "31",
            ";",
            "m",
            "8;;",
            "\x07",
            "\\",
            "?25",
            "l",
            "\x9b",
            "\x9d",
            "a",
            "红",
            "\n",
            "\u202e",
        ]
    )
).map("".join)


def obeyed(text: str) -> list[str]:
    return [one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


@given(ANY | ESCAPES)
def test_nothing_is_left_to_obey(text):
    for made in (
        clean(text),
        harmless(text),
        one_line(text),
        Ink().safe(text),
        shown(text),
        shown(text, quote=False),
    ):
        assert obeyed(made) == []
        made.encode("utf-8")
    assert obeyed(harmless(text, kept="\n").replace("\n", "")) == []


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Mn", "Zs"))))
def test_ordinary_text_stays(text):
    assert harmless(text).split() == text.split()


@settings(max_examples=50)
@given(ESCAPES)
def test_a_terminal_shows_it_on_one_line_in_the_usual_colour(text):
    screen = pyte.Screen(2000, 3)
    pyte.Stream(screen).feed(clean(text, 1000))
    assert screen.cursor.y == 0
    assert screen.cursor.attrs.fg == "default"
    assert screen.title == ""


@given(ANY | ESCAPES)
def test_the_page_gets_visible_text(text):
    made = visible(text)
    assert not [one for one in made if unicodedata.category(one) in ("Cc", "Cs") and one not in "\n\t"]
    made.encode("utf-8")


@pytest.mark.parametrize(("length", "longest"), [(10, 30), (3980, 4000), (4000, 4010), (100_000, 4010)])
def test_a_long_line_keeps_its_ends(length, longest):
    line = one_line(f"begins {'x' * length} ends")
    assert len(line) <= longest
    assert line.startswith("begins x")
    assert line.endswith("x ends")


@given(ANY | st.integers() | st.floats() | st.binary() | st.lists(st.integers()), st.integers(1, 100))
def test_what_is_shown_is_short(value, limit):
    text = shown(value, limit)
    assert "\n" not in text
    assert len(text) <= 10 * limit + 20


def test_a_number_that_python_does_not_write_is_shown():
    assert shown(10**10_000) == "a huge number"
    assert shown(-(1 << 20_000)) == "a huge number"
    assert shown(True) == "True"
