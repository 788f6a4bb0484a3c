"""The host: the model process. Loads one editor or judge, then turns tasks into outcomes until told to stop.

Runs in the stage's own interpreter, which may be Python 3.10 and has no edit-eval installed. It talks to its keeper
only; what the model's libraries print goes to the keeper's log. One thread works, and another one reads messages, so that
`recall` and `stop` are answered while a model computes. What is left of a task when the model is done with it (an edit's
image is to be written) is done in a third thread beside the next task, one task's at most. A role that mostly waits for
others (a judge at an endpoint) has more threads that work, each on tasks of its own: none waits for another.
"""

from __future__ import annotations

import errno
import faulthandler
import importlib
import itertools
import os
import platform
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NoReturn, TypeGuard

from edit_eval.core.errors import UserError
from edit_eval.worker.ahead import ReadAhead, disk_bytes
from edit_eval.worker.freeing import free_memory
from edit_eval.worker.images import UnreadableImageError
from edit_eval.worker.inputs import ChangedInputError
from edit_eval.worker.protocol import NOT_PREPARED, TO_HOST, Channel, ProtocolError
from edit_eval.worker.returned import UnusableEditError
from edit_eval.worker.roles import AlteredImageError, CannotJudgeError, CannotWriteError, Role
from edit_eval.worker.secrets import ours

__all__ = ["Host", "main"]

_PROGRESS_INTERVAL_S = 0.1


class Host:
    """Serves one keeper over `sock`."""

    def __init__(self, sock: socket.socket) -> None:
        self._channel = Channel(sock, TO_HOST)
        self._send_lock = threading.Lock()
        self._waiting: deque[dict[str, Any]] = deque()
        self._arrived = threading.Condition()
        self._last_progress = 0.0
        self._role: Role | None = None
        self._next = 1
        self._beside = ThreadPoolExecutor(1, "rest")
        self._rest: Future[None] | None = None
        self._facts: dict[str, Any] = {}
        self._ahead = ReadAhead()
        self._disk_before = disk_bytes()

    def serve(self) -> None:
        """Load what the keeper says, then work until `stop` or until the keeper goes away.

        Where the keeper says `prepare` first, import what loading will need, and wait for `load`.
        """
        load, rest = self._first_message()
        if load["type"] == "prepare":
            self._prepare(load["load"])
            load, rest = (rest[0], rest[1:]) if rest else self._first_message()
        self._role = role = self._load(load)
        self._next = role.batch
        threading.Thread(target=self._listen, args=(rest,), daemon=True).start()
        for _ in range(role.threads - 1):
            threading.Thread(target=self._work_or_leave, args=(role,), daemon=True).start()
        self._keep_working(role)

    def _keep_working(self, role: Role) -> NoReturn:
        while True:
            self._work(role, self._take(role.batch))

    def _work_or_leave(self, role: Role) -> None:
        """Work in a thread of its own; what would end the process in its only thread ends it here too."""
        try:
            self._keep_working(role)
        except BaseException:  # noqa: BLE001 - the process ends, and its tasks are tried on a fresh host
            traceback.print_exc()
            _leave(1)

    def _say(self, *messages: dict[str, Any]) -> None:
        with self._send_lock:
            self._channel.send_blocking(list(messages))

    def _first_message(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        while not self._channel.closed:
            messages = self._channel.receive_blocking()
            if messages:
                if messages[0]["type"] not in ("load", "prepare"):
                    raise ProtocolError(f"expected load, got {messages[0]['type']!r}")
                return messages[0], messages[1:]
        raise SystemExit(0 if self._channel.broken is None else 5)

    def _prepare(self, load: dict[str, Any]) -> None:
        """Import what `load` will need; read its weights into the page cache if it says so. Ends the process where that fails.

        No accelerator may be touched: another host has it all. Whatever is wrong is found again, and told, by the host
        that is started in place of this one.
        """
        began = time.monotonic()
        if paths := load.get("ahead"):
            self._ahead.start(paths)
        try:
            role_class = _role_class(load)
            role_class.prepare(load)
            _refuse_accelerator()
        except (Exception, SystemExit):  # noqa: BLE001 - goes to the log; the host that replaces this one tells the driver
            traceback.print_exc()
            _leave(NOT_PREPARED)
        self._facts["prepared_s"] = round(time.monotonic() - began, 3)

    def _load(self, load: dict[str, Any]) -> Role:
        started = time.monotonic()
        if paths := load.get("ahead"):
            self._ahead.start(paths)
        try:
            role = _role_class(load)(load)
            window = role.window
        except UserError as error:
            self._refuse("user", str(error))
        except Exception as error:  # noqa: BLE001 - told to the driver, then the process ends
            traceback.print_exc()
            if _is_full(error):
                self._give_up(CannotWriteError("a file of its own", error))
            self._refuse("error", _one_line(error))
        if self._disk_before is not None and (now := disk_bytes()) is not None:
            self._facts["disk_bytes"] = now - self._disk_before
        facts = {"python": platform.python_version(), "executable": sys.executable, **role.facts()}
        self._say(
            {
                "type": "ready",
                "window": window,
                "load_s": time.monotonic() - started,
                "facts": {**facts, **self._facts, **self._ahead.facts()},
            }
        )
        return role

    def _give_up(self, error: CannotWriteError) -> None:
        """Say that nothing more can be written, so that the run ends: no other sample would fare better."""
        self._say({"type": "fatal", "path": error.path, "errno": error.errno, "reason": error.reason})

    def _refuse(self, kind: str, reason: str) -> NoReturn:
        self._say({"type": "refused", "kind": kind, "reason": reason})
        _leave(3)

    def _listen(self, messages: list[dict[str, Any]]) -> None:
        """Take messages as they come; runs beside the work."""
        while True:
            for message in messages:
                self._hear(message)
            if self._channel.closed:
                _leave(0 if self._channel.broken is None else 5)
            messages = self._receive()

    def _receive(self) -> list[dict[str, Any]]:
        """Wait without touching the socket's mode: the worker thread sends on it at the same time."""
        import select

        select.select([self._channel], [], [])
        return self._channel.receive()

    def _hear(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "task":
            with self._arrived:
                self._waiting.extend(message["tasks"])
                self._arrived.notify(len(message["tasks"]))  # a thread for each
                self._look_ahead()
        elif kind == "recall":
            wanted = set(message["ids"])
            with self._arrived:
                given = [task["id"] for task in self._waiting if task["id"] in wanted]
                self._waiting = deque(task for task in self._waiting if task["id"] not in wanted)
            self._say({"type": "recalled", "ids": given})
        elif kind == "stop":
            _leave(0)

    def _take(self, count: int) -> list[dict[str, Any]]:
        with self._arrived:
            while not self._waiting:
                self._arrived.wait()
            taken = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
            self._look_ahead()
            return taken

    def _look_ahead(self) -> None:
        """Tell the role what will be worked on next, a batch of it; `_arrived` is held."""
        if self._role is not None:
            for task in itertools.islice(self._waiting, self._next):
                self._role.look_ahead(task["payload"])

    def _work(self, role: Role, tasks: list[dict[str, Any]]) -> None:
        self._say({"type": "begun", "ids": [task["id"] for task in tasks]})
        window = role.window
        started = time.monotonic()
        try:
            left = role.begin([task["payload"] for task in tasks], self._progress_of(tasks))
            seconds = (time.monotonic() - started) / len(tasks)
            if role.window != window:
                self._say({"type": "window", "window": role.window})
        except Exception as error:  # noqa: BLE001 - becomes a typed failure of one task
            self._finish_rest()  # the process may have to end, and what is finished counts
            if not self._failed(tasks, error):
                for task in tasks:  # find the one that fails
                    self._work(role, [task])
            return
        if not role.beside:
            self._finish(tasks, left, seconds)
            return
        self._finish_rest()
        self._rest = self._beside.submit(self._finish_or_leave, tasks, left, seconds)

    def _finish_rest(self) -> None:
        """Wait until nothing is left of the task before."""
        if self._rest is not None:
            self._rest.result()

    def _finish_or_leave(
        self, tasks: list[dict[str, Any]], left: list[Callable[[], dict[str, Any]]], seconds: float
    ) -> None:
        """Finish in a thread of its own; what would end the process in its only thread ends it here too."""
        try:
            self._finish(tasks, left, seconds)
        except BaseException:  # noqa: BLE001 - the process ends, and its tasks are tried on a fresh host
            traceback.print_exc()
            _leave(1)

    def _finish(
        self, tasks: list[dict[str, Any]], left: list[Callable[[], dict[str, Any]]], seconds: float
    ) -> None:
        """Do what is left of tasks, and say how each ended."""
        for task, rest in zip(tasks, left, strict=True):
            try:  # saying is within, so that an outcome that is no JSON fails its task and not the host
                self._say({"type": "done", "id": task["id"], "outcome": rest(), "seconds": seconds})
            except Exception as error:  # noqa: BLE001 - becomes a typed failure of one task
                self._failed([task], error)

    def _failed(self, tasks: list[dict[str, Any]], error: Exception) -> bool:
        """Say why tasks failed, or that the run must end; return whether that is settled: of several it is not."""
        if isinstance(error, CannotWriteError):
            self._give_up(error)
            return True
        if isinstance(error, CannotJudgeError):
            self._say({"type": "refused", "kind": "user", "reason": str(error)})
            return True
        traceback.print_exception(error)
        if _is_full(error):
            self._give_up(CannotWriteError("a file of its own", error))
            return True
        if _is_beyond_repair(error):
            _leave(4)  # counts as a crash: what was in flight is tried again on a fresh host
        failure = _failure(error)
        error.__traceback__ = None
        free_memory()
        if len(tasks) == 1:
            self._say({"type": "failed", "id": tasks[0]["id"], **failure})
        return len(tasks) == 1

    def _progress_of(self, tasks: list[dict[str, Any]]) -> Callable[[int, int], None]:
        def report(step: int, steps: int) -> None:
            step, steps = int(step), int(steps)  # an editor may count with an array library's numbers
            if step < 0 or steps < 0:
                raise ValueError(f"step {step} of {steps} was reported; both must be at least 0")
            now = time.monotonic()
            if step < steps and now - self._last_progress < _PROGRESS_INTERVAL_S:
                return
            self._last_progress = now
            self._say({"type": "progress", "id": tasks[0]["id"], "step": step, "steps": steps})

        return report


def _role_class(load: dict[str, Any]) -> type[Role]:
    role_module, role_name = load["role"].split(":")
    role_class: type[Role] = getattr(importlib.import_module(role_module), role_name)
    return role_class


def _refuse_accelerator() -> None:
    """Raise `RuntimeError` if this process has a context on an accelerator, which takes hundreds of megabytes there."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise RuntimeError("preparing took memory of the accelerator")


def _failure(error: BaseException) -> dict[str, str]:
    text = _one_line(error)
    if isinstance(error, ChangedInputError):
        return {"kind": "changed", "reason": str(error)}
    if isinstance(error, AlteredImageError):
        return {"kind": "altered", "reason": str(error)}
    if isinstance(error, UnreadableImageError):
        return {"kind": "unreadable", "reason": str(error)}
    if isinstance(error, UnusableEditError):
        return {"kind": "error", "reason": str(error)}
    if isinstance(error, FileNotFoundError) and getattr(error, "missing_edit", False):
        return {"kind": "missing", "reason": text}
    if (
        isinstance(error, MemoryError)
        or "out of memory" in text.lower()
        or type(error).__name__ == "OutOfMemoryError"
    ):
        return {"kind": "out_of_memory", "reason": text}
    return {"kind": "error", "reason": text}


def _text(error: BaseException) -> str:
    """Return an error's message; some cannot even be written."""
    try:
        return str(error)
    except Exception as fault:  # noqa: BLE001 - the error itself is told, its message is lost
        return f"(its message cannot be written: {type(fault).__name__})"


def _is_full(error: BaseException) -> TypeGuard[OSError]:
    """Whether a disk is full, or a quota reached, wherever a model's libraries write: never the sample's fault."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _is_beyond_repair(error: BaseException) -> bool:
    """Whether the accelerator's context is lost, or an engine's own process, so that every later task here would fail too."""
    text, kind = _text(error), type(error).__name__
    if kind == "EngineDeadError":  # vLLM's, whatever it died of
        return True
    lost = "CUDA error" in text or "HIP error" in text or kind == "AcceleratorError"
    return lost and "out of memory" not in text.lower()


def _one_line(error: BaseException) -> str:
    lines = (
        ours().text(_text(error)).strip().splitlines()
    )  # before it is cut: half a secret is not found any more
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:500]


def _leave(code: int) -> NoReturn:
    """End the process at once: no destructor, no `atexit`, no waiting thread; the kernel frees everything."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Serve the keeper on the socket whose descriptor is the first argument."""
    faulthandler.enable()
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    Host(socket.socket(fileno=descriptor)).serve()


if __name__ == "__main__":
    main()
