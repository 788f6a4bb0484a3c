"""The display for a terminal: permanent lines above, one line per device and stage below, redrawn in place.

Draws at most four times a second, and only when something changed or a second has passed. Starts no thread. What was
printed stays in the terminal's history; the cursor is shown again at the end, also after an exception.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Self, TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from edit_eval.driver.events import Event, StageFinished
from edit_eval.views.board import Board
from edit_eval.views.frame import FrameLine, draw, totals
from edit_eval.views.lines import RESPONSE, Line, PermanentLines, Tone
from edit_eval.views.text import Ink, fit

__all__ = ["RichDisplay"]

_SHORTEST_S = 0.25
_LONGEST_S = 1.0
_TONES: dict[Tone, str] = {
    "plain": "",
    "score": "",
    "strong": "bold",
    "warning": "yellow",
    "error": "red",
    "quiet": "dim",
}


class _Picture:
    """The live part as a renderable: pieces go to the terminal as they are, without markup and without wrapping."""

    def __init__(self, lines: Callable[[int, int], list[FrameLine]]) -> None:
        self._lines = lines
        self._styles: dict[str, Style] = {}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self._lines(max(1, options.max_width - 1), console.size.height)
        for position, line in enumerate(lines):
            if position:
                yield Segment.line()
            for text, style in line:
                yield Segment(text, self._style(style))

    def _style(self, text: str) -> Style | None:
        if not text:
            return None
        if text not in self._styles:
            self._styles[text] = Style.parse(text)
        return self._styles[text]


class _Terminal(Console):
    """A console that reports a closed pipe instead of ending the process."""

    def on_broken_pipe(self) -> None:
        """Raise what rich would turn into an exit."""
        raise BrokenPipeError


class RichDisplay:
    """Draws a run on a terminal.

    Args:
        stream: the terminal.
        console: for tests; made over `stream` by default.
        clock: seconds that only grow.
    """

    def __init__(
        self, stream: TextIO, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or _Terminal(
            file=stream, force_terminal=True, highlight=False, markup=False, emoji=False
        )
        self._clock = clock
        self._ink = Ink.of(stream)
        self._board = Board()
        self._permanent = PermanentLines()
        self._waiting: list[Line] = []
        self._changed = False
        self._gone = False
        self._closing = False
        self._drawn = self._heard = clock()
        self._live = Live(
            _Picture(self._frame),
            console=self._console,
            auto_refresh=False,
            vertical_overflow="crop",
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._guarded(self._live.start)
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.extend(self._permanent.rest())
        self._closing = True
        try:
            self._draw()
        finally:
            self._guarded(self._live.stop)

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
        if age >= (_SHORTEST_S if self._changed else _LONGEST_S):
            self._draw()

    def _draw(self) -> None:
        lines, self._waiting = self._waiting, []
        self._changed, self._drawn = False, self._clock()
        self._guarded(lambda: self._print(lines))

    def _print(self, lines: Iterable[Line]) -> None:
        width = self._console.width
        text = Text("\n").join(self._styled(line, width) for line in lines)
        if text:
            self._console.print(text, no_wrap=True, overflow="crop", crop=False)
        self._live.refresh()

    def _styled(self, line: Line, width: int) -> Text:
        content = fit(self._ink.safe(line.text), width, self._ink.ellipsis)
        text = Text(content, style=_TONES[line.tone], no_wrap=True, end="")
        response = content.find(RESPONSE)
        if line.tone == "score":
            text.stylize("bold", content.find("Score:"), response if response >= 0 else len(content))
        if response >= 0:
            text.stylize("dim", response)
        return text

    def _frame(self, columns: int, rows: int) -> list[FrameLine]:
        now = self._board.at + max(0.0, self._clock() - self._heard)
        if self._closing:
            lines = totals(self._board, now, columns, self._ink)
        else:
            lines = draw(self._board, now, columns, rows, self._ink)
        return [[(self._ink.safe(text), style) for text, style in line] for line in lines]

    def _guarded(self, act: Callable[[], object]) -> None:
        """Do `act`; a terminal that has gone away is given up, and the run goes on."""
        if self._gone:
            return
        try:
            act()
        except OSError:
            self._gone = True
