"""The bridge: a process beside the driver that is connected to a Ray cluster, and has keepers run on its nodes.

It is told by the driver over two sockets: `control`, where it says what becomes of cluster and keepers, one JSON object
a line, and `doors`, where every packet orders a keeper and brings the socket for it. Both ends of a keeper's socket
speak `worker.protocol`, of which the bridge knows nothing. When `control` closes it ends, and with it all its actors.

Down: connect {address, code, ...}. Up: connected {ray, python}, refused {reason}, nodes {nodes}, lost {id, why}.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import platform
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from edit_eval.worker.cluster.code import packed
from edit_eval.worker.cluster.passage import Passage, Traffic
from edit_eval.worker.processes import die_with_parent
from edit_eval.worker.protocol import Channel

__all__ = ["main"]

_PACKET_BYTES = 1 << 16
_NODES_S = 1.0
"""Seconds between two looks at which nodes there are."""

_CLOSE_S = 10.0


class Actor:
    """What runs in the cluster; its code travels with it, so it imports nothing of ours before that is unpacked."""

    def __init__(self, code: bytes, spec: dict[str, Any]) -> None:
        import io
        import shutil
        import tempfile
        import zipfile

        scratch = Path(tempfile.mkdtemp(prefix="edit-eval-"))
        try:
            with zipfile.ZipFile(io.BytesIO(code)) as archive:
                archive.extractall(scratch / "code")
            sys.path.insert(0, str(scratch / "code"))
            from edit_eval.worker.cluster.relay import Relay

            self._relay = Relay(scratch, spec)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise

    async def up(self) -> tuple[bytes, dict[str, bytes], bytes]:
        """See `Relay.up`."""
        lines, files, log = await self._relay.up()
        return lines, files, log

    async def down(self, lines: list[bytes]) -> list[str]:
        """See `Relay.down`."""
        return await self._relay.down(lines)

    async def package(self, name: str, archive: bytes) -> None:
        """See `Relay.package`."""
        await self._relay.package(name, archive)

    async def bring(self, files: dict[str, bytes]) -> None:
        """See `Relay.bring`."""
        await self._relay.bring(files)


async def _keep(ray: Any, sock: socket.socket, order: dict[str, Any], code: Any, traffic: Traffic) -> str:
    """Have a keeper run until one side ends; return why, where that is not plain."""
    actor = _started(ray, order, code)
    passage = Passage(sock, actor, traffic)
    ways = [asyncio.ensure_future(one) for one in (passage.up(), passage.down())]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        return _why(ray, next(iter(done)).exception())
    finally:
        for one in ways:
            one.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        ray.kill(actor)


def _started(ray: Any, order: dict[str, Any], code: Any) -> Any:
    """Return the actor of one keeper; it may take a while until it is there."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    needs = dict(order["resources"])
    kind = ray.remote(Actor).options(
        num_cpus=needs.pop("CPU", 0),
        num_gpus=needs.pop("GPU", 0),
        resources=needs,
        max_restarts=0,
        max_task_retries=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(order["node"], soft=False),
    )
    return kind.remote(code, order["spec"])


class _Bridge:
    """Serves one driver; see the module."""

    def __init__(self, control: Channel, doors: socket.socket) -> None:
        self._control = control
        self._doors = doors
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._nodes: list[dict[str, Any]] = []

    async def serve(self, ray: Any) -> None:
        """Work until the driver goes away."""
        loop = asyncio.get_running_loop()
        code, traffic = ray.put(packed(Path(__file__).parents[2])), Traffic(ray.put)
        self._doors.setblocking(False)
        loop.add_reader(self._control.fileno(), self._on_control)
        loop.add_reader(self._doors.fileno(), self._on_door, ray, code, traffic)
        watch = asyncio.ensure_future(self._watch(ray))
        await self._over.wait()
        watch.cancel()

    def _on_control(self) -> None:
        self._control.receive()
        if self._control.closed:
            self._over.set()

    def _on_door(self, ray: Any, code: Any, traffic: Traffic) -> None:
        packet, fds, _, _ = socket.recv_fds(self._doors, _PACKET_BYTES, 1)
        if not packet or len(fds) != 1:
            self._over.set()
            return
        keeper = socket.socket(fileno=fds[0])
        task = asyncio.ensure_future(self._serve_keeper(ray, keeper, json.loads(packet), code, traffic))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_keeper(
        self, ray: Any, sock: socket.socket, order: dict[str, Any], code: Any, traffic: Traffic
    ) -> None:
        with sock:  # the driver is told why before it sees the end
            sock.setblocking(False)
            why = await _keep(ray, sock, order, code, traffic)
            self._say("lost", id=order["id"], why=why)

    async def _watch(self, ray: Any) -> None:
        """Say which nodes there are whenever that changes."""
        loop = asyncio.get_running_loop()
        while True:
            nodes = await loop.run_in_executor(None, nodes_of, ray)
            if nodes != self._nodes:
                self._nodes = nodes
                self._say("nodes", nodes=nodes)
            await asyncio.sleep(_NODES_S)

    def _say(self, kind: str, **fields: Any) -> None:
        self._control.send(kind, **fields)


def nodes_of(ray: Any) -> list[dict[str, Any]]:
    """Return the nodes that are alive: id, name, and resources by name."""
    return [
        {
            "id": one["NodeID"],
            "name": one["NodeManagerHostname"]
            if one["NodeName"] in ("", one["NodeManagerAddress"])
            else one["NodeName"],
            "resources": {
                name: count
                for name, count in one["Resources"].items()
                if ":" not in name and "memory" not in name
            },
        }
        for one in ray.nodes()
        if one["Alive"]
    ]


def _why(ray: Any, error: BaseException | None) -> str:
    """Return in one line why an actor went away; empty for one that ended as it should. Raises what is our own fault."""
    if error is None:
        return ""
    if isinstance(error, ray.exceptions.RayError):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        return f"the connection within this machine broke: {error}"
    raise error


def _connect(control: Channel, asked: dict[str, Any]) -> Any:
    """Connect, or say why that cannot be and end."""
    try:
        import ray
    except ImportError:
        _refuse(control, f"{sys.executable} has no ray; pip install 'edit-eval[ray]' into it")
    try:
        ray.init(
            address=asked["address"],
            include_dashboard=False if asked["address"] in (None, "local") else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            namespace="edit-eval",
        )
    except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
        _refuse(control, " ".join(str(error).split()))
    return ray


def _refuse(control: Channel, reason: str) -> NoReturn:
    control.send_blocking([{"type": "refused", "reason": reason}])
    os._exit(0)


def _first(control: Channel) -> dict[str, Any]:
    """Wait for `connect`."""
    while not control.closed:
        for message in control.receive_blocking():
            return message
    os._exit(0)


def main() -> None:
    """Serve the driver on the sockets whose descriptors are the two arguments: control, doors."""
    die_with_parent()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(name, signal.SIG_IGN)
    control = Channel(socket.socket(fileno=int(sys.argv[1])))
    doors = socket.socket(fileno=int(sys.argv[2]))
    for one in (control, doors):
        os.set_inheritable(one.fileno(), False)
    ray = _connect(control, _first(control))
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    control.send("connected", ray=ray.__version__, python=platform.python_version())
    asyncio.run(_serve(ray, control, doors))
    _end(ray.shutdown)


async def _serve(ray: Any, control: Channel, doors: socket.socket) -> None:
    await _Bridge(control, doors).serve(ray)


def _end(shutdown: Callable[[], None]) -> None:
    """Close the connection, and end in any case."""
    import threading

    timer = threading.Timer(_CLOSE_S, os._exit, (1,))
    timer.daemon = True
    timer.start()
    shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
