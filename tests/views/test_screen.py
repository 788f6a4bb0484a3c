"""The live part of a terminal, on an emulated one: after every step the screen shows what it should, and nothing else."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.views.screen import Screen, StyledLine, terminal_size
from views.emulator import GlassStream


class Shown:
    """A screen, and what ought to be on it."""

    def __init__(self, columns: int, rows: int, on_resize: str, above: int = 0) -> None:
        self.stream = GlassStream(columns, rows, on_resize)  # type: ignore[arg-type]
        for number in range(above):
            self.stream.write(f"$ earlier {number}\r\n")
        self.screen = Screen(self.stream, self.stream.size)
        self.printed: list[str] = []
        self.pictures = 0

    def step(self, prints: int, lines: int, width: int) -> None:
        fresh = [f"P{len(self.printed) + number}. {'x' * width}" for number in range(prints)]
        self.printed += fresh
        self.pictures += 1
        columns, rows = self.stream.size()
        picture = [f"Q{self.pictures}.{number} {'y' * width}"[: columns - 1] for number in range(lines)]
        picture = [line.rstrip() for line in picture]
        self.screen.show(
            [[(text, "red")] for text in fresh], lambda _size: [[(text, "")] for text in picture]
        )
        self.check(picture[-(rows - 1) :])

    def check(self, picture: list[str]) -> None:
        shown = self.stream.glass.rows
        assert shown[len(shown) - len(picture) :] == picture
        above = shown[: len(shown) - len(picture)]
        assert not [row for row in above if row.startswith("Q")], "remains of a picture"
        assert not [row for row in above if row and not row.startswith(("P", "$"))], "half a line"
        numbers = [int(row[1:].split(".")[0]) for row in above if row.startswith("P")]
        assert numbers == list(range(len(self.printed) - len(numbers), len(self.printed))), (
            "in order, none twice"
        )
        everything = self.stream.glass.everything
        heads = {row.split(".")[0] for row in everything if row.startswith("P")}
        assert heads == {f"P{number}" for number in range(len(self.printed))}, "nothing is lost"
        assert self.stream.glass.cursor.y == len(shown)
        assert self.stream.glass.cursor_hidden
        assert self.stream.glass.wraps


STEP = st.tuples(st.integers(0, 5), st.integers(1, 8), st.integers(0, 90))
SIZE = st.tuples(st.integers(12, 100), st.integers(9, 40))


@pytest.mark.parametrize("on_resize", ["cut", "wrap"])
@settings(max_examples=80)
@given(
    first=SIZE,
    above=st.integers(0, 30),
    steps=st.lists(st.tuples(STEP, st.none() | SIZE), min_size=1, max_size=12),
)
def test_whatever_is_printed_drawn_and_resized(on_resize, first, above, steps):
    shown = Shown(*first, on_resize, above)
    for step, size in steps:
        if size:
            shown.stream.resize(*size)
        shown.step(*step)
    shown.screen.close()
    assert not shown.stream.glass.cursor_hidden


def show(screen: Screen, *lines: str, printed: tuple[str, ...] = ()) -> None:
    picture: list[StyledLine] = [[(line, "")] for line in lines]
    screen.show([[(line, "")] for line in printed], lambda _size: picture)


def test_only_what_changed_is_sent():
    stream = GlassStream()
    screen = Screen(stream, stream.size)
    show(screen, "one", "two", "three")
    stream.sent.clear()
    show(screen, "one", "two", "three")
    assert stream.sent == []
    show(screen, "one", "2", "three")
    assert "2" in stream.sent[0]
    assert "one" not in stream.sent[0]
    assert "three" not in stream.sent[0]
    assert stream.glass.rows == ["one", "2", "three"]
    show(screen, "1", "2", "3")
    assert stream.glass.rows == ["1", "2", "3"]


def test_what_others_write_is_wiped_by_the_next_picture():
    stream = GlassStream()
    screen = Screen(stream, stream.size)
    show(screen, "one", "two")
    stream.write("^C")
    show(screen, "one", "2")
    assert stream.glass.rows == ["one", "2"]


def test_a_line_that_the_terminal_takes_for_wider_than_we_do_moves_nothing():
    stream = GlassStream(20, 6)
    screen = Screen(stream, stream.size)
    stream.size = lambda: (40, 6)  # type: ignore[method-assign]
    screen = Screen(stream, stream.size)
    for number in range(3):
        show(screen, f"{number}" + "x" * 30, "last")
    assert stream.glass.rows == ["2" + "x" * 19, "last"]


def test_colours_only_where_they_are_wanted():
    for colour in (True, False):
        stream = GlassStream()
        screen = Screen(stream, stream.size, colour=colour)
        screen.show([[("loud", "bold red"), (" and still", "")]], lambda _size: [])
        assert ("\x1b[1;31mloud\x1b[0m" in stream.sent[0]) is colour
        assert stream.glass.rows == ["loud and still"]


def test_a_terminal_that_says_no_size_has_the_usual_one():
    with open(os.devnull, "w") as stream:  # noqa: PTH123
        assert terminal_size(stream) == (80, 24)
    assert terminal_size(GlassStream()) == (80, 24)
