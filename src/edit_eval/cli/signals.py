"""Signals while a run goes on: the first asks for an orderly end, the second ends it now."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from edit_eval.driver.control import Control

__all__ = ["obey_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Ctrl-C, an ordinary kill, and what schedulers send as a warning before their time limit."""


@contextmanager
def obey_signals(control: Control) -> Iterator[None]:
    """Let signals end the run within: the first by `control`, any later one by `KeyboardInterrupt`."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        if control.ending:
            raise KeyboardInterrupt
        control.end()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
