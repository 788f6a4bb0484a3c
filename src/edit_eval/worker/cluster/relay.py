"""The relay: starts a keeper on its machine, and passes on what driver and keeper say to each other.

It is the inside of an actor: its methods are called from afar, by the bridge alone and never two of `down`, `package` and
`bring` at once, as coroutines of one event loop. Standard library only. When its process ends, however it ends, the
keeper's socket closes, and the keeper ends with all that is below it.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from edit_eval.worker.cluster.carrier import Carrier, is_seen, line_of
from edit_eval.worker.cluster.code import unpacked
from edit_eval.worker.cluster.gpus import KeeperGpus
from edit_eval.worker.launch import KeeperProcess, keepers_log

__all__ = ["Relay", "Up"]

_READ_BYTES = 1 << 18
_MOST_BYTES = 16 << 20
"""From so many bytes of files on, what else was said waits for the next call."""

_END_S = 10.0
_ABOUT_TASKS = ("done", "failed", "recalled")


class Up(NamedTuple):
    """What goes up at once: whole lines (none: the keeper has ended), files by path, and what a host printed."""

    lines: bytes
    files: dict[str, bytes]
    log: bytes


class Relay:
    """One keeper's connection.

    Args:
        scratch: a folder of its own, which holds `edit_eval` in `code`; the keeper removes it at its end.
        spec: of the bridge: `logs`, the folder for logs; `probe` and `token`, a file in the run directory and what it holds;
            `gpus`, the ids of its GPUs on this machine.

    Raises:
        OSError: the keeper cannot be started.
    """

    def __init__(self, scratch: Path, spec: dict[str, Any]) -> None:
        self._scratch = scratch
        seen = is_seen(Path(spec["probe"]), spec["token"])
        self._carrier = Carrier(scratch / "files", seen=seen)
        self._packages = {"edit_eval": str(scratch / "code" / "edit_eval")}
        self._unread = bytearray()
        self._held: list[bytes] = []
        self._refused: list[bytes] = []
        self._exited = False
        self._gpus = KeeperGpus(spec["gpus"])
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        with keepers_log(Path(spec["logs"]) if seen else scratch) as log:
            self._keeper = KeeperProcess(scratch / "code", str(scratch), log, environment)
        self._socket = self._keeper.socket
        self._socket.setblocking(False)

    # Up

    async def up(self) -> tuple[bytes, dict[str, bytes], bytes]:
        """Wait for what the keeper says next; the lines are empty once it has ended."""
        loop = asyncio.get_running_loop()
        while not (found := await self._drained()).lines:
            try:
                data = await loop.sock_recv(self._socket, _READ_BYTES)
            except OSError:
                data = b""
            if not data:
                await loop.run_in_executor(None, self._keeper.wait, _END_S)
                return Up(b"", {}, b"")
            self._unread += data
        return found

    async def _drained(self) -> Up:
        """Take what has arrived; that a host has ended is told once its memory is free."""
        found = self._taken()
        if self._exited:
            self._exited = False
            await self._gpus.drained()
        return found

    def _taken(self) -> Up:
        """Take whole lines that have arrived, with the files that belong to them."""
        lines, self._refused = self._refused, []
        files: dict[str, bytes] = {}
        said = b""
        while (end := self._unread.find(b"\n") + 1) and sum(map(len, files.values())) < _MOST_BYTES:
            line = bytes(self._unread[:end])
            del self._unread[:end]
            message = json.loads(line)
            if message["type"] in _ABOUT_TASKS:
                message, more = self._carrier.answered(message)
                files |= more
                line = line_of(message)
            elif message["type"] == "exited":
                said += self._carrier.over()
                self._exited = True
            lines.append(line)
        return Up(b"".join(lines), files, said)

    # Down

    async def down(self, lines: list[bytes]) -> list[str]:
        """Pass on what the driver says, or return the paths of files that must be brought first."""
        wanted: list[str] = []
        for line in lines:
            message = json.loads(line)
            if message["type"] in ("start", "prepare"):
                message = {**message, "load": self._load(message["load"])}
                line = line_of(self._carrier.start(message, self._packages))  # noqa: PLW2901
            elif message["type"] == "task":
                message, missing, refused = self._carrier.tasks(message)
                wanted += missing
                self._refused += map(line_of, refused)
                line = line_of(message)  # noqa: PLW2901
            self._held.append(line)
        if not wanted:
            await self._pass_on()
        return wanted

    def _load(self, load: dict[str, Any]) -> dict[str, Any]:
        """Return a host's `load` message with the part of the memory that it may take, if it is to be told."""
        options = load.get("options") or {}
        if "memory_share" not in options:
            return load
        return {**load, "options": {**options, "memory_share": self._gpus.share()}}

    async def package(self, name: str, archive: bytes) -> None:
        """Take a package that the next hosts import. Raises `OSError`."""
        folder = unpacked(archive, self._scratch / "packages" / str(len(self._packages)))
        self._packages[name] = str(folder / name)

    async def bring(self, files: dict[str, bytes]) -> None:
        """Take the files that `down` asked for, as far as there are any, and pass on what waited for them."""
        for path, data in files.items():
            self._carrier.bring(path, data)
        await self._pass_on()

    async def _pass_on(self) -> None:
        """Send the keeper what is held; nobody hears it if the keeper has ended."""
        data, self._held = b"".join(self._held), []
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except OSError:
            return
