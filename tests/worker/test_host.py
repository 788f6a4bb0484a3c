"""The host between its socket and its threads."""

from __future__ import annotations

import errno
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from edit_eval.worker.host import Host
from edit_eval.worker.protocol import FROM_HOST, Channel
from edit_eval.worker.roles import CannotWriteError, Role


def test_tasks_of_one_message_wake_a_thread_each():
    left, right = socket.socketpair()
    with left, right, ThreadPoolExecutor(4) as pool:
        host = Host(left)
        waiting = threading.Semaphore(0)
        wait = host._arrived.wait
        host._arrived.wait = lambda: waiting.release() or wait()
        taken = [pool.submit(host._take, 1) for _ in range(4)]
        for _ in taken:
            assert waiting.acquire(timeout=10)
        host._hear({"type": "task", "tasks": [{"id": str(number)} for number in range(4)]})
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not all(one.done() for one in taken):
            time.sleep(0.01)
        asleep = sum(not one.done() for one in taken)
        with host._arrived:
            host._arrived.notify_all()  # else a failure would never end
        assert asleep == 0
        assert sorted(one.result()[0]["id"] for one in taken) == ["0", "1", "2", "3"]


class Restful(Role):
    """Begins at once, and leaves what the payload holds to be done beside."""

    beside = True

    def __init__(self):
        self.begun = []
        self.ahead = []

    def begin(self, payloads, progress):
        self.begun += [payload["name"] for payload in payloads]
        return [payload["rest"] for payload in payloads]

    def look_ahead(self, payload):
        self.ahead.append(payload["name"])


def serving(right, *rests):
    """Return a host, its role, and tasks named 0, 1, ... that leave these rests."""
    host, role = Host(right), Restful()
    host._role = role
    tasks = [{"id": str(n), "payload": {"name": str(n), "rest": rest}} for n, rest in enumerate(rests)]
    host._hear({"type": "task", "tasks": tasks})
    return host, role


def told(left, count):
    channel, messages = Channel(left, FROM_HOST), []
    while len(messages) < count:
        messages += channel.receive_blocking()
    return [(one["type"], one.get("id", one.get("ids"))) for one in messages]


def test_what_is_left_of_a_task_is_done_beside_the_next_one():
    left, right = socket.socketpair()
    with left, right:
        second_begun = threading.Event()
        host, role = serving(right, lambda: {"waited": second_begun.wait(10)}, dict)
        for _ in range(2):
            host._work(role, host._take(1))
            if role.begun == ["0", "1"]:
                second_begun.set()
        assert told(left, 4) == [("begun", ["0"]), ("begun", ["1"]), ("done", "0"), ("done", "1")]
        assert role.ahead == ["0", "1"]


@pytest.mark.parametrize("outcome", [ValueError("no"), {"a": {1, 2}}, MemoryError("much")])
def test_what_goes_wrong_beside_fails_its_task_alone(outcome, capsys):
    def rest():
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    left, right = socket.socketpair()
    with left, right:
        host, role = serving(right, rest, dict)
        host._work(role, host._take(1))
        host._rest.result(10)
        host._work(role, host._take(1))
        assert told(left, 4) == [("begun", ["0"]), ("failed", "0"), ("begun", ["1"]), ("done", "1")]


def test_a_disk_that_is_full_beside_ends_the_run():
    def rest():
        raise CannotWriteError("a.png", OSError(errno.ENOSPC, "No space left on device"))

    left, right = socket.socketpair()
    with left, right:
        host, role = serving(right, rest)
        host._work(role, host._take(1))
        assert told(left, 2) == [("begun", ["0"]), ("fatal", None)]


def test_what_would_end_the_process_ends_it_beside_too(monkeypatch, capsys):
    left = []
    monkeypatch.setattr("edit_eval.worker.host._leave", left.append)

    def rest():
        raise SystemExit(1)

    one, other = socket.socketpair()
    with one, other:
        host, role = serving(other, rest)
        host._work(role, host._take(1))
        host._rest.result(10)
    assert left == [1]


def test_what_is_finished_is_told_before_a_lost_accelerator_ends_the_process(monkeypatch, capsys):
    class Losing(Restful):
        def begin(self, payloads, progress):
            if payloads[0]["name"] == "1":
                go_on.set()
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            return super().begin(payloads, progress)

    def rest():
        assert go_on.wait(10)
        time.sleep(0.05)  # a disk that is slow
        return {}

    def leave(code):
        finished.append(host._rest.done())
        raise SystemExit(code)

    finished = []
    go_on = threading.Event()
    monkeypatch.setattr("edit_eval.worker.host._leave", leave)
    left, right = socket.socketpair()
    with left, right:
        host, _ = serving(right, rest, dict)
        role = Losing()
        host._work(role, host._take(1))
        with pytest.raises(SystemExit, match="4"):
            host._work(role, host._take(1))
        assert finished == [True]
        assert told(left, 3) == [("begun", ["0"]), ("begun", ["1"]), ("done", "0")]


class Fetching(Role):
    """A role that fetches 50 bytes from a disk when it is prepared, and 200 when it loads."""

    fetched = 100  # before anything of it

    def __init__(self, load):
        type(self).fetched += 200

    @classmethod
    def prepare(cls, load):
        cls.fetched += 50


def test_what_preparing_fetches_from_disks_counts_as_loading(monkeypatch):
    monkeypatch.setattr(Fetching, "fetched", 100)
    monkeypatch.setattr("edit_eval.worker.host.disk_bytes", lambda: Fetching.fetched)
    monkeypatch.setattr("edit_eval.worker.host._role_class", lambda load: Fetching)
    left, right = socket.socketpair()
    with left, right:
        host = Host(right)
        host._prepare({})
        host._load({})
        [ready] = Channel(left, FROM_HOST).receive_blocking()
    assert ready["facts"]["disk_bytes"] == 250
