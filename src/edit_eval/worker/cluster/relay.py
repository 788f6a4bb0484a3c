"""The relay: starts a keeper on its machine, and passes on what driver and keeper say to each other.

It is the inside of an actor: `up` and `down` are called from afar, as coroutines of one event loop. Standard library
only. When its process ends, however it ends, the keeper's socket closes, and the keeper ends with all that is below it.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from edit_eval.worker.launch import KeeperProcess, keepers_log

__all__ = ["Relay"]

_MOST_BYTES = 4 << 20
"""At most so much is passed on at once."""

_END_S = 10.0


class Relay:
    """One keeper's connection.

    Args:
        scratch: a folder of its own, which holds `edit_eval` in `code`; it is removed at the end.
        spec: of the bridge: `logs`, the folder for logs.

    Raises:
        OSError: the keeper cannot be started.
    """

    def __init__(self, scratch: Path, spec: dict[str, Any]) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        with keepers_log(Path(spec["logs"])) as log:
            self._keeper = KeeperProcess(scratch / "code", str(scratch), log, environment)
        self._socket = self._keeper.socket
        self._socket.setblocking(False)

    async def up(self) -> bytes:
        """Wait for what the keeper says next; empty once it has ended."""
        loop = asyncio.get_running_loop()
        try:
            data = await loop.sock_recv(self._socket, _MOST_BYTES)
        except OSError:
            data = b""
        if not data:
            await loop.run_in_executor(None, self._keeper.wait, _END_S)
        return data

    async def down(self, data: bytes) -> None:
        """Pass on what the driver says; nobody hears it if the keeper has ended."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except OSError:
            return
