"""The protocol between driver, keeper and host: one JSON object a line over a stream socket.

Every message carries `v` (this version) and `type`. Images travel as paths; nothing is ever pickled; standard output
is never used. Messages of a version or type that is not known, or with fields that are missing or of another kind, are
an error of the sender, not guessed at: a `Channel` that was told what it `hears` ends there.

Down, driver -> keeper:
    start   {host: {...}, load: {...}}     start a host and hand it `load`
    prepare {host: {...}, load: {...}}     start the host that a later `start` with the same `host` will want, beside the one
                                           at work: it imports what `load` will need, and touches no accelerator
    task    {tasks: [{id, payload}]}       work, in the order wished
    recall  {ids}                          give back what has not begun
    stop    {grace_s}                      end the host; SIGKILL after `grace_s`
    kill    {}                             end the host at once
    quit    {}                             end host and keeper

Up, keeper -> driver (those marked * come from the host and are passed on):
    hello    {pid}
    started  {pid}
    ready*   {window, load_s, facts}       `window`: how many tasks the host wants at once
    refused* {kind: user|error, reason}    the model did not load; the host ends. After `ready`: it would do no task, for
                                           a reason that the user can mend; the run cannot go on
    begun*   {ids}
    progress* {id, step, steps}            at most 10 a second, the last step always
    done*    {id, outcome, seconds}
    failed*  {id, kind, reason}            this task alone failed
    recalled* {ids}
    window*  {window}                      the window changed
    fatal*   {path, errno, reason}         nothing more can be written there; the run cannot go on
    exited   {code, reason, why, tail, seconds} the host's process has ended; `reason`: stop, kill or crash; `why`: what
                                           the keeper had against it, or empty
    beat     {}                            the keeper lives; every `BEAT_S` seconds
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

__all__ = [
    "BEAT_S",
    "FAILURES",
    "FROM_HOST",
    "FROM_KEEPER",
    "NOT_PREPARED",
    "TO_HOST",
    "TO_KEEPER",
    "VERSION",
    "Channel",
    "ProtocolError",
]

VERSION = 1
BEAT_S = 5.0
"""Seconds between heartbeats of a keeper."""
NOT_PREPARED = 6
"""Exit code of a host that could not be prepared: another one is started in its place, and finds out what is wrong."""

_MAX_LINE_BYTES = 64 << 20
_READ_BYTES = 1 << 16
_MAX_NUMBER = 1 << 40


class _Kind:
    """What a field must be: a test, and what it is called."""

    def __init__(self, name: str, test: Callable[[Any], bool]) -> None:
        self.name = name
        self.test = test


def _is_number(value: Any, lowest: int) -> bool:
    # Compared this way NaN is refused too.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and lowest <= value < _MAX_NUMBER


def _is_whole(value: Any, lowest: int) -> bool:
    return isinstance(value, int) and _is_number(value, lowest)


def _is_task(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("id"), str)
        and isinstance(value.get("payload"), dict)
    )


_TEXT = _Kind("a text", lambda value: isinstance(value, str))
_OBJECT = _Kind("an object", lambda value: isinstance(value, dict))
_FACTS = _Kind(
    "an object of texts, numbers, true and false",
    lambda value: (
        isinstance(value, dict)
        and all(isinstance(one, (str, bool)) or _is_number(one, -_MAX_NUMBER) for one in value.values())
    ),
)
_WHOLE = _Kind("a whole number of at least 0", lambda value: _is_whole(value, 0))
_COUNT = _Kind("a whole number of at least 1", lambda value: _is_whole(value, 1))
_SECONDS = _Kind("a number of at least 0", lambda value: _is_number(value, 0))
_CODE = _Kind("an exit code or null", lambda value: value is None or _is_whole(value, -255))
_IDS = _Kind(
    "a list of ids", lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value)
)
_TASKS = _Kind("a list of tasks", lambda value: isinstance(value, list) and all(map(_is_task, value)))


def _one_of(*words: str) -> _Kind:
    return _Kind(f"one of {', '.join(words)}", lambda value: value in words)


FAILURES = ("error", "unreadable", "missing", "out_of_memory", "changed", "altered")
"""Kinds of failure that a host may report; `crash` and `timeout` (`core.types.EditFailureKind`) are the driver's word.
With `changed` (a file that the task is made from) and `altered` (the edit to be judged) the task stays undone."""

Messages = Mapping[str, Mapping[str, _Kind]]
"""Type of message -> field -> what it must be. Further fields are let through."""

FROM_HOST: Messages = {
    "ready": {"window": _COUNT, "load_s": _SECONDS, "facts": _FACTS},
    "refused": {"kind": _one_of("user", "error"), "reason": _TEXT},
    "begun": {"ids": _IDS},
    "progress": {"id": _TEXT, "step": _WHOLE, "steps": _WHOLE},
    "done": {"id": _TEXT, "outcome": _OBJECT, "seconds": _SECONDS},
    "failed": {"id": _TEXT, "kind": _one_of(*FAILURES), "reason": _TEXT},
    "recalled": {"ids": _IDS},
    "window": {"window": _COUNT},
    "fatal": {"path": _TEXT, "errno": _WHOLE, "reason": _TEXT},
}
FROM_KEEPER: Messages = {
    **FROM_HOST,
    "hello": {"pid": _COUNT},
    "started": {"pid": _COUNT},
    "exited": {
        "code": _CODE,
        "reason": _one_of("stop", "kill", "crash"),
        "why": _TEXT,
        "tail": _TEXT,
        "seconds": _SECONDS,
    },
    "beat": {},
}
_PASSED_ON: Messages = {"task": {"tasks": _TASKS}, "recall": {"ids": _IDS}}
TO_KEEPER: Messages = {
    **_PASSED_ON,
    "start": {"host": _OBJECT, "load": _OBJECT},
    "prepare": {"host": _OBJECT, "load": _OBJECT},
    "stop": {"grace_s": _SECONDS},
    "kill": {},
    "quit": {},
}
TO_HOST: Messages = {**_PASSED_ON, "prepare": {"load": _OBJECT}, "load": {}, "stop": {}}


class ProtocolError(Exception):
    """The other side sent something that is no message of this version."""


class Channel:
    """Messages over one connected socket; neither sending nor receiving ever blocks unless asked to.

    What cannot be sent at once waits in a buffer until `flush` is called (when the socket is writable). `hears`: the
    messages that the other side may send; None lets any type and any fields through.
    """

    def __init__(self, sock: socket.socket, hears: Messages | None = None) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._hears = hears
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
        begun = len(self._unread)
        self._read()
        return self._messages(begun)

    def _read(self) -> None:
        """Take what has arrived, until a line is too long."""
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

    def _messages(self, begun: int) -> list[dict[str, Any]]:
        """Take the whole lines; `begun` bytes of the first one were there before, and no end of a line in them."""
        end = self._unread.rfind(b"\n", begun) + 1
        lines = bytes(self._unread[:end]).split(b"\n")[:-1]
        del self._unread[:end]
        messages: list[dict[str, Any]] = []
        try:
            messages.extend(_parse(line, self._hears) for line in lines)
        except ProtocolError as error:
            self._break(error)
        if len(self._unread) > _MAX_LINE_BYTES:
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
        begun = len(self._unread)
        self._unread += data
        self._read()
        return self._messages(begun)

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


def _parse(line: bytes, hears: Messages | None) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {line[:80]!r}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ProtocolError(f"not a message: {line[:80]!r}")
    if message.get("v") != VERSION:
        raise ProtocolError(f"protocol version {message.get('v')!r:.80}, expected {VERSION}")
    if hears is not None:
        _check(message, hears)
    return message


def _check(message: Mapping[str, Any], hears: Messages) -> None:
    kind = message["type"]
    if kind not in hears:
        raise ProtocolError(f"unknown message {kind!r:.80}")
    for name, wanted in hears[kind].items():
        if not wanted.test(message.get(name)):
            found = f"is {message[name]!r:.80}" if name in message else "is missing"
            raise ProtocolError(f"{kind}.{name} {found}, expected {wanted.name}")
