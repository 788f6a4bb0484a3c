"""A node's recorder: reads the GPUs and processes of the keepers on its machine, once a second.

One a node, in an actor of its own beside the keepers' relays. What it has read waits until the bridge asks for it, for
ten minutes at most. Times are ages, so that no two machines need the same clock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from edit_eval.worker.readings import GpuReader, ProcessReader, Reading

__all__ = ["NodeRecorder"]

INTERVAL_S = 1.0
_MOST_UNREAD = 600


class NodeRecorder:
    """Reads from its making on, in a thread of its own: a call into NVML can wait for seconds."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[str, ...]] = {}
        self._gpus = GpuReader(())
        self._processes = ProcessReader()
        self._unread: deque[tuple[float, dict[str, Reading], dict[str, Reading]]] = deque(maxlen=_MOST_UNREAD)
        self._over = threading.Event()
        threading.Thread(target=self._run, name="recorder", daemon=True).start()

    def follow(self, device: str, host: int, tokens: Sequence[str]) -> None:
        """Count the process `host` and what is around it to `device`, whose GPUs are `tokens`."""
        if self._tokens.get(device) != tuple(tokens):
            self._tokens[device] = tuple(tokens)
            self._gpus = GpuReader(token for many in self._tokens.values() for token in many)
        self._processes.follow(device, host)

    def read(self) -> dict[str, Any]:
        """Return what was read since the last call, as JSON data.

        Returns:
            `samples`: [age in seconds, values of GPUs by id, values of processes by device]; `devices`: device -> ids of its
            GPUs; `gpus`: id -> name and memory_bytes.
        """
        now, gpus = time.monotonic(), self._gpus
        samples = []
        while self._unread:
            at, by_gpu, by_device = self._unread.popleft()
            samples.append([round(now - at, 3), by_gpu, by_device])
        return {
            "samples": samples,
            "devices": {
                device: [gpus.info[token].id for token in tokens if token in gpus.info]
                for device, tokens in self._tokens.items()
            },
            "gpus": {
                one.id: {"name": one.name, "memory_bytes": one.memory_bytes} for one in gpus.info.values()
            },
        }

    def end(self) -> None:
        """Read no more."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(INTERVAL_S):
            self._unread.append((time.monotonic(), self._gpus.read(), self._processes.read()))
