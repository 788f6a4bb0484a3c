"""One keeper as the bridge sees it: an actor on a node, and the socket of the driver that it is for.

Whole lines are passed on both ways. Files go with them where a node does not see the driver's: only such as a task of
this keeper names are read, and only such are written, here, on the driver's machine.

The driver is heard at any time, also while its words wait for an actor that Ray has not placed yet: hanging up ends the
passage at once, and so does the end of a host that never began.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from edit_eval.worker.cluster.carrier import OUTPUTS, files_read, line_of
from edit_eval.worker.cluster.code import packed
from edit_eval.worker.images import write_whole
from edit_eval.worker.logs import CappedLog

__all__ = ["Passage", "Traffic"]

_READ_BYTES = 1 << 20
_AT_ONCE = 8
"""So many keepers may be brought files, or have theirs written, at the same time: what bounds the object store."""


_ENDS = {"stop": "", "kill": "its keeper had not begun yet", "quit": ""}
"""What ends a host, so that a keeper which has none yet is not waited for any longer -> what is to be said of it."""


class Traffic:
    """What all passages share: who may carry files now, one writer, and packages that were packed."""

    def __init__(self, put: Callable[[bytes], Any]) -> None:
        self.carrying = asyncio.Semaphore(_AT_ONCE)
        self.writer = ThreadPoolExecutor(1)
        self._put = put
        self._packages: dict[str, Any] = {}

    async def package(self, path: str) -> Any:
        """Return a reference to a package, packed once. Raises `PackageError`."""
        if path not in self._packages:
            archive = await asyncio.get_running_loop().run_in_executor(None, packed, Path(path))
            self._packages[path] = self._put(archive)
        return self._packages[path]


class Passage:
    """Between `sock` and `actor`, until one of them ends; `started` is told the pid of every host."""

    def __init__(
        self, sock: socket.socket, actor: Any, traffic: Traffic, started: Callable[[int], None]
    ) -> None:
        self._started = started
        self._socket = sock
        self._actor = actor
        self._traffic = traffic
        self._answered = False  # the actor, to anything: it is there
        self._said: asyncio.Queue[tuple[bytes, dict[str, Any]]] = asyncio.Queue()  # not passed on yet
        self._reads: dict[str, set[str]] = {}  # of a task that is not answered
        self._writes: dict[str, dict[str, Any]] = {}  # of a task that is not answered: its payload
        self._log = Path(os.devnull)
        self._packages: set[tuple[str, str]] = set()

    async def run(self) -> str:
        """Pass on both ways until one side ends; return why, where that is not plain.

        Raises:
            PackageError: what hosts import cannot be sent.
            OSError: the driver's socket broke.
            RayError: the actor is there no more.
        """
        ways = [asyncio.ensure_future(one) for one in (self._hear(), self._down(), self._up())]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        finally:
            for one in ways:
                one.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    # Down

    async def _hear(self) -> str:
        """Take what the driver says until it hangs up, or has no more use for a keeper that is not there; return why."""
        loop = asyncio.get_running_loop()
        unread = b""
        while data := await loop.sock_recv(self._socket, _READ_BYTES):
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if message["type"] in _ENDS and not self._answered:
                    return _ENDS[message["type"]]
                self._said.put_nowait((line + b"\n", message))
        return ""

    async def _down(self) -> str:
        """Pass on what was heard, in turn."""
        while True:
            said = [await self._said.get()]
            while not self._said.empty():
                said.append(self._said.get_nowait())
            for _, message in said:
                await self._look_at(message)
            wanted = await self._asked(self._actor.down.remote([line for line, _ in said]))
            if wanted:
                await self._bring(wanted)

    async def _asked(self, answer: Any) -> Any:
        """Wait for an answer of the actor, and return it."""
        found = await answer
        self._answered = True
        return found

    async def _look_at(self, message: Mapping[str, Any]) -> None:
        if message["type"] in ("start", "prepare"):
            host = message["host"]
            if message["type"] == "start":
                self._log = Path(host["log"])
            for name, path in host["links"].items():
                if (name, path) not in self._packages and name != "edit_eval":  # that one is there already
                    self._packages.add((name, path))
                    await self._asked(self._actor.package.remote(name, await self._traffic.package(path)))
        elif message["type"] == "task":
            for task in message["tasks"]:
                payload = task["payload"]
                self._reads[task["id"]] = {path for path, _ in files_read(payload)}
                self._writes[task["id"]] = payload

    async def _bring(self, wanted: list[str]) -> None:
        """Send files that the node does not see; of one that is not here either, the host says so itself."""
        named = set().union(*self._reads.values())
        async with self._traffic.carrying:
            loop = asyncio.get_running_loop()
            paths = [path for path in wanted if path in named]
            files = await loop.run_in_executor(None, _contents, paths)
            await self._asked(self._actor.bring.remote(files))

    # Up

    async def _up(self) -> str:
        """Pass on what the keeper says until it ends."""
        loop = asyncio.get_running_loop()
        while True:
            lines, files, said = await self._asked(self._actor.up.remote())
            if not lines:
                return ""
            if files or said:
                write = partial(_write, self._log, said, files, self._outputs())
                lines = await loop.run_in_executor(self._traffic.writer, write) + lines
            for line in lines.splitlines():
                message = json.loads(line)
                if message["type"] == "started":
                    self._started(message["pid"])
                for name in message.get("ids") or [message.get("id")]:
                    if message["type"] in ("done", "failed", "recalled"):
                        self._reads.pop(name, None)
                        self._writes.pop(name, None)
            await loop.sock_sendall(self._socket, lines)

    def _outputs(self) -> dict[str, str]:
        """Return the paths that tasks may write, and what lies there."""
        return {
            payload[name]: name for payload in self._writes.values() for name in OUTPUTS if name in payload
        }


def _write(log: Path, said: bytes, files: Mapping[str, bytes], outputs: Mapping[str, str]) -> bytes:
    """Write what a host printed, and files that tasks made; return what is to be said first: that the disk is full, say."""
    if said:
        capped = CappedLog(log)
        capped.write(said)
        capped.close()
    for path, data in files.items():
        kind = outputs.get(path)
        if kind == "image":
            try:
                write_whole(Path(path), data)
            except OSError as error:
                reason = error.strerror or str(error)
                fatal = {"type": "fatal", "path": path, "errno": error.errno or 0, "reason": reason}
                return line_of({"v": 1, **fatal})
        elif kind is not None:
            with contextlib.suppress(OSError):  # a picture for people: the next start makes what is missing
                write_whole(Path(path), data, durable=False)
    return b""


def _contents(paths: list[str]) -> dict[str, bytes]:
    found = {}
    for path in paths:
        with contextlib.suppress(OSError):
            found[path] = Path(path).read_bytes()
    return found
