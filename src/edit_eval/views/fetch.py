"""What a fetch shows: a table of sizes before it, and how many bytes have come in while it goes on."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sized
from typing import Any, TextIO

from edit_eval.driver.fetch import FetchItem, FetchPlan, SmallFiles
from edit_eval.driver.machine import size_text
from edit_eval.views.text import clean, clock, pad

__all__ = ["FetchProgress", "config_text", "fetch_text", "open_progress"]

_LINE_EVERY_S = 30.0
_COMMIT_LETTERS = 12


def fetch_text(plan: FetchPlan) -> str:
    """Return the sizes of a plan as text, without a final newline."""
    lines = [f"{clean(where)}: {clean(path)} is on this machine" for where, path in plan.local]
    rows = [*map(_row, plan.items), *map(_small_row, plan.small)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += [
        "  ".join(pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    if not rows:
        return "\n".join([*lines, "Nothing to fetch: the config names nothing of a hub."])
    if not plan.items:
        return "\n".join(lines)
    free = ", ".join(f"{size_text(count)} free at {folder}" for folder, count in plan.free)
    return "\n".join([*lines, f"To fetch: {size_text(plan.bytes_left)}; {free}"])


def _row(item: FetchItem) -> tuple[str, ...]:
    here = item.bytes_here
    known = "all here" if here == item.bytes else f"{size_text(here)} here" if here else "none here"
    listing = item.listing
    return (
        ", ".join(item.where),
        clean(listing.name.repository),
        f"{clean(listing.revision)} = {listing.commit[:_COMMIT_LETTERS]}"
        if listing.commit
        else clean(listing.revision),
        _count(item.files),
        size_text(item.bytes),
        known,
    )


def _count(files: Sized) -> str:
    return f"{len(files)} file{'' if len(files) == 1 else 's'}"


def _small_row(small: SmallFiles) -> tuple[str, ...]:
    files = small.files
    revision = files.revision[:_COMMIT_LETTERS] if files.pinned else files.revision
    known = "all here" if small.here and files.pinned else "small"
    repository = clean(f"github.com/{files.repository}")
    return (small.where, repository, clean(revision), _count(files.files), "", known)


def config_text(benchmark: str, plan: FetchPlan) -> str:
    """Return what to write into a config so that a run uses what was fetched for its benchmark; empty if nothing was."""
    prompts = next((one for one in plan.small if not one.needed and one.here), None)
    keys = [where for item in plan.items for where in item.where] + [one.where for one in plan.small]
    if prompts is None and not any(where.startswith("benchmark.") for where in keys):
        return ""
    lines = ["For the config:", "  benchmark:", f"    type: {clean(benchmark)}"]
    if "benchmark.path" in keys:
        lines.append("    # no path: runs find the data by themselves")
    if prompts is not None:
        lines += ["    params:", f"      prompts: {json.dumps(str(prompts.folder), ensure_ascii=False)}"]
    return "\n".join(lines)


class FetchProgress:
    """Counts bytes, from any thread, and writes a plain line now and then.

    Args:
        stream: where lines go.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._total = self._done = 0
        self._began = self._shown = time.monotonic()

    def begin(self, total: int) -> None:
        """Note how many bytes there are to come."""
        self._total = total
        self._began = self._shown = time.monotonic()

    def advance(self, count: int) -> None:
        """Note that bytes came in, or (below 0) were thrown away."""
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._shown >= _LINE_EVERY_S:
                self._shown = now
                self._show(now - self._began)

    def say(self, text: str) -> None:
        """Write one line of words."""
        self._write(f"edit-eval: {clean(text)}")

    def _show(self, seconds: float) -> None:
        rate = self._done / max(seconds, 1e-3)
        left = f", {clock(max(0.0, (self._total - self._done) / rate))} left" if rate > 0 else ""
        self._write(f"{size_text(self._done)} of {size_text(self._total)}, {size_text(int(rate))}/s{left}")

    def _write(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class _Bar(FetchProgress):
    """The same as one bar on a terminal."""

    def __init__(self, stream: TextIO, bar: Any) -> None:
        super().__init__(stream)
        self._bar = bar
        self._task: Any = None

    def begin(self, total: int) -> None:
        """Show the bar."""
        self._task = self._bar.add_task("Fetching", total=total)

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bar.advance(self._task, count)

    def _write(self, line: str) -> None:
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def open_progress(stream: TextIO) -> Iterator[FetchProgress]:
    """Yield what shows a fetch's progress on a stream: a bar on a terminal, else plain lines."""
    if not stream.isatty():
        yield FetchProgress(stream)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True))
    console = Console(file=stream)
    with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console) as bar:
        yield _Bar(stream, bar)
