"""The page of a run that may still be going on: made again when the run's files changed, and not more often than needed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edit_eval.core.errors import RunError
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import Row, read_rows
from edit_eval.serve.shown import read_shown
from edit_eval.views.report import page_path

__all__ = ["LivePage", "Progress"]

_WRITTEN = ("run.json", "samples.jsonl", "edits.jsonl", "verdicts.jsonl", "telemetry.jsonl")
_ACTIVE_S = 15.0
"""A run writes its telemetry every second; one that wrote nothing for so long is not at work."""
_LEAST_BETWEEN_S = 4.0
_SHARE_OF_TIME = 5.0
"""A page that takes long is made again only after so many times as long."""


@dataclass(frozen=True)
class Progress:
    """How far a run is, by the lines of its ledgers (a retry adds one)."""

    edits: int
    verdicts: int


class LivePage:
    """The page of one run, kept up to date; safe to use from several threads.

    Args:
        run_dir: the run directory.
        price: of a GPU hour.
        clock: seconds, never going back.
    """

    def __init__(
        self, run_dir: Path, price: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.run_dir = run_dir
        self.fault = ""
        self._price = price
        self._clock = clock
        self._building = threading.Lock()
        self._next_at = -float("inf")
        self._files: frozenset[str] | None = None
        self._seen: object = None
        self._changed_at = -float("inf")

    @property
    def path(self) -> Path:
        """Where the page lies."""
        return page_path(self.run_dir)

    def refresh(self) -> None:
        """Make the page again if the run has more than it shows, and the last time is long enough ago.

        A page that cannot be made leaves the old one as it is, and `fault` says why. Raises `RunError` if there is no old
        one.
        """
        if not self._building.acquire(blocking=not self.path.is_file()):
            return  # another request sees to it
        try:
            if self._is_current() or (self.path.is_file() and self._clock() < self._next_at):
                return
            began = self._clock()
            try:
                shown = read_shown(self.run_dir, self._price)
                shown.write_page()
            except RunError as error:
                self.fault = str(error)
                if not self.path.is_file():
                    raise
            else:
                self.fault = ""
                self._files = _files_of(shown.rows)
            took = self._clock() - began
            self._next_at = self._clock() + max(_LEAST_BETWEEN_S, _SHARE_OF_TIME * took)
        finally:
            self._building.release()

    def _is_current(self) -> bool:
        """Whether the page is younger than all that it is made of."""
        try:
            made = self.path.stat().st_mtime_ns
        except OSError:
            return False
        return all(one[0] <= made for one in self._signature())

    def _signature(self) -> list[tuple[int, int]]:
        found = []
        for name in _WRITTEN:
            try:
                facts = os.stat(self.run_dir / name)  # noqa: PTH116 - no path object for each look
            except OSError:
                continue
            found.append((facts.st_mtime_ns, facts.st_size))
        return found

    def is_active(self) -> bool:
        """Whether the run was at work in the last seconds. Takes no lock, which a start could take for another run."""
        signature, now = self._signature(), self._clock()
        if signature != self._seen:
            first = self._seen is None
            self._seen = signature
            age = time.time() - max((one[0] for one in signature), default=0) / 1e9
            self._changed_at = now - (max(0.0, age) if first else 0.0)
        return now - self._changed_at < _ACTIVE_S

    def progress(self) -> Progress:
        """Return how far the run is."""
        return Progress(_lines(self.run_dir / "edits.jsonl"), _lines(self.run_dir / "verdicts.jsonl"))

    def shows(self, file: str) -> bool:
        """Whether a file outside the run is one that its page names: a sample's image, or the other run's edit."""
        if self._files is None:
            try:
                self._files = _files_of(read_rows(RunReader(self.run_dir)))
            except RunError:
                return False
        return file in self._files


def _files_of(rows: Iterable[Row]) -> frozenset[str]:
    found: set[str] = set()
    for row in rows:
        sample = row.sample
        found.update(sample.images, sample.references, sample.judged)
        found.update(path for path in (sample.target, *(row.rival or ())) if path)
    return frozenset(map(os.path.normpath, found))


def _lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b""))
    except OSError:
        return 0
