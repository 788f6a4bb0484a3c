"""Keepers on the nodes of a Ray cluster: which devices it has, which come and go, and how it is connected to again.

Ray itself is never imported here, but by the bridge (`driver.backends.bridge`), a process that is started when the
cluster is first asked for. A device is what `backend.resources` names on one node: so many of them as the node has room
for.
"""

from __future__ import annotations

import resource
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edit_eval.core.errors import DeviceError, UserError, shown
from edit_eval.driver.backends import Change, DevicesAsked, Joined, Left, Remark
from edit_eval.driver.backends.bridge import Bridge, RayKeeper
from edit_eval.driver.config import BackendConfig
from edit_eval.driver.devices import Device
from edit_eval.driver.events import StageName
from edit_eval.driver.refusals import cannot_write

__all__ = ["RayBackend", "device_count"]

_AGAIN_S = 5.0
"""Seconds between two tries to connect again."""

_PATIENCE_S = 120.0
"""Seconds without any device, or any connection, after which no more are hoped for."""

_MOST_NODES_SHOWN = 8
_GRAINS = 10_000
"""Ray counts resources in ten-thousandths."""

_MOST_FILES = 1 << 16


@dataclass
class _Share:
    """What one stage has of the cluster; `count` None: all."""

    stage: StageName
    count: int | None
    resources: Mapping[str, float]
    devices: list[Device]


class RayBackend:
    """Starts keepers on the nodes of a cluster; connects when it is first asked for something."""

    connects = True

    def __init__(self, config: BackendConfig) -> None:
        self._config = config
        self._bridge: Bridge | None = None
        self._lost_at: float | None = None
        self._bare_at: float | None = None
        self._tried_at = 0.0
        self._why_not = ""  # it could be tried again, as last said
        self._names: dict[str, str] = {}
        self._nodes: Sequence[Mapping[str, Any]] = ()
        self._shares: list[_Share] = []
        self._token = secrets.token_hex(16)
        self._probe: Path | None = None

    # Devices

    def devices(self, asked: DevicesAsked) -> list[Device]:
        """Return as many devices as are asked for: `ray` all, `{ray: 16}` so many. Raises `DeviceError`, `RunError`."""
        count = device_count(asked)
        resources = self._resources(asked)
        if self._bridge is None:
            self._connect()
        found = self._all(resources)
        if not found or len(found) < (count or 0):
            raise DeviceError(self._too_few(asked, count, resources, len(found)))
        stage: StageName = "edit" if asked.where == "editor" else "judge"
        self._shares.append(_Share(stage, count, resources, found[:count]))
        return found[:count]

    def _resources(self, asked: DevicesAsked) -> Mapping[str, float]:
        """Return what a device is of a node's resources. Raises `DeviceError`."""
        given = self._config.resources
        if given and asked.accelerated and not {"GPU", "CPU"} & given.keys():
            raise DeviceError(
                f"{asked.where}: its type wants a GPU, and backend.resources has none ({_amounts(given)}); add GPU: 1, or "
                "CPU: 1 if it is to run without"
            )
        return given or {"GPU" if asked.accelerated else "CPU": 1.0}

    def _connect(self) -> None:
        """Connect, and know the nodes. Raises `ConfigError`, `RunError`; then nothing is held, and it may be tried again."""
        _allow_many_files()
        bridge = Bridge(self._config)
        try:
            bridge.wait_for_nodes()
        except BaseException:
            bridge.close()
            raise
        self._bridge, self._nodes = bridge, bridge.nodes

    def _all(self, resources: Mapping[str, float]) -> list[Device]:
        nodes = sorted(self._nodes, key=lambda one: (self._name_of(one), str(one["id"])))
        return [device for node in nodes for device in self._of_node(node, resources)]

    def _of_node(self, node: Mapping[str, Any], resources: Mapping[str, float]) -> list[Device]:
        """Return the devices of one node."""
        has = node["resources"]
        count = min(_grains(has.get(name, 0.0)) // _grains(needed) for name, needed in resources.items())
        gpus = int(resources.get("GPU", 0))
        name, place = self._name_of(node), str(node["id"])
        if not gpus:
            return [Device("cpu", (number,), (), name, place, 1) for number in range(count)]
        threads = max(1, int(has.get("CPU", 1.0)) // max(1, count))
        return [
            Device("cuda", tuple(range(number * gpus, (number + 1) * gpus)), (), name, place, threads)
            for number in range(count)
        ]

    def _name_of(self, node: Mapping[str, Any]) -> str:
        """Return a node's name; a second one of the same name gets a number."""
        if node["id"] not in self._names:
            alive = {one["id"] for one in self._nodes}
            taken = {name for place, name in self._names.items() if place in alive}
            tries = (
                node["name"] if number == 1 else f"{node['name']}-{number}" for number in range(1, 10**6)
            )
            self._names[node["id"]] = next(name for name in tries if name not in taken)
        return self._names[node["id"]]

    def _too_few(
        self, asked: DevicesAsked, count: int | None, resources: Mapping[str, float], found: int
    ) -> str:
        needed = _amounts(resources, " and ")
        lines = [
            f"{self._name_of(node)} {_amounts(dict(sorted(node['resources'].items()))) or 'nothing'}"
            for node in sorted(self._nodes, key=self._name_of)[:_MOST_NODES_SHOWN]
        ]
        if len(self._nodes) > _MOST_NODES_SHOWN:
            lines.append(f"{len(self._nodes) - _MOST_NODES_SHOWN} more nodes")
        wanted = "a device" if count is None else f"{count} device{'' if count == 1 else 's'}"
        missing = (count or 1) - found
        return (
            f"{asked.where}.devices: {wanted} of {needed} asked for, and the cluster has {found} ({'; '.join(lines)}): "
            f"{missing} missing; add nodes, ask for fewer, or say with backend.resources what a device is"
        )

    # Keepers

    def launch(self, device: Device, log_folder: Path) -> RayKeeper:
        """Order the keeper of `device`; why there is none is known when its channel closes. Raises `RunError`, `OSError`."""
        if self._bridge is None:
            raise OSError("there is no connection to the cluster")
        resources = next(one.resources for one in self._shares if device in one.devices)
        spec = {
            "logs": str(log_folder),
            "probe": str(self._probe_in(log_folder.parent)),
            "token": self._token,
            "accelerated": device.kind == "cuda",
        }
        return self._bridge.launch(device, resources, spec)

    def _probe_in(self, run: Path) -> Path:
        """Return the file in the run directory by which a node finds out whether it sees that. Raises `RunError`."""
        if self._probe is None:
            probe = run / f".probe-{self._token[:8]}"
            try:
                probe.write_text(self._token, encoding="ascii")
            except OSError as error:
                raise cannot_write(probe, error) from error
            self._probe = probe
        return self._probe

    # What comes and goes

    def changes(self) -> Sequence[Change]:
        """Return which devices came and left since the last call, and what the bridge has to say."""
        if self._bridge is None:
            return self._connect_again()
        self._bridge.poll()
        if self._bridge.ended:
            return self._disconnected(self._bridge)
        found: list[Change] = self._bridge.take_remarks()
        if self._bridge.nodes is not self._nodes and self._bridge.connected:
            gone = self._lost_at is not None
            self._nodes, self._lost_at, self._why_not = self._bridge.nodes, None, ""
            if gone:
                found.append(Remark("the connection to the Ray cluster is there again"))
            found += self._compared()
        return found

    def _compared(self) -> list[Change]:
        """Return what the nodes that there are now mean for every stage."""
        alive = {str(one["id"]) for one in self._nodes}
        gone: dict[Device, None] = {}
        come: dict[Device, set[StageName]] = {}
        for share in self._shares:
            kept = [device for device in share.devices if device.place in alive]
            gone |= dict.fromkeys(device for device in share.devices if device.place not in alive)
            fresh = [device for device in self._all(share.resources) if device not in kept]
            room = len(fresh) if share.count is None else max(0, share.count - len(kept))
            for device in fresh[:room]:
                come.setdefault(device, set()).add(share.stage)
            share.devices = [*kept, *fresh[:room]]
        if all(not share.devices for share in self._shares):
            self._bare_at = self._bare_at or time.monotonic()
        else:
            self._bare_at = None
        left = [Left(device, f"node {device.node} left the cluster") for device in gone]
        joined = [Joined(device, frozenset(stages)) for device, stages in come.items()]
        names = list(dict.fromkeys(device.node for device in gone))
        remarks = [Remark(f"node {name} left the cluster; its work is done elsewhere") for name in names]
        names = list(dict.fromkeys(device.node for device in come))
        remarks += [Remark(f"node {name} joined: its devices are used from now on") for name in names]
        return [*remarks, *left, *joined]

    def _disconnected(self, bridge: Bridge) -> list[Change]:
        why = f"the connection to the Ray cluster was lost ({bridge.last_words()})"
        bridge.close()
        self._bridge = None
        self._nodes = ()
        found: list[Change] = []
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            found.append(Remark(f"{why}; trying to connect again for {_PATIENCE_S:.0f} s"))
        every = dict.fromkeys(device for share in self._shares for device in share.devices)
        for share in self._shares:
            share.devices = []
        return [*found, *(Left(device, why) for device in every)]

    def _connect_again(self) -> Sequence[Change]:
        """Start another bridge now and then; it says by itself when it is connected."""
        now = time.monotonic()
        if self._lost_at is not None and self.hopes() and now - self._tried_at >= _AGAIN_S:
            self._tried_at = now
            try:
                self._bridge = Bridge(self._config)
            except UserError as error:
                if str(error) != self._why_not:
                    self._why_not = str(error)
                    return [Remark(f"the Ray cluster cannot be connected to again now: {error}")]
        return ()

    def hopes(self) -> bool:
        """Whether the connection, or the last device, was lost a short while ago."""
        since = self._lost_at or self._bare_at
        return since is not None and time.monotonic() - since < _PATIENCE_S

    def close(self) -> None:
        """Leave the cluster; its actors end, and their keepers with them."""
        if self._bridge:
            self._bridge.close()
            self._bridge = None
        self._lost_at = self._bare_at = None
        if self._probe:
            self._probe.unlink(missing_ok=True)
            self._probe = None


def _grains(amount: float) -> int:
    """Return an amount of a resource in the grains that Ray counts in."""
    return round(amount * _GRAINS)


def _amounts(resources: Mapping[str, float], between: str = ", ") -> str:
    return between.join(f"{name} {amount:g}" for name, amount in resources.items())


def _allow_many_files() -> None:
    """Let this process, and the bridge that it starts, open as many files as may be: every keeper is a socket in both."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def device_count(asked: DevicesAsked) -> int | None:
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
