"""Where keepers run: `local` starts them on this machine, `ray` on the nodes of a cluster.

A backend knows which devices there are, and hands out one `KeeperLink` per device. What is said over that link is the
same everywhere (`worker.protocol`), and so is the keeper at its other end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from edit_eval.driver.devices import Device
from edit_eval.driver.events import StageName
from edit_eval.worker.protocol import Channel

__all__ = ["Backend", "Change", "DevicesAsked", "Joined", "KeeperLink", "Left", "Readings", "Remark"]


@dataclass(frozen=True)
class DevicesAsked:
    """What a stage's config says of its devices.

    Attributes:
        where: the stage's section, for messages.
        devices: as written; None: not at all.
        accelerated: whether its kind of model wants a GPU.
        remote: whether its model is at an endpoint: one process holds any number of connections.
    """

    where: Literal["editor", "judge"]
    devices: Any
    accelerated: bool
    remote: bool = False


@dataclass(frozen=True)
class Joined:
    """A device that came while a run goes on, for these stages."""

    device: Device
    stages: frozenset[StageName]


@dataclass(frozen=True)
class Left:
    """A device that is there no more, and why."""

    device: Device
    why: str


@dataclass(frozen=True)
class Remark:
    """Something that a person should know; one line."""

    text: str


@dataclass(frozen=True)
class Readings:
    """What a node's recorder has read.

    Attributes:
        samples: age in seconds, values of GPUs by id, values of processes by device (`worker.readings`).
        devices: label of a device -> ids of its GPUs.
        gpus: id -> `name`, `memory_bytes`.
    """

    samples: Sequence[tuple[float, Mapping[str, Any], Mapping[str, Any]]]
    devices: Mapping[str, Sequence[str]]
    gpus: Mapping[str, Mapping[str, Any]]


Change = Joined | Left | Remark | Readings
"""What became of the devices."""


class KeeperLink(Protocol):
    """The driver's end of one keeper."""

    channel: Channel

    def why_lost(self) -> tuple[str, bool]:
        """Return what is known of why the channel was closed, and whether the machine or the way to it went away."""

    def lost(self) -> None:
        """Clean up after a keeper that went away by itself: end whatever it left behind."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for the keeper to end after `quit`; say whether it has. One that has not is killed."""


class Backend(Protocol):
    """Finds devices, and starts their keepers.

    Attributes:
        connects: whether to look for devices is to connect to other machines, which a run with nothing to do need not.
    """

    connects: bool

    def devices(self, asked: DevicesAsked) -> list[Device]:
        """Return the devices of a stage. Raises `DeviceError`, or another `UserError` where nothing answers."""

    def launch(self, device: Device, log_folder: Path) -> KeeperLink:
        """Start the keeper of `device`. Raises `RunError` or `OSError` where that cannot be."""

    def changes(self) -> Sequence[Change]:
        """Return which devices came and left since the last call. Never waits."""

    def hopes(self) -> bool:
        """Whether devices may come though there is none now."""

    def close(self) -> None:
        """Let go of everything; no keeper is left. May be called twice."""
