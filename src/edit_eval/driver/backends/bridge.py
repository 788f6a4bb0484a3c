"""The driver's end of the bridge to a Ray cluster: the process that is connected, and the keepers that it has run.

Knows sockets and messages, not what a device is. The bridge's own side is `worker.cluster.bridge`.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import edit_eval
from edit_eval.core.errors import ConfigError, RunError, shown
from edit_eval.driver.backends import Change, Readings, Remark
from edit_eval.driver.config import BackendConfig
from edit_eval.driver.devices import Device
from edit_eval.worker.protocol import FROM_KEEPER, Channel

__all__ = ["Bridge", "RayKeeper"]

_CONNECT_S = 150.0
"""Seconds within which a cluster must answer."""

_LAST_WORD_S = 2.0
"""Seconds within which it is known why a keeper hung up."""

_END_S = 15.0
_BOOT = """
import sys
sys.path.append(sys.argv.pop(1))
from edit_eval.worker.cluster.bridge import main
main()
"""


class RayKeeper:
    """One keeper on a node."""

    def __init__(self, bridge: Bridge, number: int, ours: socket.socket) -> None:
        self._bridge = bridge
        self._number = number
        self.channel = Channel(ours, FROM_KEEPER)

    def why_lost(self) -> tuple[str, bool]:
        """Return what the bridge says of its end, and whether its node, or the connection, went away."""
        return self._bridge.why_lost(self._number)

    def lost(self) -> None:
        """Hang up: the bridge ends the actor, and the keeper with it."""
        self.channel.close()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the keeper has hung up; one that does not is hung up on."""
        deadline = time.monotonic() + timeout_s
        while not self.channel.closed and (left := deadline - time.monotonic()) > 0:
            _wait_for(self.channel, left)
            self.channel.receive()
        whole = self.channel.closed
        self.channel.close()
        return whole


class Bridge:
    """The process that is connected to the cluster, or on its way to it.

    Attributes:
        nodes: that are alive, each with `id`, `name` and `resources`; another list whenever that changes.
        connected: whether it has said so.
        ended: whether it is there no more.

    Raises:
        ConfigError: its Python cannot be started.
        RunError: this process may open no more files, or no temporary one.
    """

    def __init__(self, config: BackendConfig) -> None:
        self._where = config.address or "of this machine"
        python = config.python or sys.executable
        root = Path(edit_eval.__file__).resolve().parent.parent
        with ExitStack() as opened:
            try:
                self._output = opened.enter_context(tempfile.TemporaryFile())
                ours, theirs = map(opened.enter_context, socket.socketpair())
                pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                self._doors, doors = map(opened.enter_context, pair)
            except OSError as error:
                why = error.strerror or error
                raise RunError(f"backend: cannot start what connects to the cluster: {why}") from error
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
            theirs.close()
            doors.close()
            opened.pop_all()
        self._control = Channel(ours)
        self._lost: dict[int, tuple[str, bool]] = {}
        self._remarks: list[Change] = []
        self._refusal = ""
        self._count = 0
        self.nodes: Sequence[Mapping[str, Any]] = ()
        self.connected = False
        self._control.send("connect", address=config.address)

    @property
    def ended(self) -> bool:
        """Whether it is there no more, or has said that it will not be."""
        return self._control.closed or bool(self._refusal)

    def wait_for_nodes(self) -> None:
        """Wait until it is connected. Raises `RunError` if that cannot be, or takes more than `_CONNECT_S`."""
        deadline = time.monotonic() + _CONNECT_S
        while not self.connected:
            _wait_for(self._control, deadline - time.monotonic())
            self.poll()
            if self.ended:
                raise RunError(f"backend: {self.last_words()}")
            if time.monotonic() > deadline:
                raise RunError(
                    f"backend: the Ray cluster {self._where} did not answer within {_CONNECT_S:.0f} s; see whether it is "
                    "there with 'ray status', or correct backend.address"
                )

    def poll(self) -> None:
        """Take what has been said meanwhile."""
        if self._control.closed:
            return
        for message in self._control.receive():
            kind = message["type"]
            if kind == "refused":
                self._refusal = message["reason"]
            elif kind == "nodes":
                self.nodes, self.connected = message["nodes"], True
            elif kind == "lost":
                self._lost[message["id"]] = message["why"], message["gone"]
            elif kind == "remark":
                self._remarks.append(Remark(message["text"]))
            elif kind == "readings":
                samples = [(age, gpus, hosts) for age, gpus, hosts in message["samples"]]
                self._remarks.append(Readings(samples, message["devices"], message["gpus"]))

    def take_remarks(self) -> list[Change]:
        """Return what it has said of nodes and keepers beside that, once."""
        found, self._remarks = self._remarks, []
        return found

    def launch(self, device: Device, resources: Mapping[str, float], spec: Mapping[str, Any]) -> RayKeeper:
        """Order a keeper. Raises `OSError` if the bridge is gone."""
        self._count += 1
        order = {
            "id": self._count,
            "label": device.label,
            "node": device.place,
            "resources": dict(resources),
            "spec": dict(spec),
        }
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._doors, [json.dumps(order).encode()], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return RayKeeper(self, self._count, ours)

    def why_lost(self, number: int) -> tuple[str, bool]:
        """Return what became of a keeper, and whether its node or the connection went away with it.

        A bridge that is killed may hang up on a keeper before it does on us, so its end is waited for a moment.
        """
        deadline = time.monotonic() + _LAST_WORD_S
        while True:
            self.poll()
            if number in self._lost:
                return self._lost.pop(number)
            if self.ended:
                return "the connection to the Ray cluster was lost", True
            left = deadline - time.monotonic()
            if left <= 0:
                return "", False
            _wait_for(self._control, left)

    def last_words(self) -> str:
        """Return why it ended, or the last line that it printed."""
        if self._refusal:
            return self._refusal
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - 4096))
        lines = [line for line in self._output.read().decode("utf-8", "replace").split("\n") if line.strip()]
        return shown(lines[-1], 300, quote=False) if lines else "the bridge ended without a word"

    def close(self) -> None:
        """Hang up and wait for its end; kill it if it does not come. May be called twice."""
        self._control.close()
        self._doors.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()


def _wait_for(channel: Channel, seconds: float) -> None:
    """Wait until something can be read; `select.select` knows no descriptor above 1023, and there may be more keepers."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.poll(max(0.0, seconds) * 1000)
