"""A stream that lines go to, and that may go away."""

from __future__ import annotations

from typing import TextIO

from edit_eval.views.text import Ink

__all__ = ["Outlet"]


class Outlet:
    """Writes lines to a stream and flushes each one; silent once the stream is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False
        self.ink = Ink.of(stream)

    def line(self, text: str) -> None:
        """Write one line. A stream that no longer takes any (closed pipe, full disk) is given up: the run goes on."""
        if self._gone:
            return
        try:
            self._stream.write(self.ink.safe(text) + "\n")
            self._stream.flush()
        except OSError:
            self._gone = True
