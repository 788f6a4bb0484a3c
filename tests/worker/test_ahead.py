"""Reading ahead: everything is seen once, nothing goes wrong with files that cannot be read, other work comes first."""

from __future__ import annotations

import os
import threading

import pytest

from edit_eval.worker import ahead
from edit_eval.worker.ahead import ReadAhead, disk_bytes


def test_every_byte_is_seen_once(tmp_path):
    sizes = [0, 1, (8 << 20) - 1, (8 << 20) + 4097]
    paths = []
    for number, size in enumerate(sizes):
        path = tmp_path / str(number)
        path.write_bytes(os.urandom(1 << 10) * (size // 1024) + b"x" * (size % 1024))
        paths.append(str(path))
    reader = ReadAhead()
    reader.start(paths)
    reader.start(paths)
    assert reader.join(60)
    facts = reader.facts()
    assert facts["ahead_bytes"] == sum(sizes)
    assert 0 <= facts["ahead_disk_bytes"] <= sum(sizes) + (1 << 20)


def test_what_is_not_cached_comes_from_the_disk_and_is_cached_then(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(4 << 20))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if ahead._is_cached(file.fileno(), 0, 4 << 20):
            pytest.skip("this file system does not let go of its cache")
        reader = ReadAhead()
        reader.start([str(path)])
        assert reader.join(60)
        assert ahead._is_cached(file.fileno(), 0, 4 << 20)


def test_a_file_that_cannot_be_read_ends_it_quietly(tmp_path):
    reader = ReadAhead()
    reader.start([str(tmp_path / "nowhere"), str(tmp_path)])
    assert reader.join(60)
    assert reader.facts()["ahead_bytes"] == 0


def test_it_stops_where_memory_is_short(tmp_path, monkeypatch):
    path = tmp_path / "weights"
    path.write_bytes(b"x" * 100)
    monkeypatch.setattr(ahead, "_available_bytes", lambda: 1 << 30)
    reader = ReadAhead()
    reader.start([str(path)])
    assert reader.join(60)
    assert reader.facts()["ahead_bytes"] == 0


def test_once_it_has_stopped_it_does_not_go_on_with_the_next_file(tmp_path, monkeypatch):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(b"x" * 100)
    available = iter([1 << 30, 1 << 40])  # somebody has ended meanwhile
    monkeypatch.setattr(ahead, "_available_bytes", lambda: next(available))
    reader = ReadAhead()
    reader.start(map(str, paths))
    assert reader.join(60)
    assert reader.facts()["ahead_bytes"] == 0


def test_only_its_own_thread_gives_way(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"x")
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    reader = ReadAhead()
    reader.start([str(path)])
    assert reader.join(60)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_nothing_asked_for_is_nothing_said():
    assert ReadAhead().facts() == {}
    assert ReadAhead().join(0)


def test_bytes_from_disks_are_known_here():
    assert disk_bytes() is None or disk_bytes() >= 0
    assert disk_bytes("nobody") is None
