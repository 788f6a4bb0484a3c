"""A role that sleeps: the host side of `orchestration.py`. Runs in a host, so standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from edit_eval.worker.roles import Role


class SleepRole(Role):
    """Sleeps as long as the payload says, from a common start on."""

    window = 2

    def __init__(self, load: dict[str, Any]) -> None:
        self._start_at = float(load["start_at"])

    def run(
        self, payloads: Sequence[dict[str, Any]], progress: Callable[[int, int], None]
    ) -> list[dict[str, Any]]:
        """Sleep."""
        del progress
        time.sleep(max(0.0, self._start_at - time.time()))
        for payload in payloads:
            time.sleep(payload["seconds"])
        return [{} for _ in payloads]
