"""Linux process facts that keeper, host and driver need: descendants, death signals, adoption of orphans.

Knows nothing of tasks or models. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "adopt_orphans",
    "descendants",
    "die_with_parent",
    "kill_descendants",
    "kill_marked",
    "reap_children",
]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent ends (child subreaper)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel SIGKILL this process when the thread that started it ends. For a forked child before exec."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _parents() -> Iterator[tuple[int, int]]:
    """Yield (pid, parent's pid) of every process that can be seen."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            stat = Path(entry.path, "stat").read_bytes()
        except OSError:
            continue  # ended meanwhile
        # The command name in parentheses may hold anything; fields count from its last parenthesis.
        yield int(entry.name), int(stat[stat.rindex(b")") + 2 :].split()[1])


def descendants(root: int) -> list[int]:
    """Return the pids of all processes below `root`, also those that left its session or group."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    front = [root]
    while front:
        below = children.get(front.pop(), [])
        found += below
        front += below
    return found


def reap_children() -> dict[int, int]:
    """Collect the children that have ended; return exit status (as of `os.waitpid`) by pid. Never waits."""
    reaped: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return reaped
        if pid == 0:
            return reaped
        reaped[pid] = status


def kill_descendants(
    timeout_s: float = 10.0, *, spare: int | None = None
) -> tuple[dict[int, int], list[int]]:
    """SIGKILL everything below this process and reap it, again and again until nothing is left.

    The caller must have called `adopt_orphans`, or orphans escape.

    Args:
        timeout_s: after which it gives up.
        spare: pid of a child that is left alone, with everything below it.

    Returns:
        exit status (as of `os.waitpid`) by pid of each child reaped, and the pids still there at the time-out.
    """
    reaped: dict[int, int] = {}
    deadline = time.monotonic() + timeout_s
    while True:
        for pid in _doomed(spare):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        reaped.update(reap_children())
        left = _doomed(spare)
        if not left or time.monotonic() > deadline:
            return reaped, left
        time.sleep(0.005)


def _doomed(spare: int | None) -> list[int]:
    """Return everything below this process but `spare` and what is below that."""
    below = descendants(os.getpid())
    if spare is None:
        return below
    spared = {spare, *descendants(spare)}
    return [pid for pid in below if pid not in spared]


def kill_marked(name: str, value: str) -> list[int]:
    """SIGKILL every process whose start environment holds `name=value`; return their pids.

    The way to end what a killed keeper left behind: a mark in the environment survives fork, exec and setsid.
    """
    mark = f"{name}={value}".encode()
    killed = []
    for pid, _ in _parents():
        if pid == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            if mark in environment.split(b"\0"):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        except OSError:
            continue  # ended meanwhile, or another user's
    return killed
