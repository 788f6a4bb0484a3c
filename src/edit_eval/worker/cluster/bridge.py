"""The bridge: a process beside the driver that is connected to a Ray cluster, and has keepers run on its nodes.

It is told by the driver over two sockets: `control`, where it says what becomes of cluster and keepers, one JSON object
a line, and `doors`, where every packet orders a keeper and brings the socket for it. Both ends of a keeper's socket
speak `worker.protocol`, of which the bridge knows nothing. When `control` closes it ends, and with it all its actors.

Down: connect {address}. Up: refused {reason}, nodes {nodes}, lost {id, why, gone}, remark {text},
readings {samples, devices, gpus}.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from edit_eval.worker.cluster.carrier import line_of
from edit_eval.worker.cluster.code import PackageError, packed
from edit_eval.worker.cluster.passage import Passage, Traffic
from edit_eval.worker.processes import die_with_parent
from edit_eval.worker.protocol import BEAT_S, VERSION, Channel

__all__ = ["main"]

_PACKET_BYTES = 1 << 16
_LONGEST_LINE = 600
_READ_S = 2.0
"""Seconds between two times that a node's recorder is asked; with many nodes, `_READ_SHARE_S` for each of them."""

_READ_SHARE_S = 0.02
_KNOCK_S = 10.0
_OWN_STORE_BYTES = 256 << 20
_PATIENCE_S = 6 * BEAT_S
"""Seconds after which it is said that a keeper waits for its node's resources."""

_NODES_S = 1.0
"""Seconds between two looks at which nodes there are."""

_CLOSE_S = 10.0
_FAULTS = (PackageError, OSError, ValueError, TypeError, RuntimeError)
"""What Ray raises of an order that it does not take (the last three), and what keeps files from being sent."""


def _unpack(code: bytes) -> Path:
    """Unpack our code on a node, before anything of ours is imported there; return its folder."""
    import io
    import shutil
    import tempfile
    import zipfile

    scratch = Path(tempfile.mkdtemp(prefix="edit-eval-"))
    try:
        with zipfile.ZipFile(io.BytesIO(code)) as archive:
            archive.extractall(scratch / "code")
        sys.path.insert(0, str(scratch / "code"))
        try:
            import pynvml  # noqa: F401
        except ImportError:  # edit-eval is not installed here; Ray has its own
            from ray._private import thirdparty

            sys.path.append(thirdparty.__path__[0])
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return scratch


class Watcher:
    """A node's recorder; its code travels with it, as that of `Actor`."""

    def __init__(self, code: bytes) -> None:
        import shutil

        scratch = _unpack(code)
        try:
            from edit_eval.worker.cluster.recorder import NodeRecorder
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self._recorder = NodeRecorder()

    def follow(self, device: str, host: int, tokens: list[str]) -> None:
        """See `NodeRecorder.follow`."""
        self._recorder.follow(device, host, tokens)

    def read(self) -> dict[str, Any]:
        """See `NodeRecorder.read`."""
        return self._recorder.read()


class Actor:
    """What runs in the cluster; its code travels with it, so it imports nothing of ours before that is unpacked."""

    def __init__(self, code: bytes, spec: dict[str, Any]) -> None:
        import shutil

        scratch = _unpack(code)
        try:
            from edit_eval.worker.cluster.relay import Relay

            tokens = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if spec["accelerated"] else []
            self._gpus = [token for token in tokens if token]
            self._relay = Relay(scratch, {**spec, "gpus": self._gpus})
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise

    async def here(self) -> list[str]:
        """Say that it runs, and which GPUs Ray gave it."""
        return self._gpus

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


def _started(way: _Way, order: dict[str, Any]) -> Any:
    """Return the actor of one keeper; it may take a while until it is there."""
    needs = dict(order["resources"])
    kind = way.ray.remote(Actor).options(
        num_cpus=needs.pop("CPU", 0),
        num_gpus=needs.pop("GPU", 0),
        resources=needs,
        max_restarts=0,
        max_task_retries=0,
        scheduling_strategy=_pinned(way.ray, order["node"]),
    )
    return kind.remote(way.code, order["spec"])


def _pinned(ray: Any, node: str) -> Any:
    """Return what has an actor run on that node, or not at all."""
    return ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)


class _Way:
    """What keepers share on their way to the cluster: Ray, our code in its store, and who carries files."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self.code = ray.put(packed(Path(__file__).parents[2]))
        self.traffic = Traffic(ray.put)


class _Bridge:
    """Serves one driver; see the module."""

    def __init__(self, ray: Any, control: Channel, doors: socket.socket) -> None:
        self._ray = ray
        self._control = control
        self._doors = doors
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._nodes: list[dict[str, Any]] = []
        self._recorders: dict[str, Any] = {}
        self._slow: set[str] = set()

    async def serve(self) -> None:
        """Work until the driver goes away. Raises `RayError` where the cluster does."""
        loop = asyncio.get_running_loop()
        way = _Way(self._ray)
        self._doors.setblocking(False)
        loop.add_reader(self._control.fileno(), self._on_control)
        loop.add_reader(self._doors.fileno(), self._on_door, way)
        over = asyncio.ensure_future(self._over.wait())
        watch = asyncio.ensure_future(self._watch())
        done, _ = await asyncio.wait([over, watch], return_when=asyncio.FIRST_COMPLETED)
        if watch in done:
            await watch
        watch.cancel()

    def _on_control(self) -> None:
        self._control.receive()
        if self._control.closed:
            self._over.set()

    def _on_door(self, way: _Way) -> None:
        packet, fds, _, _ = socket.recv_fds(self._doors, _PACKET_BYTES, 1)
        if not packet:
            self._over.set()
            return
        order = json.loads(packet)
        if not fds:  # the kernel drops what there is no room for
            why = "the bridge may open no more files; raise the limit (ulimit -n)"
            self._say("lost", id=order["id"], why=why, gone=False)
            return
        task = asyncio.ensure_future(self._serve_keeper(way, socket.socket(fileno=fds[0]), order))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_keeper(self, way: _Way, sock: socket.socket, order: dict[str, Any]) -> None:
        with sock:  # the driver is told why before it sees the end
            sock.setblocking(False)
            gone = False
            try:
                why = await self._kept(way, sock, order)
            except (way.ray.exceptions.RayError, *_FAULTS) as error:
                why, gone = _why(way.ray, error)
            if why:
                await self._look()  # so that a node that is gone is known to be
            self._say("lost", id=order["id"], why=why, gone=gone)

    async def _kept(self, way: _Way, sock: socket.socket, order: dict[str, Any]) -> str:
        """Have a keeper run until one side ends; return why, where that is not plain. Raises as `Passage.run`, `_started`."""
        actor = _started(way, order)
        waiting = asyncio.ensure_future(self._mind(actor, sock, order))
        try:
            self._recorder(way, order["node"])
            return await Passage(
                sock, actor, way.traffic, lambda pid: self._follow(way, actor, order, pid)
            ).run()
        finally:
            waiting.cancel()
            with contextlib.suppress(way.ray.exceptions.RayError, ValueError, RuntimeError):
                way.ray.kill(actor)
            await asyncio.gather(waiting, return_exceptions=True)

    def _follow(self, way: _Way, actor: Any, order: dict[str, Any], pid: int) -> None:
        """Have a host's machine read what it draws."""
        task = asyncio.ensure_future(self._follow_host(way, actor, order, pid))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow_host(self, way: _Way, actor: Any, order: dict[str, Any], pid: int) -> None:
        with contextlib.suppress(way.ray.exceptions.RayError):
            gpus = await actor.here.remote()
            await self._recorder(way, order["node"]).follow.remote(order["label"], pid, gpus)

    def _recorder(self, way: _Way, node: str) -> Any:
        """Return the recorder of a node, and have it asked from now on."""
        if node not in self._recorders:
            kind = way.ray.remote(Watcher).options(num_cpus=0, scheduling_strategy=_pinned(way.ray, node))
            self._recorders[node] = kind.remote(way.code)
            task = asyncio.ensure_future(self._read(way, node))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return self._recorders[node]

    async def _read(self, way: _Way, node: str) -> None:
        """Pass on what a node's recorder has read, until it goes away."""
        with contextlib.suppress(way.ray.exceptions.RayError):
            while True:
                await asyncio.sleep(max(_READ_S, len(self._recorders) * _READ_SHARE_S))
                self._say("readings", **await self._recorders[node].read.remote())
        del self._recorders[node]

    async def _mind(self, actor: Any, sock: socket.socket, order: dict[str, Any]) -> None:
        """Say that a keeper waits for its turn, and let the driver know as long that the way to it is whole."""
        loop = asyncio.get_running_loop()
        there = asyncio.ensure_future(_answer(actor))
        waited = 0.0
        try:
            while not (await asyncio.wait([there], timeout=BEAT_S))[0]:
                waited += BEAT_S
                await loop.sock_sendall(sock, line_of({"v": VERSION, "type": "beat"}))
                if waited >= _PATIENCE_S and order["node"] not in self._slow:
                    self._slow.add(order["node"])
                    free = await loop.run_in_executor(None, _free, self._ray, order)
                    why = (
                        f"its node is slow, or others hold what it needs (free in the whole cluster: {free})"
                    )
                    text = f"{order['label']} has waited {waited:.0f} s for its keeper: {why}"
                    self._say("remark", text=text)
        finally:
            there.cancel()
            await asyncio.gather(there, return_exceptions=True)

    async def _watch(self) -> None:
        """Say which nodes there are whenever that changes."""
        while True:
            await self._look()
            await asyncio.sleep(_NODES_S)

    async def _look(self) -> None:
        nodes = await asyncio.get_running_loop().run_in_executor(None, nodes_of, self._ray)
        if nodes != self._nodes:
            self._nodes = nodes
            self._say("nodes", nodes=nodes)

    def _say(self, kind: str, **fields: Any) -> None:
        self._control.send(kind, **fields)
        if self._control.unsent:
            asyncio.get_running_loop().add_writer(self._control.fileno(), self._flush)

    def _flush(self) -> None:
        self._control.flush()
        if not self._control.unsent or self._control.closed:
            asyncio.get_running_loop().remove_writer(self._control.fileno())


async def _answer(actor: Any) -> None:
    await actor.here.remote()


def _free(ray: Any, order: dict[str, Any]) -> str:
    """Return what is free of the resources that a keeper needs, for people."""
    free = ray.available_resources()
    return ", ".join(f"{name} {free.get(name, 0.0):g}" for name in order["resources"])


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
        for one in sorted(ray.nodes(), key=lambda one: str(one["NodeID"]))
        if one["Alive"]
    ]


def _why(ray: Any, error: Exception) -> tuple[str, bool]:
    """Return in one line why there is a keeper no more, and whether its node went away."""
    if isinstance(error, ray.exceptions.RayError):
        gone = any(words in str(error) for words in ("node has died", "node was terminated", "its node"))
        return _without_trace(str(error)), gone
    if isinstance(error, PackageError):
        return str(error), False
    if isinstance(error, OSError):
        return f"the connection within this machine broke: {error}", False
    return _one_line(f"{type(error).__name__}: {error}"), False


def _without_trace(text: str) -> str:
    """Return in one line what Ray says of an actor; of an error with its trace, the error."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    lines = [line for line in plain.splitlines() if line.strip()]
    traced = any(line.lstrip().startswith('File "') for line in lines)
    return _one_line(lines[-1] if traced else plain)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_LINE]


def _connect(control: Channel, asked: dict[str, Any]) -> Any:
    """Connect, or say why that cannot be and end."""
    try:
        import ray
    except ImportError:
        _refuse(control, f"{sys.executable} has no ray; pip install 'edit-eval[ray]' into it")
    try:
        _knock(asked["address"])
        _init(ray, asked["address"])
    except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
        _refuse(control, _refusal(asked["address"], error))
    return ray


def _knock(address: str | None) -> None:
    """See whether anybody listens there, for Ray itself would try for minutes. Raises `OSError`."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_S).close()


def _init(ray: Any, address: str | None) -> None:
    """Connect to a cluster; without an address to the one there is, and where there is none start one of this machine."""
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": "edit-eval"}
    if address is None:
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:
            address = "local"
        else:
            return
    if address == "local":  # Ray's own default is a third of the memory, which weights want
        quiet |= {"include_dashboard": False, "object_store_memory": _OWN_STORE_BYTES}
        quiet["_node_ip_address"] = "127.0.0.1"  # so that it listens on this machine only
    ray.init(address=address, **quiet)


def _refusal(address: str | None, error: Exception) -> str:
    """Return in one line why there is no connection, and what to do."""
    text = _one_line(str(error)).rstrip(".")
    if "ersion mismatch" in text:
        return f"{text}; install the same versions, or set backend.python to a Python here that has the cluster's"
    mend = "start one with 'ray start --head', correct backend.address, or set it to local"
    return f"no connection to a Ray cluster{f' at {address}' if address else ''}: {text}; {mend}"


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
    try:
        asyncio.run(_serve(ray, control, doors))
    except PackageError as error:
        control.send_blocking([{"type": "refused", "reason": str(error)}])
    except ray.exceptions.RayError as error:
        print(_one_line(str(error)), flush=True)
    _end(ray.shutdown)


async def _serve(ray: Any, control: Channel, doors: socket.socket) -> None:
    await _Bridge(ray, control, doors).serve()


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
