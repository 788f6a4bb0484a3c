"""The displays of a run in progress, and the way to one: `open_display`.

A display is handed every event by the driver's loop and shows it; it answers nothing and decides nothing, so a run is the
same whichever one is open. No display starts a thread: the driver's loop calls `tick` a few times a second so that clocks
go on. A display whose stream has gone away (a closed pipe, a full disk) falls silent; the run goes on, because its product
is its directory.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Protocol, Self, TextIO

from edit_eval.driver.events import Event
from edit_eval.views.closing import closing_block
from edit_eval.views.terminal_json import JsonDisplay
from edit_eval.views.terminal_plain import PlainDisplay
from edit_eval.views.terminal_rich import RichDisplay

__all__ = ["KINDS", "Display", "NoDisplay", "closing_block", "open_display"]

KINDS = ("rich", "plain", "json", "none")


class Display(Protocol):
    """Shows a run while it goes on; a context manager, called with every event."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def __call__(self, event: Event) -> None:
        """Show `event`."""

    def tick(self) -> None:
        """Let clocks go on; cheap, to be called a few times a second."""


class NoDisplay:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, event: Event) -> None:
        """Show nothing."""

    def tick(self) -> None:
        """Do nothing."""


def open_display(kind: str | None, stream: TextIO) -> Display:
    """Return a display on `stream`.

    Args:
        kind: `rich` (a live screen), `plain` (lines without control characters), `json` (one object a line), `none`;
            None for rich on a terminal that can move its cursor, and plain elsewhere. What is no terminal gets plain
            lines in place of `rich`: a file or a pipe never holds an escape sequence.
        stream: where it writes.

    Raises:
        ValueError: no such kind.
    """
    if kind is None:
        kind = "rich" if os.environ.get("TERM", "dumb") != "dumb" else "plain"
    match kind:
        case "rich" if stream.isatty():
            return RichDisplay(stream)
        case "rich":
            return PlainDisplay(stream)
        case "plain":
            return PlainDisplay(stream)
        case "json":
            return JsonDisplay(stream)
        case "none":
            return NoDisplay()
        case _:
            raise ValueError(f"no display {kind!r}: use one of {', '.join(KINDS)}")
