"""A terminal for tests: pyte's screen, resized as real terminals do it, fed by a stream or by a process on a pty."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import pyte
from rich.cells import cell_len, chop_cells

TESTS = Path(__file__).parents[1]


class Glass(pyte.HistoryScreen):
    """What is on the screen. `on_resize`: cut lines that are too long (xterm), or wrap them anew (kitty, GNOME)."""

    def __init__(self, columns: int, lines: int, on_resize: Literal["cut", "wrap"] = "cut") -> None:
        super().__init__(columns, lines, history=10_000)
        self.on_resize = on_resize

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        lines, columns = lines or self.lines, columns or self.columns
        rows = [self.row(y) for y in range(self.cursor.y + 1)]
        if self.on_resize == "wrap":
            rows = [part for row in rows for part in (chop_cells(row, columns) or [""])]
        over = max(0, len(rows) - lines)
        self.scrolled_away.extend(rows[:over])
        rows = rows[over:]
        self.lines, self.columns = lines, columns
        self.set_margins()
        self.buffer.clear()
        for y, row in enumerate(rows):
            self.cursor.y, self.cursor.x = y, 0
            self.draw(row if cell_len(row) <= columns else chop_cells(row, columns)[0])
        self.cursor.y, self.cursor.x = len(rows) - 1, 0
        self.dirty.update(range(lines))

    def reset(self) -> None:
        super().reset()
        self.scrolled_away: list[str] = []

    def index(self) -> None:
        if self.cursor.y == self.lines - 1:
            self.scrolled_away.append(self.row(0))
        super().index()

    def row(self, y: int) -> str:
        """Return a row as text, without what is empty at its end."""
        return "".join(self.buffer[y][x].data for x in range(self.columns)).rstrip()

    @property
    def rows(self) -> list[str]:
        """All rows down to the last one that is not empty."""
        rows = [self.row(y) for y in range(self.lines)]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    @property
    def everything(self) -> list[str]:
        """What scrolled away, and the rows of the screen."""
        return self.scrolled_away + self.rows

    @property
    def cursor_hidden(self) -> bool:
        return bool(self.cursor.hidden)

    @property
    def wraps(self) -> bool:
        return pyte.modes.DECAWM in self.mode


class GlassStream(io.StringIO):
    """A stream that is a terminal."""

    encoding = "utf-8"  # type: ignore[assignment]

    def __init__(self, columns: int = 80, rows: int = 24, on_resize: Literal["cut", "wrap"] = "cut") -> None:
        super().__init__()
        self.glass = Glass(columns, rows, on_resize)
        self.sent: list[str] = []
        self._feed = pyte.Stream(self.glass)

    def write(self, text: str) -> int:
        self.sent.append(text)
        self._feed.feed(text)
        return len(text)

    def isatty(self) -> bool:
        return True

    def size(self) -> tuple[int, int]:
        return self.glass.columns, self.glass.lines

    def resize(self, columns: int, rows: int) -> None:
        self.glass.resize(rows, columns)


class OnTerminal:
    """A process whose standard streams are a terminal of its own."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        columns: int = 80,
        rows: int = 24,
        on_resize: Literal["cut", "wrap"] = "cut",
        plugins: Path = TESTS / "plugins",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.glass = Glass(columns, rows, on_resize)
        self.raw = bytearray()
        self._feed = pyte.ByteStream(self.glass)
        self._master, slave = pty.openpty()
        self._set_size(columns, rows)
        paths = [str(plugins), *filter(None, [os.environ.get("PYTHONPATH")])]
        cache = str(cwd / "cache")
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            start_new_session=True,
            env={
                **os.environ,
                "TERM": "xterm-256color",
                "PYTHONPATH": os.pathsep.join(paths),
                "XDG_CACHE_HOME": cache,
                **(env or {}),
            },
        )
        os.close(slave)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """Resize as a window does: what is shown first, then the process is told."""
        self.glass.resize(rows, columns)
        self._set_size(columns, rows)
        os.killpg(self.process.pid, signal.SIGWINCH)

    def wait_for(self, seen: Callable[[Glass], bool], what: str, timeout: float = 30) -> list[str]:
        """Read until `seen`, at a moment at which nobody draws; return the rows then."""
        until = time.monotonic() + timeout
        while not (self.glass.wraps and seen(self.glass)):
            if time.monotonic() > until or not self.read(min(1.0, until - time.monotonic())):
                raise AssertionError(f"never seen: {what}; on the screen:\n" + "\n".join(self.glass.rows))
        return self.glass.rows

    def finish(self, timeout: float = 30) -> int:
        """Read to the end; return the exit code."""
        until = time.monotonic() + timeout
        while time.monotonic() < until and self.read(min(1.0, until - time.monotonic())):
            pass
        return self.process.wait(max(0.1, until - time.monotonic()))

    def read(self, timeout: float) -> bool:
        """Take in what comes next; False at the end, or if nothing came in time and the process has ended."""
        if not select.select([self._master], [], [], max(0.0, timeout))[0]:
            return self.process.poll() is None
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # EIO: nobody has the other side open any more
            return False
        self.raw += data
        self._feed.feed(data)
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        self.process.wait()
        os.close(self._master)


def edit_eval(*arguments: str) -> list[str]:
    """Return the command line of `edit-eval` in this interpreter."""
    return [sys.executable, "-m", "edit_eval", *arguments]
