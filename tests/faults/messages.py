"""Faults of what is said: a host or a keeper whose socket carries what is no message, or no outcome of its task."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from faults.suite import Fault, Trial

PATIENT: Mapping[str, Any] = {"editor.max_attempts": 9, "judge.max_attempts": 9}
"""Several hosts are lost in one trial, some with the same task."""

Altered = tuple[str, Mapping[str, Any]]
"""The type of a host's message, `judge ` before it for a judge's, and how it is altered; see `disturbed`."""

NOT_A_LINE: Sequence[Altered] = [
    ("say begun", {"raw": "\x00\xff\x13 garbage\n"}),
    ("say done", {"raw": "Loading weights: 100%\n"}),
    ("judge say ready", {"raw": "[]\n"}),
    ("say ready", {"raw": "\n"}),
    ("judge say done", {"raw": "[" * 3000 + "\n"}),
    ("judge say begun", {"raw": '{"v": 1, "type": 7}\n'}),
]
HALF_A_LINE: Sequence[Altered] = [
    ("say done", {"raw": '{"v":1,"type":"done","id":"'}),
    ("judge say begun", {"raw": '{"v":1,'}),
    ("say ready", {"raw": '{"v":1,"type":"ready","window":2,"load_s":0.1,"facts":{}}'}),
]
ANOTHER_VERSION: Sequence[Altered] = [
    ("say ready", {"set": {"v": 2}}),
    ("say done", {"set": {"v": "1"}}),
    ("judge say done", {"set": {"v": None}}),
]
UNKNOWN_TYPE: Sequence[Altered] = [
    ("say begun", {"set": {"type": "shout"}}),
    ("say done", {"set": {"type": "exited"}}),
    ("judge say done", {"set": {"type": "beat"}}),
]
MISSING: Sequence[Altered] = [
    ("say ready", {"drop": ["window"]}),
    ("say begun", {"drop": ["ids"]}),
    ("say progress", {"drop": ["step"]}),
    ("say done", {"drop": ["outcome"]}),
    ("judge say ready", {"drop": ["facts"]}),
    ("judge say done", {"drop": ["id"]}),
    ("say done", {"drop": ["seconds"]}),
]
OF_ANOTHER_KIND: Sequence[Altered] = [
    ("say progress", {"set": {"step": "1"}}),
    ("say ready", {"set": {"window": 0}}),
    ("say begun", {"set": {"ids": "all"}}),
    ("say done", {"set": {"seconds": float("nan")}}),
    ("judge say ready", {"set": {"load_s": 10**400}}),
    ("judge say done", {"set": {"outcome": [1]}}),
    ("say ready", {"set": {"facts.accelerator": ["H100"]}}),
    ("say done", {"set": {"id": {"a": 1}}}),
]
NO_OUTCOME: Sequence[Altered] = [
    ("say done", {"set": {"outcome.sha256": "0" * 64, "outcome.mtime_ns": 1}}),
    ("say done", {"set": {"outcome.bytes": 1}}),
    ("judge say done", {"set": {"outcome.overall": 99.0}}),
    ("judge say done", {"set": {"outcome.scores": {"similarity": "high"}}}),
    ("say done", {"drop": ["outcome.width"]}),
    ("judge say done", {"set": {"outcome": {}}}),
    ("say done", {"set": {"outcome.steps": -1}}),
    ("judge say done", {"set": {"outcome.overall": float("nan")}}),
    ("judge say done", {"set": {"outcome.unscored": "error"}}),
]
AT_ONCE = 3


def _said_wrong(variants: Sequence[Altered], trial: Trial) -> None:
    """Three of the variants in one run, others in the next trial."""
    begin = trial.number * AT_ONCE
    for position in range(begin, begin + min(AT_ONCE, len(variants))):
        at, what = variants[position % len(variants)]
        trial.strike(at, what, after=int(trial.spread(str(position)) * 3) if "ready" not in at else 0)
    assert trial.run() == 0
    trial.injected = len(trial.struck())
    assert trial.injected >= 2


def _half_a_line_and_gone(trial: Trial) -> None:
    trial.strike("say done", {"raw": '{"v":1,"type":"done","id":"', "exit": True}, after=trial.number % 4)
    assert trial.run() == 0
    assert trial.struck()


def _not_its_task(trial: Trial) -> None:
    for turn in range(3):
        trial.strike("say done", {"before": {"id": "0" * 64}}, after=turn)
        trial.strike("judge say done", {"before": {"id": "0" * 64}}, after=turn)
    trial.strike("say done", {"before": {"type": "begun", "ids": ["0" * 64, ""]}}, after=4)
    trial.strike("say begun", {"before": {"type": "recalled", "ids": ["0" * 64]}}, after=1)
    trial.injected = 8
    assert trial.run() == 0
    assert len(trial.struck()) == trial.injected


def _twice(trial: Trial) -> None:
    for at in ("say done", "judge say done", "say begun", "say ready", "judge say ready"):
        trial.strike(at, {"twice": True}, times=2)
    assert trial.run() == 0
    trial.injected = len(trial.struck())
    assert trial.injected >= 8  # a second host of a stage may come too late to be needed


def _no_end_of_line(trial: Trial) -> None:
    trial.strike("say done", {"raw": "x", "repeat": 65 << 20}, after=trial.number % 4)
    assert trial.run() == 0
    assert trial.struck()


def _keeper_speaks_garbage(trial: Trial) -> None:
    """Write on the keeper's own socket to the driver, as a broken keeper would."""
    said = (b"\0\xff garbage\n", b'{"v":1,"type":"exited"}\n', b'{"v":9,"type":"beat"}\n', b'{"v":1,"ty\n')
    trial.strike("edit", "wait", after=int(trial.spread() * 4))
    driver = trial.start()
    [host] = trial.wait_until_struck()
    keeper = int(Path(f"/proc/{host}/stat").read_text().rsplit(")", 1)[1].split()[1])
    words = Path(f"/proc/{keeper}/cmdline").read_bytes().split(b"\0")
    with _socket_of(keeper, int(words[-3])) as stolen:
        stolen.sendall(said[trial.number % len(said)])
    assert trial.end(driver) == 0


def _socket_of(pid: int, descriptor: int) -> socket.socket:
    """Return a socket that another process has open."""
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    try:
        got = libc.syscall(438, process, descriptor, 0)  # pidfd_getfd has no wrapper
        assert got >= 0, os.strerror(ctypes.get_errno())
    finally:
        os.close(process)
    return socket.socket(fileno=got)


_BROKEN = "the host spoke no protocol: "

FAULTS = (
    Fault(
        "messages",
        "garbage from a host",
        partial(_said_wrong, NOT_A_LINE),
        long=4,
        says=_BROKEN + "not (JSON|a message)",
        config=PATIENT,
    ),
    Fault(
        "messages",
        "half a line from a host that goes on",
        partial(_said_wrong, HALF_A_LINE),
        long=3,
        says=_BROKEN + "not JSON",
        config=PATIENT,
    ),
    Fault(
        "messages",
        "half a line from a host that ends",
        _half_a_line_and_gone,
        long=4,
        says="ended with exit code 0",
    ),
    Fault(
        "messages", "a line without end", _no_end_of_line, short=0, long=2, says=_BROKEN + "a line is longer"
    ),
    Fault(
        "messages",
        "another version",
        partial(_said_wrong, ANOTHER_VERSION),
        long=3,
        says=_BROKEN + "protocol version",
        config=PATIENT,
    ),
    Fault(
        "messages",
        "an unknown type of message",
        partial(_said_wrong, UNKNOWN_TYPE),
        long=3,
        says=_BROKEN + "unknown message",
        config=PATIENT,
    ),
    Fault(
        "messages",
        "a field is missing",
        partial(_said_wrong, MISSING),
        long=7,
        says="is missing, expected",
        config=PATIENT,
    ),
    Fault(
        "messages",
        "a field of another kind",
        partial(_said_wrong, OF_ANOTHER_KIND),
        long=8,
        says=r"\w+\.\w+ is .*, expected",
        config=PATIENT,
    ),
    Fault(
        "messages",
        "an outcome that cannot be",
        partial(_said_wrong, NO_OUTCOME),
        long=9,
        says="the host sent ",
        config=PATIENT,
    ),
    Fault("messages", "an outcome of a task it was not given", _not_its_task, long=2),
    Fault("messages", "every message twice", _twice, long=2),
    Fault(
        "messages",
        "garbage from a keeper",
        _keeper_speaks_garbage,
        long=4,
        says="the keeper spoke no protocol",
    ),
)
