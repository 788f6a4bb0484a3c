"""The host between its socket and its threads."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from edit_eval.worker.host import Host


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
