"""Signals while a run goes on: the first asks for an orderly end, a later one ends it now."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from edit_eval.driver.control import Control

__all__ = ["obey_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Ctrl-C, an ordinary kill, and what schedulers send as a warning before their time limit."""

_ONE_S = 0.2
"""What comes so soon after the first is the same request: a scheduler or a terminal signals every process, and a
container's or a launcher's front end passes on what it got."""


@contextmanager
def obey_signals(control: Control) -> Iterator[None]:
    """Let signals end the run within: the first by `control`, any that is not the same by `KeyboardInterrupt`."""
    first_at = 0.0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal first_at
        if not control.ending:
            first_at = time.monotonic()
            control.end()
        elif time.monotonic() - first_at > _ONE_S:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
