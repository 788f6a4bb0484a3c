"""The display for a terminal: permanent lines above, one line per device and stage below, redrawn in place.

Draws at most twice a second, and only when something changed or a second has passed. Starts no thread and catches no
signal: a new size of the terminal is seen with the next tick. What was printed stays in the terminal's history; the
cursor is shown again at the end, also after an exception.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Self, TextIO

from edit_eval.driver.events import Event, StageFinished
from edit_eval.views.board import Board
from edit_eval.views.frame import FrameLine, draw, totals
from edit_eval.views.lines import RESPONSE, Line, PermanentLines, Tone
from edit_eval.views.screen import Screen, Size, terminal_size
from edit_eval.views.text import Ink

__all__ = ["RichDisplay"]

_SHORTEST_S = 0.5
_LONGEST_S = 1.0
_RESIZE_S = 0.1
_TONES: dict[Tone, str] = {
    "plain": "",
    "score": "",
    "strong": "bold",
    "warning": "yellow",
    "error": "red",
    "quiet": "dim",
}


class RichDisplay:
    """Draws a run on a terminal.

    Args:
        stream: the terminal.
        size: for tests; asked of `stream` by default.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        size: Callable[[], Size] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._ink = Ink.of(stream)
        self._screen = Screen(
            stream,
            size or (lambda: terminal_size(stream)),
            colour=not os.environ.get("NO_COLOR"),
            ellipsis=self._ink.ellipsis,
        )
        self._board = Board()
        self._permanent = PermanentLines()
        self._waiting: list[Line] = []
        self._changed = False
        self._closing = False
        self._drawn = self._heard = clock()

    def __enter__(self) -> Self:
        self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.extend(self._permanent.rest())
        self._closing = True
        try:
            self._draw()
        finally:
            self._screen.close()

    def __call__(self, event: Event) -> None:
        """Show `event`, at once or with the next picture."""
        self._board.observe(event)
        self._heard = self._clock()
        self._waiting.extend(self._permanent(event))
        self._changed = True
        if isinstance(event, StageFinished):
            self._draw()
        else:
            self.tick()

    def tick(self) -> None:
        """Draw if something changed and the last picture is old enough, or if the clocks must go on."""
        age = self._clock() - self._drawn
        if age >= (_SHORTEST_S if self._changed else _LONGEST_S) or (
            age >= _RESIZE_S and self._screen.resized()
        ):
            self._draw()

    def _draw(self) -> None:
        lines, self._waiting = self._waiting, []
        self._changed, self._drawn = False, self._clock()
        self._screen.show([self._styled(line) for line in lines], self._picture)

    def _styled(self, line: Line) -> FrameLine:
        """Return a permanent line in pieces: the score stands out, the judge's words stand back."""
        text, tone = self._ink.safe(line.text), _TONES[line.tone]
        head, mark, response = text.partition(RESPONSE)
        pieces = [(head, tone)]
        if line.tone == "score" and "Score:" in head:
            before, word, score = head.partition("Score:")
            pieces = [(before, tone), (word + score, "bold")]
        return [*pieces, (mark + response, "dim")] if mark else pieces

    def _picture(self, size: Size) -> list[FrameLine]:
        columns, rows = max(1, size[0] - 1), size[1]
        now = self._board.at + max(0.0, self._clock() - self._heard)
        if self._closing:
            lines = totals(self._board, now, columns, self._ink)
        else:
            lines = draw(self._board, now, columns, rows, self._ink)
        return [[(self._ink.safe(text), style) for text, style in line] for line in lines]
