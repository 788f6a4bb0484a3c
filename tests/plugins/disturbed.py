"""The scripted editor and the reference judge, struck by a fault where and as often as the environment says.

What is wanted of the run, and so its results, are those of an undisturbed one: nothing of a fault is in the config.
`EDIT_EVAL_FAULT` holds a list of strikes: `{"at": PLACE, "what": FAULT, "times": N, "after": N, "one_device": BOOL}`.

`at` is `load`, `edit`, `image` (within the image's temporary file), `line` (between the image and its line), `load judge`
or `judge`; `what` is what `faulty.misbehave` knows, `wait` (until killed), `refuse` (to load), `eat:CGROUP` (memory),
`hang up` (close the socket and stay), or `wander` (leave descendants, then crash). A strike lets `after` chances pass, then
hits `times` chances (1 by default), whichever host meets them, or with `one_device` only hosts of the device that met
it first. Chances are counted by files in `EDIT_EVAL_FAULT_COUNTS`; `struck.*` there hold the pids of those it hit.

`at` may also be `say TYPE`, a message of that type about to be sent by the host; `what` then says how it is altered:
`{"set": {FIELD: VALUE}}`, `{"drop": [FIELD]}` (a dotted one is inside another), `{"twice": true}`, `{"before": FIELDS}` (a
message of its own, otherwise the same), `{"raw": BYTES IN LATIN-1, "repeat": N, "exit": true}` (before it; instead of it).
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faulty import misbehave

from edit_eval.core.errors import ModelError
from edit_eval.core.types import EditRequest, HostContext, JudgeRequest, Rubric, StepCallback, Verdict
from edit_eval.editors.scripted import Scripted
from edit_eval.judges.reference import Reference
from edit_eval.worker import roles
from edit_eval.worker.protocol import Channel


def due(place: str) -> list[Any]:
    """Return what is to happen at this place now, and note that it has."""
    counts = Path(os.environ.get("EDIT_EVAL_FAULT_COUNTS", ""))
    found = []
    for number, one in enumerate(json.loads(os.environ.get("EDIT_EVAL_FAULT", "[]"))):
        if one["at"] != place or (one.get("one_device") and not _is_mine(counts / f"device.{number}")):
            continue
        turn, after = _turn(counts, number), one.get("after", 0)
        if after <= turn < after + one.get("times", 1):
            (counts / f"struck.{number}.{turn}").write_text(str(os.getpid()))
            found.append(one["what"])
    return found


def strike(place: str) -> None:
    """Do what is asked at this place, if it is its turn."""
    for what in due(place):
        if what == "wait":
            time.sleep(3600)
        elif what == "wander":
            _wander()
        elif what == "refuse":
            raise ModelError("this device is not well")
        elif what == "hang up":
            # A thread that is reading keeps the socket open after its number is gone; so the end is said first.
            with socket.socket(fileno=os.dup(int(sys.argv[1]))) as ours:
                ours.shutdown(socket.SHUT_WR)
            os.dup2(os.open(os.devnull, os.O_RDWR), int(sys.argv[1]))
            misbehave("hang-c", "")
        elif what.startswith("eat:"):
            _eat(what.removeprefix("eat:"))
        misbehave(what, "/nonexistent")


def _eat(group: str) -> None:
    """Take memory until the kernel kills this process: in a memory cgroup, or with a limit and a kill that stands for it."""
    if group:
        (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    else:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    taken = []
    try:
        while True:
            taken.append(bytearray(4 << 20))
    except MemoryError:
        misbehave("crash", "")


def _wander() -> None:
    """Leave a process behind that forked twice, left the session, hears no signal and keeps every descriptor open."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            time.sleep(3600)
        os._exit(0)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
    misbehave("crash", "")


def _is_mine(claim: Path) -> bool:
    """Whether this host's keeper, and so its device, claimed a strike before any other."""
    try:
        with claim.open("x") as file:
            file.write(str(os.getppid()))
    except FileExistsError:
        return claim.read_text() == str(os.getppid())
    return True


def _turn(counts: Path, number: int) -> int:
    """Return how many chances came before this one; each is counted once among all processes."""
    turn = 0
    while True:
        try:
            (counts / f"{number}.{turn}").touch(exist_ok=False)
        except FileExistsError:
            turn += 1
        else:
            return turn


class DisturbedEditor(Scripted):
    """Scripted, but for the strikes."""

    def __init__(self, params: object, context: HostContext) -> None:
        super().__init__(params, context)
        _strike_while_writing()
        _strike_while_speaking()
        strike("load")

    def edit(self, request: EditRequest, step: StepCallback):
        strike("edit")
        return super().edit(request, step)


class DisturbedJudge(Reference):
    """The reference judge, but for the strikes."""

    def __init__(self, params: object, context: HostContext, rubrics: Sequence[Rubric]) -> None:
        super().__init__(params, context, rubrics)
        _strike_while_speaking("judge ")
        strike("load judge")

    def judge(self, requests: list[JudgeRequest]) -> list[Verdict]:
        strike("judge")
        return super().judge(requests)


def _strike_while_writing() -> None:
    """Have `image` met when an edit's temporary file is full, `line` when it has its name and nobody was told."""
    sync, thumbnail = os.fsync, roles.save_thumbnail

    def before_it_has_its_name(file: int) -> None:
        strike("image")
        sync(file)

    def before_its_line(image: object, path: str) -> bool:
        strike("line")
        return thumbnail(image, path)

    os.fsync = before_it_has_its_name
    roles.save_thumbnail = before_its_line


def _strike_while_speaking(stage: str = "") -> None:
    """Have every message to the keeper pass `due` first."""
    speak = Channel.send_blocking

    def altered(channel: Channel, messages: list[dict[str, Any]]) -> None:
        speak(channel, [one for message in messages for one in _altered(message, stage)])

    Channel.send_blocking = altered


def _altered(message: dict[str, Any], stage: str) -> list[dict[str, Any]]:
    for what in due(f"{stage}say {message['type']}"):
        if "raw" in what:
            _shout(what["raw"].encode("latin-1") * what.get("repeat", 1))
        if "exit" in what:
            os._exit(0)
        if "before" in what:
            return [{**message, **what["before"]}, message]
        message = json.loads(json.dumps(message))
        for dotted, value in what.get("set", {}).items():
            _place(message, dotted)[dotted.rsplit(".", 1)[-1]] = value
        for dotted in what.get("drop", ()):
            del _place(message, dotted)[dotted.rsplit(".", 1)[-1]]
        if what.get("twice"):
            return [message, message]
    return [message]


def _shout(data: bytes) -> None:
    """Write to the keeper whatever it is; the keeper may end this process meanwhile."""
    socket, left = int(sys.argv[1]), memoryview(data)
    while left:
        select.select([], [socket], [])
        left = left[os.write(socket, left) :]


def _place(message: dict[str, Any], dotted: str) -> dict[str, Any]:
    for name in dotted.split(".")[:-1]:
        message = message[name]
    return message
