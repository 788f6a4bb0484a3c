"""Capped logs: the beginning and the end are kept, whatever is written, and the disk is not filled."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.worker.logs import CAP_BYTES, CappedLog

MB = 1 << 20


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_a_short_log_is_kept_as_it_is(tmp_path):
    log = CappedLog(tmp_path / "logs" / "a.log")
    log.write(b"first\n")
    log.write(b"second \xff\n")
    assert (tmp_path / "logs" / "a.log").read_bytes() == b"first\nsecond \xff\n"  # readable while it goes on
    log.close()
    log.close()
    assert (tmp_path / "logs" / "a.log").read_bytes() == b"first\nsecond \xff\n"


def test_a_flood_keeps_head_and_tail_under_the_cap(tmp_path):
    log = CappedLog(tmp_path / "a.log", cap=MB)
    lines = [f"line {index:08}\n".encode() for index in range(400_000)]  # 5.6 MB
    for start in range(0, len(lines), 1000):
        log.write(b"".join(lines[start : start + 1000]))
        assert size_of(tmp_path) <= MB
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]
    data = (tmp_path / "a.log").read_bytes()
    assert MB * 0.7 < len(data) <= MB
    head, mark, tail = data.partition(b"\n[... ")
    assert mark
    whole = b"".join(lines)
    assert whole.startswith(head)
    assert len(head) > 0.49 * MB
    dropped, _, end = tail.partition(b" bytes left out ...]\n")
    assert whole.endswith(end)
    assert len(end) > 0.24 * MB
    assert int(dropped) == len(whole) - len(head) - len(end)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=40), st.integers(400, 2000))
def test_any_writes_stay_under_the_cap_and_keep_both_ends(sizes, cap):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.log")
        log = CappedLog(path, cap=cap)
        whole = b""
        for size in sizes:
            piece = bytes((len(whole) + index) % 251 for index in range(size))
            whole += piece
            log.write(piece)
            assert size_of(Path(folder)) <= cap
        log.close()
        data = path.read_bytes()
        assert len(data) <= cap
        if len(whole) <= (cap - 64) // 2:
            assert data == whole
        else:
            quarter = cap // 4 - 17
            assert data[:quarter] == whole[:quarter]
            assert data[-quarter // 2 :] == whole[-quarter // 2 :]


def test_one_host_after_another_does_not_grow_it(tmp_path):
    path = tmp_path / "a.log"
    for host in range(6):
        log = CappedLog(path, cap=MB)
        for index in range(40):
            log.write(f"host {host} {index:06}\n".encode() * 3000)
        log.close()
        assert size_of(tmp_path) <= MB
    data = path.read_bytes()
    assert data.startswith(b"host 0 000000\n")
    assert data.endswith(b"host 5 000039\n")


def test_short_logs_of_many_hosts_all_stay(tmp_path):
    path = tmp_path / "a.log"
    for host in range(50):
        log = CappedLog(path, cap=MB)
        log.write(f"host {host}\n".encode())
        log.close()
    assert path.read_text().splitlines() == [f"host {host}" for host in range(50)]


def test_what_a_killed_keeper_left_is_not_taken_for_ours(tmp_path):
    path = tmp_path / "a.log"
    code = (
        "import os, sys, pathlib; from edit_eval.worker.logs import CappedLog\n"
        "log = CappedLog(pathlib.Path(sys.argv[1]), cap=1 << 20)\n"
        "for _ in range(30): log.write(b'of the killed one\\n' * 4000)\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert len(list(tmp_path.iterdir())) == 3
    log = CappedLog(path, cap=MB)
    for _ in range(30):
        log.write(b"ours\n" * 10_000)
        assert size_of(tmp_path) <= MB
    log.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.log"]
    assert b"killed" not in path.read_bytes()[MB // 2 :]


def test_tail_is_what_was_written_last(tmp_path):
    log = CappedLog(tmp_path / "a.log", cap=MB)
    log.write(b"x" * 100_000)
    log.write(b"Traceback: it broke")
    assert log.tail(8) == b"it broke"
    assert log.tail(1 << 15)[-19:] == b"Traceback: it broke"
    for _ in range(100):
        log.write(b"y" * 70_000)
    assert log.tail(8192) == b"y" * 8192
    log.close()


def test_a_new_log_has_no_tail(tmp_path):
    (tmp_path / "a.log").write_bytes(b"of an earlier host")
    log = CappedLog(tmp_path / "a.log")
    assert log.tail(100) == b""
    log.close()


def test_the_cap_is_twenty_megabytes():
    assert CAP_BYTES == 20 * MB


@pytest.mark.parametrize("name", ["file/a.log", "folder"])
def test_where_no_log_can_be_written_there_is_none_and_its_writer_goes_on(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    log = CappedLog(tmp_path / name, cap=200)
    log.write(b"x" * 1000)
    log.write(b"last words\n")
    log.close()
    assert log.tail(11) == b"last words\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_full_disk_costs_the_log_and_not_its_writer():
    log = CappedLog(Path("/dev/full"))
    log.write(b"first\n")
    log.write(b"last words\n")
    log.close()
    assert log.tail(11) == b"last words\n"
