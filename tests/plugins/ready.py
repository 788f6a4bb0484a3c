"""A process that has imported what `edit-eval` needs, and forks for every command that a test gives; also its script.

What most of a short command's time goes into, its imports, is done once. Each command has a process of its own all the
same, with the directory, the environment and the streams that it is given, and ends as Python ends. What would only
count when Python itself starts (see `_of_a_start`) is not for this: such a command is started as usual.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

PRELOADED = ("edit_eval.cli.commands", "jinja2", "numpy", "scipy.special")


def _of_a_start(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that count when Python or a library of `PRELOADED` starts, and not when it goes on."""
    begins = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "OMP_", "OPENBLAS_", "MKL_", "SCIPY_", "NPY_")
    return {name: one for name, one in env.items() if name.startswith(begins) and name != "PYTHONPATH"}


class Ready:
    """Starts commands by a fork of a process that is ready. Use it from one thread."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._begun_with = _of_a_start(os.environ)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # streams of one kind with those that commands get: they cannot be sought in
                stderr=subprocess.STDOUT,
                env={
                    **self._begun_with,
                    "PATH": os.environ["PATH"],
                },  # and nothing by which a test knows its processes
                pass_fds=[theirs.fileno()],
            )
        self._answers = self._socket.makefile("r")

    def serves(self, env: Mapping[str, str]) -> bool:
        """Whether a command with this environment is the same as one that is started as usual."""
        folders = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
        brings = any(
            Path(one, name).exists() for one in folders for name in ("sitecustomize.py", "edit_eval")
        )
        return _of_a_start(env) == self._begun_with and not brings

    def run(
        self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run `edit-eval` as `subprocess.run` does it, text and streams captured."""
        data = json.dumps([list(arguments), str(cwd), dict(env)]).encode()
        pipes = [os.pipe(), os.pipe()]
        socket.send_fds(self._socket, [len(data).to_bytes(8, "big")], [end for _, end in pipes])
        for _, end in pipes:
            os.close(end)
        self._socket.sendall(data)
        pid = int(self._answers.readline())
        with ThreadPoolExecutor(2) as readers:
            said = [readers.submit(_read_all, begin) for begin, _ in pipes]
            if wait(said, timeout_s).not_done:
                os.kill(pid, signal.SIGKILL)
                self._answers.readline()
                raise subprocess.TimeoutExpired([*arguments], timeout_s)
        code = os.waitstatus_to_exitcode(int(self._answers.readline()))
        return subprocess.CompletedProcess([*arguments], code, *(one.result() for one in said))

    def close(self) -> None:
        """End the process that is ready."""
        self._answers.close()
        self._socket.close()
        self._process.communicate()


def _read_all(begin: int) -> str:
    with open(begin, encoding="utf-8") as pipe:
        return pipe.read()


def _asked(orders: socket.socket) -> tuple[list[str], str, dict[str, str], list[int]] | None:
    """Return what is to be run next; None when there will be nothing more."""
    head, streams, _, _ = socket.recv_fds(orders, 8, 2)
    if not head:
        return None
    left, data = int.from_bytes(head, "big"), b""
    while len(data) < left:
        data += orders.recv(left - len(data))
    arguments, cwd, env = json.loads(data)
    return arguments, cwd, env, streams


def _main(number: int) -> None:
    """Fork for every order, one after the other; a child returns from here and goes on as `python -m edit_eval`."""
    base = sys.path[1:]
    for name in PRELOADED:
        importlib.import_module(name)
    orders = socket.socket(fileno=number)
    while (order := _asked(orders)) is not None:
        arguments, cwd, env, streams = order
        pid = os.fork()
        if pid == 0:
            break
        for one in streams:
            os.close(one)
        orders.sendall(f"{pid}\n".encode())
        orders.sendall(f"{os.waitpid(pid, 0)[1]}\n".encode())
    else:
        os._exit(0)
    orders.close()
    for place, one in enumerate(streams, 1):
        os.dup2(one, place)
        os.close(one)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep)), *base]
    importlib.invalidate_caches()
    tempfile.tempdir = None
    sys.argv[:] = ["edit-eval", *arguments]


if __name__ == "__main__":
    _main(int(sys.argv[1]))
    runpy.run_module("edit_eval", run_name="__main__", alter_sys=True)
