"""Ending everything below a process, also what forked, left the session, or ignores signals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edit_eval.worker.processes import descendants, kill_marked

SUPERVISOR = """
import json, os, subprocess, sys, time
from edit_eval.worker.processes import adopt_orphans, descendants, kill_descendants
adopt_orphans()
read_end, write_end = os.pipe()

def stay(name):
    os.write(write_end, f"{name} {os.getpid()}\\n".encode())
    while True:
        time.sleep(60)

# a plain child, one in a session of its own, an orphan (double fork), one that ignores signals and holds the
# interpreter lock in C, and one of another program with a child of its own
if os.fork() == 0:
    stay("child")
if os.fork() == 0:
    os.setsid()
    stay("session")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        stay("orphan")
    os._exit(0)
if os.fork() == 0:
    import ctypes, signal
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.write(write_end, f"lock {os.getpid()}\\n".encode())
    ctypes.PyDLL(None).sleep(3600)
if os.fork() == 0:
    os.setsid()
    grandchild = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    os.write(write_end, f"sleep {grandchild.pid}\\n".encode())
    stay("parent")

started = {}
while len(started) < 6:
    for line in os.read(read_end, 4096).decode().splitlines():
        name, pid = line.split()
        started[name] = int(pid)
time.sleep(0.1)
seen = descendants(os.getpid())
began = time.monotonic()
reaped, left = kill_descendants()
print(json.dumps({"started": started, "seen": seen, "reaped": sorted(reaped), "left": left,
                  "seconds": time.monotonic() - began, "after": descendants(os.getpid())}))
"""

MARK = f"mark-{os.getpid()}"  # of this test run alone


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(what, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_nothing_below_survives():
    done = subprocess.run(
        [sys.executable, "-c", SUPERVISOR], capture_output=True, text=True, timeout=30, check=True
    )
    found = json.loads(done.stdout)
    pids = set(found["started"].values())
    assert set(found["started"]) == {"child", "session", "orphan", "lock", "sleep", "parent"}
    assert pids <= set(found["seen"])
    assert pids <= set(found["reaped"])
    assert found["left"] == found["after"] == []
    assert found["seconds"] < 2
    assert not any(alive(pid) for pid in pids)


def test_one_without_children_has_nothing_to_end():
    code = (
        "from edit_eval.worker.processes import adopt_orphans, kill_descendants\n"
        "adopt_orphans(); print(kill_descendants())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "({}, [])"


def test_exit_status_of_what_ended_by_itself_is_kept():
    code = (
        "import os, time\n"
        "from edit_eval.worker.processes import adopt_orphans, kill_descendants\n"
        "adopt_orphans()\n"
        "pid = os.fork()\n"
        "if pid == 0: os._exit(7)\n"
        "time.sleep(0.2)\n"
        "reaped, left = kill_descendants()\n"
        "print(os.waitstatus_to_exitcode(reaped[pid]), left)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "7 []"


def test_one_child_and_what_is_below_it_can_be_spared():
    code = (
        "import json, os, subprocess, sys\n"
        "from edit_eval.worker.processes import adopt_orphans, descendants, kill_descendants\n"
        "adopt_orphans()\n"
        'nested = \'import subprocess, sys, time; one = subprocess.Popen(["sleep", "60"]); print(one.pid, flush=True); \'\n'
        "nested += 'time.sleep(60)'\n"
        "spared, other = (subprocess.Popen([sys.executable, '-c', nested], stdout=subprocess.PIPE) for _ in range(2))\n"
        "below = [int(one.stdout.readline()) for one in (spared, other)]\n"
        "reaped, left = kill_descendants(spare=spared.pid)\n"
        "after = descendants(os.getpid())\n"
        "kill_descendants()\n"
        "print(json.dumps([sorted(reaped) == sorted([other.pid, below[1]]), left, sorted(after) == sorted([spared.pid, "
        "below[0]]), descendants(os.getpid())]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == [True, [], True, []]


def test_a_child_dies_with_its_parent():
    code = (
        "import subprocess, sys, time\n"
        "from edit_eval.worker.processes import die_with_parent\n"
        "child = subprocess.Popen(['sleep', '3600'], preexec_fn=die_with_parent)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(3600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not alive(child))


def test_descendants_are_found_through_odd_names(tmp_path):
    odd = tmp_path / "a) R 1 (b"  # the name of a program may look like the fields behind it
    odd.symlink_to(shutil.which("sleep"))
    process = subprocess.Popen([str(odd), "60"])
    try:
        assert process.pid in descendants(os.getpid())
        assert os.getpid() not in descendants(os.getpid())
        assert descendants(process.pid) == []
    finally:
        process.kill()
        process.wait()


def test_what_carries_the_mark_is_killed_and_nothing_else():
    env = {**os.environ, "EDIT_EVAL_TEST_MARK": MARK}
    nested = "import subprocess, time; print(subprocess.Popen(['sleep', '3600'], start_new_session=True).pid, flush=True); time.sleep(3600)"
    marked = subprocess.Popen([sys.executable, "-c", nested], env=env, stdout=subprocess.PIPE, text=True)
    other = subprocess.Popen(["sleep", "3600"], env={**env, "EDIT_EVAL_TEST_MARK": MARK + "d"})
    longer = subprocess.Popen(["sleep", "3600"], env={**os.environ, "MY_EDIT_EVAL_TEST_MARK": MARK})
    try:
        grandchild = int(marked.stdout.readline())
        wait_until(lambda: alive(grandchild))
        assert set(kill_marked("EDIT_EVAL_TEST_MARK", MARK)) == {marked.pid, grandchild}
        marked.communicate(timeout=5)
        wait_until(lambda: not alive(grandchild))
        assert other.poll() is None
        assert longer.poll() is None
        assert kill_marked("EDIT_EVAL_TEST_MARK", MARK) == []
    finally:
        for process in (marked, other, longer):
            process.kill()
            process.wait()


@pytest.mark.parametrize("mark", ["", "x" * 10_000])
def test_a_mark_that_nobody_has(mark):
    assert kill_marked("EDIT_EVAL_NO_SUCH_MARK", mark) == []
