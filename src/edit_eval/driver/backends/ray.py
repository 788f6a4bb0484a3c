"""Keepers on the nodes of a Ray cluster: what the driver knows of them. `worker.cluster` is the rest.

Ray itself is never imported here, but by the bridge, a process that is started when the cluster is first asked for. A
device is what `backend.resources` names on one node, so many of them as the node has room for.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import edit_eval
from edit_eval.core.errors import ConfigError, DeviceError, RunError, shown
from edit_eval.driver.backends import Change, DevicesAsked
from edit_eval.driver.config import BackendConfig
from edit_eval.driver.devices import Device
from edit_eval.driver.refusals import cannot_write
from edit_eval.worker.protocol import FROM_KEEPER, Channel

__all__ = ["RayBackend"]

_CONNECT_S = 90.0
_NODES_S = 30.0
_END_S = 15.0
_BOOT = """
import sys
sys.path.append(sys.argv.pop(1))
from edit_eval.worker.cluster.bridge import main
main()
"""


class _RayKeeper:
    """One keeper on a node."""

    def __init__(self, bridge: _Bridge, number: int, ours: socket.socket) -> None:
        self._bridge = bridge
        self._number = number
        self.channel = Channel(ours, FROM_KEEPER)

    @property
    def why_lost(self) -> str:
        """What the bridge says of its end."""
        return self._bridge.why_lost(self._number)

    def lost(self) -> None:
        """Hang up: the bridge ends the actor, and the keeper with it."""
        self.channel.close()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the keeper has hung up; one that does not is hung up on."""
        deadline = time.monotonic() + timeout_s
        while not self.channel.closed and (left := deadline - time.monotonic()) > 0:
            select.select([self.channel], [], [], left)
            self.channel.receive()
        whole = self.channel.closed
        self.channel.close()
        return whole


class _Bridge:
    """The process that is connected to the cluster. Raises `RunError` where it cannot be started."""

    def __init__(self, config: BackendConfig) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as we do
        ours, theirs = socket.socketpair()
        self._doors, doors = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        python = config.python or sys.executable
        root = Path(edit_eval.__file__).resolve().parent.parent
        with theirs, doors:
            try:
                self._process = subprocess.Popen(
                    [python, "-c", _BOOT, str(root), str(theirs.fileno()), str(doors.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=self._output,
                    stderr=self._output,
                    pass_fds=[theirs.fileno(), doors.fileno()],
                    start_new_session=True,
                    env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONSAFEPATH": "1"},
                )
            except OSError as error:
                raise ConfigError(f"backend.python: cannot start {python}: {error.strerror}") from error
        self._control = Channel(ours)
        self._lost: dict[int, str] = {}
        self._count = 0
        self.nodes: list[dict[str, Any]] | None = None
        self._connect(config)

    def _connect(self, config: BackendConfig) -> None:
        self._control.send("connect", address=config.address)
        deadline = time.monotonic() + _CONNECT_S
        while self.nodes is None:
            if not self._hear(deadline - time.monotonic()):
                self.close()
                where = config.address or "of this machine"
                raise RunError(f"backend: the Ray cluster {where} did not answer within {_CONNECT_S:.0f} s")

    def _hear(self, wait_s: float) -> bool:
        """Take what the bridge says; whether it said something in time. Raises `RunError` if it refused or ended."""
        if not select.select([self._control], [], [], max(0.0, wait_s))[0]:
            return False
        for message in self._control.receive():
            self._on_message(message)
        if self._control.closed and self.nodes is None:
            raise RunError(f"backend: the bridge to Ray ended: {self._last_words()}")
        return True

    def _on_message(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "refused":
            self.close()
            raise RunError(f"backend: {message['reason']}")
        if message["type"] == "nodes":
            self.nodes = message["nodes"]
        elif message["type"] == "lost":
            self._lost[message["id"]] = message["why"]

    def poll(self) -> None:
        """Take what has been said meanwhile."""
        if not self._control.closed:
            self._hear(0.0)

    def launch(self, device: Device, resources: Mapping[str, float], spec: Mapping[str, Any]) -> _RayKeeper:
        """Order a keeper. Raises `OSError` if the bridge is gone."""
        self._count += 1
        order = {"id": self._count, "node": device.place, "resources": dict(resources), "spec": dict(spec)}
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._doors, [json.dumps(order).encode()], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return _RayKeeper(self, self._count, ours)

    def why_lost(self, number: int) -> str:
        """Return what became of a keeper."""
        self.poll()
        if self._control.closed:
            return f"the connection to the Ray cluster was lost: {self._last_words()}"
        return self._lost.pop(number, "")

    def _last_words(self) -> str:
        """Return the last line that the bridge printed."""
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - 4096))
        lines = self._output.read().decode("utf-8", "replace").split("\n")
        return shown(
            next((line for line in reversed(lines) if line.strip()), "it said nothing"), 300, quote=False
        )

    def close(self) -> None:
        """Hang up and wait for its end; kill it if it does not come."""
        self._control.close()
        self._doors.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()


class RayBackend:
    """Starts keepers on the nodes of a cluster; connects when it is first asked for something."""

    def __init__(self, config: BackendConfig) -> None:
        self._config = config
        self._opened: _Bridge | None = None
        self._names: dict[str, str] = {}
        self._token = secrets.token_hex(16)
        self._probed: Path | None = None

    def devices(self, asked: DevicesAsked) -> list[Device]:
        """Return as many devices as are asked for: `ray` all, `{ray: 16}` so many. Raises `DeviceError`, `RunError`."""
        count = _count(asked)
        resources = self._resources(accelerated=asked.accelerated)
        found = [
            device
            for node in sorted(self._bridge.nodes or (), key=lambda one: str(one["name"]))
            for device in self._of_node(node, resources)
        ]
        if not found or (count is not None and len(found) < count):
            raise DeviceError(self._too_few(asked, count, resources, len(found)))
        return found[:count]

    @property
    def _bridge(self) -> _Bridge:
        if self._opened is None:
            self._opened = _Bridge(self._config)
        return self._opened

    def _resources(self, *, accelerated: bool) -> dict[str, float]:
        return self._config.resources or {"GPU" if accelerated else "CPU": 1.0}

    def _of_node(self, node: Mapping[str, Any], resources: Mapping[str, float]) -> list[Device]:
        """Return the devices of one node."""
        has = node["resources"]
        count = int(min(has.get(name, 0.0) // needed for name, needed in resources.items()))
        gpus = int(resources.get("GPU", 0))
        name = self._name_of(node)
        threads = max(1, int(has.get("CPU", 1.0)) // max(1, count)) if gpus else 1
        if not gpus:
            return [Device("cpu", (number,), (), name, node["id"], threads) for number in range(count)]
        return [
            Device("cuda", tuple(range(number * gpus, (number + 1) * gpus)), (), name, node["id"], threads)
            for number in range(count)
        ]

    def _name_of(self, node: Mapping[str, Any]) -> str:
        """Return a node's name; a second one of the same name gets a number."""
        if node["id"] not in self._names:
            taken = set(self._names.values())
            tries = (
                node["name"] if number == 1 else f"{node['name']}-{number}" for number in range(1, 10**6)
            )
            self._names[node["id"]] = next(name for name in tries if name not in taken)
        return self._names[node["id"]]

    def _too_few(
        self, asked: DevicesAsked, count: int | None, resources: Mapping[str, float], found: int
    ) -> str:
        needed = " and ".join(f"{name} {amount:g}" for name, amount in resources.items())
        nodes = self._bridge.nodes or []
        has = "; ".join(
            f"{self._name_of(node)}: "
            + (
                ", ".join(f"{name} {amount:g}" for name, amount in sorted(node["resources"].items()))
                or "nothing"
            )
            for node in nodes[:8]
        )
        more = f" and {len(nodes) - 8} more nodes" if len(nodes) > 8 else ""
        wanted = "at least one device" if count is None else f"{count} devices"
        return (
            f"{asked.where}.devices: {wanted} of {needed} asked for, and the cluster has {found} ({has}{more}); "
            f"add nodes, ask for fewer, or set backend.resources"
        )

    def launch(self, device: Device, log_folder: Path) -> _RayKeeper:
        """Order the keeper of `device`; why there is none is known when its channel closes. Raises `OSError`."""
        resources = self._resources(accelerated=device.kind == "cuda")
        spec = {"logs": str(log_folder), "probe": str(self._probe(log_folder.parent)), "token": self._token}
        return self._bridge.launch(device, resources, spec)

    def _probe(self, run: Path) -> Path:
        """Return the file in the run directory by which a node finds out whether it sees that. Raises `RunError`."""
        probe = run / f".probe-{self._token[:8]}"
        if self._probed is None:
            try:
                probe.write_text(self._token, encoding="ascii")
            except OSError as error:
                raise cannot_write(probe, error) from error
            self._probed = probe
        return probe

    def changes(self) -> Sequence[Change]:
        """Return which devices came and left since the last call."""
        if self._opened:
            self._opened.poll()
        return ()

    def close(self) -> None:
        """Leave the cluster; its actors end, and their keepers with them."""
        if self._opened:
            self._opened.close()
            self._opened = None
        if self._probed:
            self._probed.unlink(missing_ok=True)
            self._probed = None


def _count(asked: DevicesAsked) -> int | None:
    """Return how many devices are asked for; None: all there are. Raises `DeviceError`."""
    devices = (
        asked.devices[0] if isinstance(asked.devices, list) and len(asked.devices) == 1 else asked.devices
    )
    if devices is None:
        return 1 if asked.remote else None
    if devices in ("ray", "all"):
        return None
    if devices == "auto":
        return 1
    text = devices.partition(":") if isinstance(devices, str) else ("", "", "")
    if isinstance(devices, Mapping) and list(devices) == ["ray"]:
        number = devices["ray"]
    elif text[0] == "ray" and text[2].isdecimal():
        number = int(text[2])
    else:
        number = None
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 1_000_000:
        raise DeviceError(
            f"{asked.where}.devices: {shown(asked.devices)}: with backend: ray, write ray for all devices of the cluster, "
            "or {ray: 16} for so many"
        )
    return number
