"""The keeper: the small process that owns one device for a whole run.

It starts the host (the model process) in the stage's own interpreter, passes messages between driver and host,
writes the host's output to a log, and sees to it that nothing survives: when the driver's socket closes, or a host
ends, every descendant is killed, also those that forked, left the session or hold the interpreter lock in C.
It runs on the driver's Python, on the standard library alone, and knows nothing of editors, judges or images.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edit_eval.worker.logs import CappedLog
from edit_eval.worker.processes import adopt_orphans, die_with_parent, kill_descendants, reap_children
from edit_eval.worker.protocol import BEAT_S, FROM_HOST, NOT_PREPARED, TO_KEEPER, Channel, ProtocolError
from edit_eval.worker.proxies import bypass_proxies, is_proxy_variable, own_names, without_proxies
from edit_eval.worker.secrets import Redactor, secrets_of

__all__ = ["Keeper", "host_environment", "main", "make_links"]

_TAIL_BYTES = 8192
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2)


class _CannotStartError(Exception):
    """A host's process cannot be started, for a reason that the user can mend."""


@dataclass(eq=False)
class _Host:
    """One running host; `spec` is what it was started with."""

    spec: dict[str, Any]
    process: subprocess.Popen[bytes]
    channel: Channel
    output: int
    log: CappedLog
    redactor: Redactor
    ending: str = ""  # "stop" or "kill" once ordered
    why: str = ""  # what it did that the keeper ended it for
    ordered_at: float = 0.0
    kill_at: float = float("inf")
    channel_open: bool = True
    output_open: bool = True
    to_load: dict[str, Any] | None = None  # what it was told to load after it was prepared, until it is heard


class Keeper:
    """Serves one driver over `sock` until it says quit or goes away.

    `scratch` is an empty folder for it alone; it is removed at the end.
    """

    def __init__(self, sock: socket.socket, scratch: Path) -> None:
        self._driver = Channel(sock, TO_KEEPER)
        self._host: _Host | None = None
        self._standby: _Host | None = None  # imports for the next `start`, while the host works
        self._selector = selectors.DefaultSelector()
        self._next_beat = 0.0
        self._links = scratch
        self._quit = False

    def serve(self) -> None:
        """Run until the driver says quit or its socket closes; leaves no descendant and no temporary file."""
        adopt_orphans()
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        # Ignored by the host too, which inherits this: a scheduler signals every process, and the driver alone decides.
        for name in _IGNORED:
            signal.signal(name, signal.SIG_IGN)
        self._selector.register(wake_read, selectors.EVENT_READ, "child")
        self._selector.register(self._driver, selectors.EVENT_READ, "driver")
        self._driver.send("hello", pid=os.getpid())
        try:
            while not (self._quit or self._driver.closed):
                self._turn(wake_read)
        finally:
            kill_descendants()
            for host in self._hosts():
                self._drain_output(host)
                host.log.close()
            shutil.rmtree(self._links, ignore_errors=True)

    def _hosts(self) -> list[_Host]:
        return [host for host in (self._host, self._standby) if host is not None]

    def _turn(self, wake_read: int) -> None:
        now = time.monotonic()
        if now >= self._next_beat:
            self._driver.send("beat")
            self._next_beat = now + BEAT_S
        host = self._host
        until = min(self._next_beat, host.kill_at if host else self._next_beat)
        self._watch_writable()
        for key, _ in self._selector.select(max(0.0, until - now)):
            if key.data == "driver":
                self._driver.flush()
                for message in self._driver.receive():
                    self._on_driver(message)
            elif key.data == "child":
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
            else:
                host, what = key.data
                if host not in self._hosts():
                    continue  # forgotten meanwhile
                if what == "channel":
                    self._on_host(host)
                else:
                    self._copy_output(host)
        self._reap()
        if self._host and time.monotonic() >= self._host.kill_at:
            self._host.kill_at = float("inf")
            if not self._host.ending and not self._host.why:
                self._host.why = "the host closed its socket and did not end"
            _kill(self._host)

    def _watch_writable(self) -> None:
        self._selector.modify(self._driver, _mask(self._driver), "driver")
        for host in self._hosts():
            if host.channel_open:
                self._selector.modify(host.channel, _mask(host.channel), (host, "channel"))

    # From the driver

    def _on_driver(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "start":
            self._start(message["host"], message["load"])
        elif kind == "prepare":
            self._prepare(message["host"], message["load"])
        elif kind in ("task", "recall"):
            if self._host:
                self._host.channel.forward(message)
        elif kind == "stop":
            self._order("stop", message["grace_s"])
        elif kind == "kill":
            self._order("kill", 0.0)
        elif kind == "quit":
            self._quit = True

    def _order(self, ending: str, grace_s: float) -> None:
        if self._host is None:
            return
        now = time.monotonic()
        self._host.ending = self._host.ending or ending
        self._host.ordered_at = self._host.ordered_at or now
        self._host.kill_at = min(self._host.kill_at, now + grace_s)
        if ending == "stop":
            self._host.channel.send("stop")

    def _start(self, spec: dict[str, Any], load: dict[str, Any]) -> None:
        """Start a host: `spec` holds python, env (None removes), proxy, links (name -> path) and log (path)."""
        if self._host is not None:
            raise ProtocolError("start while a host runs")
        self._reap()  # one that has ended takes no load
        standby, self._standby = self._standby, None
        if standby is not None and standby.spec == spec and standby.channel_open:
            standby.to_load = load
            self._load(standby, load)
            return
        if standby is not None:  # of no use any more
            self._forget(standby)
            _kill(standby)
        self._start_afresh(spec, load)

    def _start_afresh(self, spec: dict[str, Any], load: dict[str, Any]) -> None:
        """Start a host that nobody has prepared; tell the driver if that cannot be."""
        try:
            host = self._spawn(spec)
        except _CannotStartError as error:
            self._refuse(str(error))
        except OSError as error:  # a full disk, most likely
            reason = error.strerror or str(error)
            self._driver.send("fatal", path=str(self._links), errno=error.errno or 0, reason=reason)
        else:
            self._load(host, load)

    def _load(self, host: _Host, load: dict[str, Any]) -> None:
        self._host = host
        host.channel.send("load", **load)
        self._driver.send("started", pid=host.process.pid)

    def _prepare(self, spec: dict[str, Any], load: dict[str, Any]) -> None:
        """Start a host that imports what loading will need; whatever is wrong with it, `start` will find it too."""
        if self._standby is None:
            with contextlib.suppress(_CannotStartError, OSError):
                self._standby = self._spawn(spec)
                self._standby.channel.send("prepare", load=load)

    def _spawn(self, spec: dict[str, Any]) -> _Host:
        """Start a host's process. Raises `OSError` without room for its links, `_CannotStartError`."""
        links = make_links(Path(tempfile.mkdtemp(dir=self._links)), spec["links"])
        environment = host_environment(spec, links)
        redactor = Redactor(secrets_of(environment))
        log = CappedLog(Path(spec["log"]), redactor=redactor)
        ours, theirs = socket.socketpair()
        read_end, write_end = os.pipe()
        try:
            process = subprocess.Popen(
                [spec["python"], "-m", "edit_eval.worker.host", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                pass_fds=[theirs.fileno()],
                env=environment,
                cwd=links,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one thread, and the signal must be set before exec
            )
        except (OSError, ValueError) as error:  # ValueError: a variable that no environment can hold
            ours.close()
            os.close(read_end)
            log.close()
            reason = getattr(error, "strerror", None) or error
            raise _CannotStartError(f"cannot start {spec['python']}: {reason}") from error
        finally:
            theirs.close()
            os.close(write_end)
        os.set_blocking(read_end, False)
        host = _Host(spec, process, Channel(ours, FROM_HOST), read_end, log, redactor)
        self._selector.register(host.channel, selectors.EVENT_READ, (host, "channel"))
        self._selector.register(read_end, selectors.EVENT_READ, (host, "output"))
        return host

    def _refuse(self, reason: str) -> None:
        self._driver.send("refused", kind="error", reason=reason)
        self._driver.send("exited", code=None, reason="crash", why="", tail=reason, seconds=0.0)

    # From the host

    def _on_host(self, host: _Host) -> None:
        host.channel.flush()
        if host is self._standby:
            if (
                host.channel.receive() or host.channel.closed
            ):  # it has nothing to say before it is told to load
                self._standby = None
                self._forget(host)
                _kill(host)
            return
        for message in host.channel.receive():
            host.to_load = None
            self._driver.forward(_without_secrets(message, host.redactor))
        if host.channel.broken and not host.why:
            host.why = f"the host spoke no protocol: {host.channel.broken}"
            host.log.write(f"\n[keeper] {host.why}\n".encode("utf-8", "replace"))
            host.kill_at = 0.0
        if host.channel.closed:
            self._close_channel(host)

    def _close_channel(self, host: _Host) -> None:
        """Stop listening; the host counts as dead only when its process has ended."""
        if host.channel_open:
            host.channel_open = False
            self._selector.unregister(host.channel)
            host.kill_at = min(host.kill_at, time.monotonic() + 2.0)
            host.ordered_at = host.ordered_at or time.monotonic()

    def _copy_output(self, host: _Host) -> bool:
        try:
            data = os.read(host.output, 1 << 16)
        except BlockingIOError:
            return False
        if data:
            host.log.write(data)
        elif host.output_open:
            host.output_open = False
            self._selector.unregister(host.output)
        return bool(data)

    def _drain_output(self, host: _Host) -> None:
        for _ in range(256):  # at most what a pipe can hold; a survivor may still be writing
            if not self._copy_output(host):
                return

    def _reap(self) -> None:
        """Collect ended children; when the host itself has ended, end all it left behind and tell the driver."""
        ended = reap_children()
        host, standby = self._host, self._standby
        if host is not None and host.process.pid in ended:
            ended |= kill_descendants(spare=standby.process.pid if standby else None)[0]
            self._end(host, os.waitstatus_to_exitcode(ended[host.process.pid]))
        if standby is not None and standby is not self._host and standby.process.pid in ended:
            self._standby = None
            self._drain_output(standby)
            self._forget(standby)

    def _end(self, host: _Host, code: int) -> None:
        """Tell the driver that the host has ended, and forget it; one that could not be prepared is replaced."""
        host.process.returncode = code
        if host.channel_open:
            self._on_host(host)  # what it said last
        self._drain_output(host)
        self._host = None
        self._forget(host)
        if code == NOT_PREPARED and host.to_load is not None and not (host.ending or host.why):
            self._start_afresh(host.spec, host.to_load)
            return
        seconds = time.monotonic() - host.ordered_at if host.ordered_at else 0.0
        tail = host.log.tail(_TAIL_BYTES).decode("utf-8", "replace")
        reason = host.ending or "crash"
        self._driver.send("exited", code=code, reason=reason, why=host.why, tail=tail, seconds=seconds)

    def _forget(self, host: _Host) -> None:
        if host.channel_open:
            self._selector.unregister(host.channel)
        if host.output_open:
            self._selector.unregister(host.output)
        os.close(host.output)
        host.channel.close()
        host.log.close()
        if host.process.returncode is None:
            host.process.returncode = (
                -signal.SIGKILL
            )  # about to be so: else Popen looks for it behind our back


def _kill(host: _Host) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(host.process.pid, signal.SIGKILL)  # not Popen's: that one reaps behind our back


def make_links(folder: Path, links: dict[str, str]) -> Path:
    """Have `folder` show the named packages and nothing else; return it. Raises `OSError`."""
    for name, target in links.items():
        (folder / name).symlink_to(target)
    return folder


def host_environment(spec: dict[str, Any], links: Path) -> dict[str, str]:
    """Return the variables that a host starts with: ours, changed by `spec`; no proxy stands before this machine.

    Args:
        spec: of a `start` message; `env` (None removes) and `proxy` are read.
        links: the folder of packages that it imports, and whatever `spec` names beside it.
    """
    inherited = without_proxies(os.environ) if spec["proxy"] == "none" else dict(os.environ)
    merged: dict[str, str | None] = {**inherited, **spec["env"]}
    environment = {name: value for name, value in merged.items() if value is not None}
    if any(value and is_proxy_variable(name) for name, value in environment.items()):
        environment |= bypass_proxies(environment, own_names())
    extra = spec["env"].get("PYTHONPATH")
    path = os.pathsep.join([str(links), extra] if extra else [str(links)])
    return {**environment, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def _without_secrets(message: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    """Return a host's message with the secrets taken out of what is written down: why it failed, what it made."""
    if isinstance(reason := message.get("reason"), str):
        message = {**message, "reason": redactor.text(reason)}
    if "outcome" in message:
        message = {**message, "outcome": redactor.data(message["outcome"])}
    return message


def _mask(channel: Channel) -> int:
    return selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.unsent else 0)


def main() -> None:
    """Serve the driver on the socket whose descriptor is the first argument; the second is a folder to work in."""
    Keeper(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])).serve()


if __name__ == "__main__":
    main()
