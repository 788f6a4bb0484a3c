"""Where keepers run: `local` starts them on this machine. Each backend hands out one `KeeperLink` per device."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from edit_eval.driver.devices import Device
from edit_eval.worker.protocol import Channel

__all__ = ["Backend", "KeeperLink"]


class KeeperLink(Protocol):
    """The driver's end of one keeper."""

    channel: Channel

    def lost(self) -> None:
        """Clean up after a keeper that went away by itself: end whatever it left behind."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for the keeper to end after `quit`; say whether it has. One that has not is killed."""


class Backend(Protocol):
    """Starts keepers."""

    def launch(self, device: Device, log_folder: Path) -> KeeperLink:
        """Start the keeper of `device`. Raises `RunError` where that cannot be."""
