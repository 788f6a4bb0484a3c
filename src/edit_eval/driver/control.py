"""How a run that goes on is told to end or to pause: a value that signal handlers set and the pool reads.

Knows nothing of signals, devices or tasks.
"""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["Control"]

_LOOK_S = 1.0


class Control:
    """What is asked of a run from outside.

    `end` may be called from a signal handler. While the file `pause` lies in the run's directory, no new task is
    begun; those begun are finished.
    """

    def __init__(self, grace_s: float = 25.0) -> None:
        self.grace_s = grace_s
        self.ending = False
        self._ends_at = float("inf")
        self._pause_file: Path | None = None
        self._paused = False
        self._look_at = 0.0

    def end(self) -> None:
        """Ask for the end: what is begun is finished within `grace_s` seconds, nothing new is begun."""
        if not self.ending:
            self._ends_at = time.monotonic() + self.grace_s
            self.ending = True

    @property
    def overdue(self) -> bool:
        """Whether the time for what was begun has run out."""
        return time.monotonic() > self._ends_at

    def watch(self, folder: Path) -> None:
        """Look for a file called `pause` in `folder` from now on."""
        self._pause_file = folder / "pause"

    @property
    def paused(self) -> bool:
        """Whether the run is to pause; looks at the disk at most once a second."""
        now = time.monotonic()
        if self._pause_file is not None and now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._paused = self._pause_file.exists()
        return self._paused
