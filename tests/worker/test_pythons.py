"""The host speaks the protocol on every Python that there is: load, task, failure, recall, stop; no library needed."""

from __future__ import annotations

import os
import socket
import subprocess
import textwrap
from pathlib import Path

import pytest
from harness import PYTHONS, other_python

import edit_eval
from edit_eval.worker.protocol import Channel

ROLE = """
import sys
from edit_eval.worker.roles import Role

class Echo(Role):
    window = 3

    def __init__(self, load):
        self.load = load

    def facts(self):
        return {"given": self.load["options"]}

    def run(self, payloads, progress):
        progress(1, 2)
        if payloads[0].get("raise"):
            raise ValueError("asked to")
        if payloads[0].get("wait"):
            sys.stdin.read()
        return [{"echo": payload, "version": list(sys.version_info[:2])} for payload in payloads]
"""


@pytest.mark.parametrize("version", PYTHONS)
def test_a_host_serves(tmp_path, version):
    python = other_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    (tmp_path / "edit_eval").symlink_to(Path(edit_eval.__file__).resolve().parent)
    (tmp_path / "role.py").write_text(textwrap.dedent(ROLE))
    ours, theirs = socket.socketpair()
    with theirs:
        host = subprocess.Popen(
            [python, "-B", "-W", "error", "-m", "edit_eval.worker.host", str(theirs.fileno())],
            env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
            cwd=tmp_path,
        )
    channel = Channel(ours)
    ours.settimeout(60)
    waiting: list[dict] = []

    def heard(kind: str) -> dict:
        while True:
            for index, message in enumerate(waiting):
                if message["type"] == kind:
                    return waiting.pop(index)
            assert not channel.closed, host.communicate(timeout=10)[0]
            waiting.extend(channel.receive_blocking())

    try:
        channel.send_blocking([{"type": "load", "role": "role:Echo", "options": {"ü": "✓"}}])
        ready = heard("ready")
        assert (ready["window"], ready["facts"]["given"]) == (3, {"ü": "✓"})
        assert ready["facts"]["python"].startswith(f"{version}.")
        tasks = [{"id": "a", "payload": {"n": 1}}, {"id": "b", "payload": {"raise": True}}]
        channel.send_blocking([{"type": "task", "tasks": [*tasks, {"id": "c", "payload": {"wait": True}}]}])
        assert heard("done")["outcome"] == {
            "echo": {"n": 1},
            "version": [int(part) for part in version.split(".")],
        }
        assert heard("failed")["reason"] == "ValueError: asked to"
        channel.send_blocking([{"type": "task", "tasks": [{"id": "d", "payload": {}}]}])
        channel.send_blocking([{"type": "recall", "ids": ["d", "e"]}])
        assert heard("recalled")["ids"] == ["d"]  # while a task runs
        channel.send_blocking([{"type": "stop"}])
        assert host.wait(60) == 0
    finally:
        host.kill()
        host.communicate(timeout=60)
        channel.close()
