"""The driver's links to the keepers: opened, written to without waiting, listened to all at once, dropped, and ended."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edit_eval.driver.backends import Backend
from edit_eval.driver.slot import Slot

__all__ = ["Keepers", "Message"]

Message = dict[str, Any]

_QUIT_S = 10.0
"""Seconds that all keepers together have to end in when the run is over."""
_NONE_S = 0.01
"""Seconds between two rounds while there is no keeper to listen to."""


class Keepers:
    """The keepers of one run, at most one for a slot; what a message means is not known here.

    Args:
        backend: starts them.
        log_folder: for the logs of keepers and hosts.
    """

    def __init__(self, backend: Backend, log_folder: Path) -> None:
        self._backend = backend
        self._log_folder = log_folder
        self._selector = selectors.DefaultSelector()
        self._open: list[Slot] = []
        self._clogged: list[Slot] = []  # whose keepers have not taken all that they were sent

    def open(self, slot: Slot) -> None:
        """Start the keeper of a slot, if it has none.

        Raises:
            OSError: the machine has no room for one now.
            RunError: there can be none.
        """
        if slot.link is None:
            slot.link = self._backend.launch(slot.device, self._log_folder)
            slot.heard_at = time.monotonic()
            self._selector.register(slot.link.channel, selectors.EVENT_READ, slot)
            self._open.append(slot)

    def send(self, slot: Slot, kind: str, /, **fields: Any) -> None:
        """Send the keeper of a slot a message, if it has one; what it does not take now is sent when it can take more."""
        if slot.link is None:
            return
        slot.link.channel.send(kind, **fields)
        if slot.link.channel.unsent and slot not in self._clogged:
            self._clogged.append(slot)
            self._selector.modify(slot.link.channel, selectors.EVENT_READ | selectors.EVENT_WRITE, slot)

    def hear(
        self, wait_s: float, take: Callable[[Slot, Message], None], lost: Callable[[Slot, str, bool], None]
    ) -> None:
        """Wait for messages, hand them over, and send on what was held up.

        Args:
            wait_s: seconds to wait at most.
            take: is given every message. It may drop any keeper.
            lost: is told of a keeper that went away, why, and whether its machine or the way to it did. It drops it.
        """
        if not self._open:
            time.sleep(_NONE_S)
            return
        for key, _ in self._selector.select(wait_s):
            self._hear(key.data, take, lost)
        for slot in [one for one in self._clogged if one.link and not one.link.channel.unsent]:
            self._clogged.remove(slot)
            if slot.link:
                self._selector.modify(slot.link.channel, selectors.EVENT_READ, slot)

    def _hear(
        self, slot: Slot, take: Callable[[Slot, Message], None], lost: Callable[[Slot, str, bool], None]
    ) -> None:
        link = slot.link
        if link is None:
            return
        link.channel.flush()
        slot.heard_at = time.monotonic()
        for message in link.channel.receive():
            take(slot, message)
        if link.channel.closed:
            broken = link.channel.broken
            why, gone = (f"the keeper spoke no protocol: {broken}", False) if broken else link.why_lost()
            lost(slot, why or "the keeper went away", gone)

    def drop(self, slot: Slot) -> None:
        """Let go of the keeper of a slot, if it has one; what it left behind is ended."""
        if slot.link is None:
            return
        self._selector.unregister(slot.link.channel)
        self._open.remove(slot)
        if slot in self._clogged:
            self._clogged.remove(slot)
        slot.link.lost()
        slot.link = None

    def arrived(self) -> Iterator[tuple[Slot, Message]]:
        """Yield the messages that lie in the sockets, without waiting for more."""
        for slot in self._open:
            if slot.link:
                for message in slot.link.channel.receive():
                    yield slot, message

    def close(self) -> None:
        """End all keepers at once, and with them everything below them."""
        links = [slot.link for slot in self._open if slot.link]
        for link in links:
            link.channel.send("quit")
        end = time.monotonic() + _QUIT_S
        for link in links:
            link.wait(max(0.0, end - time.monotonic()))
        for slot in self._open:
            slot.link = None
        self._open.clear()
        self._selector.close()
