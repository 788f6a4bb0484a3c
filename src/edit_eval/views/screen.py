"""A terminal with a live part: lines that stay scroll past above it, the picture below is redrawn in place.

What is sent is only what changed: a line of the picture that is as it was costs nothing. The cursor rests on the empty
line below the picture, so that what others write (a warning, an echoed ^C) stands there and is wiped by the next picture.

The size may change at any moment. Some terminals then re-wrap what they show, others cut it, and none says which. So
after a change of width everything of ours that can still be seen is written anew, from as far up as a terminal that
re-wraps would have moved it. Automatic wrapping is off while we write: a line that a terminal takes for wider than we do
is cut, and never moves the picture.

Knows no event and no clock; what a line says is the callers' business.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import TextIO

from rich.cells import cell_len

from edit_eval.views.text import fit

__all__ = ["Screen", "Size", "StyledLine", "terminal_size"]

StyledLine = Sequence[tuple[str, str]]
"""Pieces of one line: text and style, which is words of `_SGR` or nothing."""

Size = tuple[int, int]
"""Columns and rows."""

_SGR = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_USUAL: Size = (80, 24)
_MOST_ROWS = 500
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"


def terminal_size(stream: TextIO) -> Size:
    """Return the columns and rows of the terminal behind `stream`; 80 x 24 where it does not say."""
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return _USUAL
    return columns or _USUAL[0], rows or _USUAL[1]


class Screen:
    """Writes lines that stay and a picture below them; `close` leaves both and shows the cursor again.

    A terminal that has gone away is given up silently.

    Args:
        stream: the terminal.
        size: its columns and rows, asked for with every picture.
        colour: whether styles are written.
        ellipsis: ends a line that was cut.
    """

    def __init__(
        self, stream: TextIO, size: Callable[[], Size], *, colour: bool = True, ellipsis: str = "…"
    ) -> None:
        self._stream = stream
        self._ask_size = size
        self._colour = colour
        self._ellipsis = ellipsis
        self._size = size()
        self._printed: deque[tuple[StyledLine, int]] = deque(maxlen=_MOST_ROWS)  # with columns it fills
        self._picture: list[str] = []
        self._widths: list[int] = []
        self._gone = False
        self._hidden = False

    def resized(self) -> bool:
        """Whether the terminal has another size than at the last picture."""
        return not self._gone and self._ask_size() != self._size

    def show(self, printed: Sequence[StyledLine], picture: Callable[[Size], Sequence[StyledLine]]) -> None:
        """Add `printed` to the lines that stay and replace the picture by what `picture` returns for the size."""
        before, self._size = self._size, self._ask_size()
        columns, rows = self._size
        lines = picture(self._size)[-max(1, rows - 1) :]
        texts = [self._text(line, columns) for line in lines]
        if columns < before[0] and self._hidden:
            out = self._anew(printed, texts)
        elif printed or len(texts) != len(self._picture) or self._size != before:
            up = min(len(self._picture), rows - 1)
            out = _up(up) + "".join(self._row(self._text(line, columns)) for line in printed)
            out += "".join(self._row(text) for text in texts) + _CLEAR_BELOW
        else:
            out = self._changes(texts)
        self._printed.extend((line, min(columns, _width(line))) for line in printed)
        self._picture = texts
        self._widths = [min(columns, _width(line)) for line in lines]
        self._write(out)

    def close(self) -> None:
        """Leave the picture as it is and show the cursor below it."""
        if self._hidden:
            self._hidden = False
            self._send(_SHOW)

    def _anew(self, printed: Sequence[StyledLine], texts: Sequence[str]) -> str:
        """Return what writes all that can be seen again, in a window that has become narrower."""
        columns, rows = self._size
        widths = [width for _, width in self._printed] + self._widths
        up = min(rows - 1, sum(max(1, -(-width // columns)) for width in widths))
        wiped = min(len(self._printed), max(0, up - len(self._widths)))  # at most: a line fills a row or more
        recent = list(self._printed)[len(self._printed) - wiped :]
        self._printed.clear()
        self._printed.extend((line, min(columns, _width(line))) for line, _ in recent)
        lines = [self._text(line, columns) for line in [*(line for line, _ in recent), *printed]]
        return _up(up) + _CLEAR_BELOW + "".join(self._row(text) for text in [*lines, *texts])

    def _changes(self, texts: Sequence[str]) -> str:
        """Return what turns the picture there is into one with as many lines."""
        out, row = "", len(texts)
        for position, (old, new) in enumerate(zip(self._picture, texts, strict=True)):
            if old != new:
                out += _up(row - position) if row > position else _down(position - row)
                out += self._row(new)
                row = position + 1
        return out + _down(len(texts) - row) + _CLEAR_BELOW if out else ""

    @staticmethod
    def _row(text: str) -> str:
        return f"\r{_CLEAR_LINE}{text}\r\n"

    def _text(self, line: StyledLine, columns: int) -> str:
        """Return `line` cut to `columns`, with its styles."""
        out = ""
        for text, style in line:
            piece = fit(text, columns, self._ellipsis) if columns > 0 else ""
            columns -= cell_len(piece)
            if piece != text:
                columns = 0
            codes = ";".join(_SGR[word] for word in style.split()) if self._colour else ""
            out += f"\x1b[{codes}m{piece}\x1b[0m" if codes and piece else piece
        return out

    def _write(self, text: str) -> None:
        if not self._hidden:
            self._hidden = True
            text = _HIDE + text
        if text:
            self._send(_NO_WRAP + text + _WRAP)

    def _send(self, text: str) -> None:
        if self._gone:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._gone = True


def _width(line: StyledLine) -> int:
    return sum(cell_len(text) for text, _ in line)


def _up(rows: int) -> str:
    return f"\x1b[{rows}A\r" if rows else "\r"


def _down(rows: int) -> str:
    return f"\x1b[{rows}B\r" if rows else "\r"
