"""The protocol between driver, keeper and host: one JSON object a line over a stream socket.

Every message carries `v` (this version) and `type`. Images travel as paths; nothing is ever pickled; standard output
is never used. Messages of a version or type that is not known are an error of the sender, not guessed at.

Down, driver -> keeper:
    start   {host: {...}, load: {...}}     start a host and hand it `load`
    task    {tasks: [{id, payload}]}       work, in the order wished
    recall  {ids}                          give back what has not begun
    stop    {grace_s}                      end the host; SIGKILL after `grace_s`
    kill    {}                             end the host at once
    quit    {}                             end host and keeper

Up, keeper -> driver (those marked * come from the host and are passed on):
    hello    {pid}
    started  {pid}
    ready*   {window, load_s, facts}       `window`: how many tasks the host wants at once
    refused* {kind: user|error, reason}    the model did not load; the host ends
    begun*   {ids}
    progress* {id, step, steps}            at most 10 a second, the last step always
    done*    {id, outcome, seconds}
    failed*  {id, kind, reason}            this task alone failed
    recalled* {ids}
    window*  {window}                      the window changed
    fatal*   {path, errno, reason}         nothing more can be written there; the run cannot go on
    exited   {code, reason, tail, seconds} the host's process has ended; `reason`: stop, kill or crash
    beat     {}                            the keeper lives; every `BEAT_S` seconds
"""

from __future__ import annotations

import json
import socket
from typing import Any

__all__ = ["BEAT_S", "VERSION", "Channel", "ProtocolError"]

VERSION = 1
BEAT_S = 5.0
"""Seconds between heartbeats of a keeper."""

_MAX_LINE_BYTES = 64 << 20
_READ_BYTES = 1 << 16


class ProtocolError(Exception):
    """The other side sent something that is no message of this version."""


class Channel:
    """Messages over one connected socket; neither sending nor receiving ever blocks unless asked to.

    What cannot be sent at once waits in a buffer until `flush` is called (when the socket is writable).
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._unread = bytearray()
        self._unsent = bytearray()
        self.broken: ProtocolError | None = None
        self.closed = False

    def fileno(self) -> int:
        """Return the socket's descriptor, for selectors."""
        return self._sock.fileno()

    @property
    def unsent(self) -> bool:
        """Whether something waits to be flushed."""
        return bool(self._unsent)

    def send(self, kind: str, /, **fields: Any) -> None:
        """Queue one message and send what the socket takes."""
        message = {"v": VERSION, "type": kind, **fields}
        self._unsent += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.flush()

    def forward(self, message: dict[str, Any]) -> None:
        """Pass a received message on as it is."""
        self._unsent += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes now. A peer that is gone marks the channel closed."""
        while self._unsent and not self.closed:
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                return
            except OSError:
                self.closed = True
                return
            del self._unsent[:sent]

    def receive(self) -> list[dict[str, Any]]:
        """Return the messages that have arrived; marks the channel closed at the end of the stream.

        A line that is no message ends the conversation: what came before it is returned, `broken` says what is wrong
        with it, and the channel counts as closed.
        """
        while len(self._unread) <= _MAX_LINE_BYTES:
            try:
                data = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                self.closed = True
                break
            if not data:
                self.closed = True
                break
            self._unread += data
        *lines, rest = self._unread.split(b"\n")
        self._unread = bytearray(rest)
        messages: list[dict[str, Any]] = []
        try:
            messages.extend(_parse(bytes(line)) for line in lines)
        except ProtocolError as error:
            self._break(error)
        if len(rest) > _MAX_LINE_BYTES:
            self._break(ProtocolError("a line is longer than 64 MiB"))
        return messages

    def _break(self, error: ProtocolError) -> None:
        self.broken = self.broken or error
        self.closed = True
        self._unread.clear()

    def receive_blocking(self) -> list[dict[str, Any]]:
        """Wait for data, then return the messages that have arrived (maybe none)."""
        self._sock.setblocking(True)
        try:
            data = self._sock.recv(_READ_BYTES)
        except OSError:
            data = b""
        finally:
            self._sock.setblocking(False)
        if not data:
            self.closed = True
            return []
        self._unread += data
        return self.receive()

    def send_blocking(self, messages: list[dict[str, Any]]) -> None:
        """Send `messages` (dicts with `type`) as one write, waiting as long as the peer needs."""
        data = b"".join(
            json.dumps({"v": VERSION, **message}, separators=(",", ":")).encode() + b"\n"
            for message in messages
        )
        view = memoryview(data)
        while view:
            try:
                sent = self._sock.send(view)
            except BlockingIOError:
                _wait_writable(self._sock)
                continue
            view = view[sent:]

    def close(self) -> None:
        """Close the socket."""
        self.closed = True
        self._sock.close()


def _wait_writable(sock: socket.socket) -> None:
    import select

    select.select([], [sock], [])


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {line[:80]!r}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ProtocolError(f"not a message: {line[:80]!r}")
    if message.get("v") != VERSION:
        raise ProtocolError(f"protocol version {message.get('v')!r}, expected {VERSION}")
    return message
