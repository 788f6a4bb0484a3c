"""The GPUs of one keeper on its node: how much of their memory is in use, and when it is free again.

What the driver asks NVML itself on its own machine. Without NVML nothing is known, and nothing is waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from edit_eval.worker.readings import open_nvml

__all__ = ["KeeperGpus"]

_SLACK_BYTES = 512 << 20
_DRAIN_S = 15.0
_LOOK_S = 0.1
_RESERVE_BYTES = 1 << 30
"""What an engine leaves free: its CUDA context, and what others' processes there grow by."""


class KeeperGpus:
    """Looks at GPUs by the ids in `CUDA_VISIBLE_DEVICES`; how much is in use at the start is their usual state."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tokens
        self._nvml: Any = open_nvml()[0] if tokens else None
        self._before = self.used_bytes()

    def used_bytes(self) -> int | None:
        """Return the bytes in use on all of them, by whomever; None where that is not known."""
        return self._sum(lambda found: int(found.used))

    def share(self) -> float | None:
        """Return the part of the memory that an engine may take, of the fullest GPU: (free - 1 GiB) / total."""
        if self._nvml is None:
            return None
        shares = []
        for token in self._tokens:
            found = self._memory(token)
            if found is None:
                return None
            free = int(found.total) - int(found.used) - _RESERVE_BYTES
            shares.append(max(0, free * 1000 // int(found.total)) / 1000)
        return min(shares)

    async def drained(self) -> None:
        """Wait until as little is in use as at the start (+0.5 GiB), at most 15 s."""
        deadline = time.monotonic() + _DRAIN_S
        while self._before is not None and time.monotonic() < deadline:
            used = await asyncio.get_running_loop().run_in_executor(None, self.used_bytes)
            if used is None or used <= self._before + _SLACK_BYTES:
                return
            await asyncio.sleep(_LOOK_S)

    def _sum(self, value: Callable[[Any], int]) -> int | None:
        if self._nvml is None:
            return None
        found = [self._memory(token) for token in self._tokens]
        return None if None in found else sum(map(value, found))

    def _memory(self, token: str) -> Any | None:
        nvml = self._nvml
        find = nvml.nvmlDeviceGetHandleByIndex if token.isdigit() else nvml.nvmlDeviceGetHandleByUUID
        try:
            return nvml.nvmlDeviceGetMemoryInfo(find(int(token) if token.isdigit() else token))
        except nvml.NVMLError:
            return None
