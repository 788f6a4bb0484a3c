"""What waiting tasks will need, got in threads while a model works on others.

Knows nothing of tasks but that each is one object from its arrival to its end. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

__all__ = ["Beforehand"]

T = TypeVar("T")


class Beforehand(Generic[T]):
    """Gets what tasks need: beforehand if a task is expected, else when it is asked for.

    Args:
        get: what a task needs; called in any thread.
        threads: that get.
        most: expected tasks at a time; the one that has waited longest was taken back, and is let go.
    """

    def __init__(self, get: Callable[[dict[str, Any]], T], threads: int = 1, most: int = 2) -> None:
        self._get, self._most = get, most
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._expected: dict[int, tuple[dict[str, Any], Future[T]]] = {}

    def expect(self, payload: dict[str, Any]) -> None:
        """Begin to get what a task will need, unless that was begun; returns at once."""
        if id(payload) in self._expected:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "beforehand")
        self._expected[id(payload)] = payload, self._pool.submit(self._get, payload)
        for one in list(self._expected)[: -self._most]:
            _, future = self._expected.pop(one, (None, None))
            if future is not None:  # else a thread that works has just taken it
                future.cancel()

    def take(self, payload: dict[str, Any]) -> T:
        """Return what a task needs; raises what getting it raises."""
        _, future = self._expected.pop(id(payload), (None, None))
        return self._get(payload) if future is None else future.result()
