"""Hashes of files: remembered while the file is the same, never wrong when it is not."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.driver import hashes
from edit_eval.driver.hashes import FileHashes


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def old(path, seconds: float = 100.0) -> None:
    """Make a file look as if it was written some time ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


@pytest.fixture
def reads(monkeypatch):
    """Count how often a file's bytes are really read."""
    seen = []
    real = hashes.file_sha256
    monkeypatch.setattr(hashes, "file_sha256", lambda path: seen.append(path) or real(path))
    return seen


def test_a_file_is_read_once_and_remembered(tmp_path, reads):
    file = tmp_path / "weights.bin"
    file.write_bytes(b"weights")
    old(file)
    for _ in range(3):
        with FileHashes(tmp_path / "cache" / "h.tsv") as known:
            assert known.sha256(file) == known.sha256(str(file)) == sha(b"weights")
    assert len(reads) == 1


def test_one_changed_byte_is_another_hash(tmp_path):
    file = tmp_path / "weights.bin"
    file.write_bytes(b"weights")
    old(file, 200)
    with FileHashes(tmp_path / "h.tsv") as known:
        assert known.sha256(file) == sha(b"weights")
    with file.open("r+b") as opened:  # in place: the same size, the same inode
        opened.write(b"W")
    old(file, 100)
    with FileHashes(tmp_path / "h.tsv") as known:
        assert known.sha256(file) == sha(b"Weights")
        file.write_bytes(b"other..")
        assert known.sha256(file) == sha(b"other..")


def test_a_file_put_in_its_place_with_size_and_time_kept_is_another_one(tmp_path):
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"one")
    other.write_bytes(b"two")
    stat = (1_700_000_000, 1_700_000_000)
    os.utime(file, stat)
    os.utime(other, stat)
    with FileHashes(tmp_path / "h.tsv") as known:
        assert known.sha256(file) == sha(b"one")
    other.replace(file)
    with FileHashes(tmp_path / "h.tsv") as known:
        assert known.sha256(file) == sha(b"two")


def test_a_link_is_what_it_points_to(tmp_path, reads):
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    link = tmp_path / "link"
    link.symlink_to("one")
    with FileHashes(tmp_path / "h.tsv") as known:
        assert known.sha256(link) == known.sha256(tmp_path / "one") == sha(b"1")
        link.unlink()
        link.symlink_to("two")
        assert known.sha256(link) == sha(b"2")
    assert len(reads) == 2


def test_a_folder_reached_by_a_link_is_looked_through_once(tmp_path, reads, monkeypatch):
    (tmp_path / "disk").mkdir()
    files = [tmp_path / "disk" / f"{index}.png" for index in range(5)]
    for file in files:
        file.write_bytes(file.name.encode())
        old(file)
    (tmp_path / "data").symlink_to("disk")
    followed = []
    real = os.path.realpath
    monkeypatch.setattr(hashes.os.path, "realpath", lambda path: followed.append(path) or real(path))
    for _ in range(3):
        with FileHashes(tmp_path / "h.tsv") as known:
            assert [known.sha256(str(tmp_path / "data" / file.name)) for file in files] == [
                sha(file.name.encode()) for file in files
            ]
        followed, before = [], followed
    assert len(reads) == 5
    assert before == []  # to follow links costs more than all the rest


def test_a_file_that_has_just_changed_is_not_remembered_for_the_next_start(tmp_path, reads):
    file = tmp_path / "fresh"
    file.write_bytes(b"fresh")
    for _ in range(2):
        with FileHashes(tmp_path / "h.tsv") as known:
            known.sha256(file)
    assert len(reads) == 2


@pytest.mark.parametrize(
    "name",
    [
        "with\ttab",
        "with\nline break",
        "with\rreturn",
        "with\u2028separator",
        "名字",
        "space ",
        os.fsdecode(b"\xff"),
    ],
)
def test_odd_names(tmp_path, name, reads):
    file = tmp_path / name
    file.write_bytes(name.encode("utf-8", "surrogateescape"))
    old(file)
    for _ in range(2):
        with FileHashes(tmp_path / "h.tsv") as known:
            assert known.sha256(file) == sha(name.encode("utf-8", "surrogateescape"))
    assert len(reads) == (2 if "\n" in name else 1)


@pytest.mark.parametrize(
    "damage", [b"\0\xff\xfe garbage", b"\t\t\t\n" * 10, b"/x\t1\t2\t3\tshort\n", b"torn li"]
)
def test_a_damaged_memory_is_no_error_and_no_wrong_hash(tmp_path, damage):
    file = tmp_path / "a"
    file.write_bytes(b"a")
    old(file)
    cache = tmp_path / "h.tsv"
    cache.write_bytes(damage)
    for _ in range(2):
        with FileHashes(cache) as known:
            assert known.sha256(file) == sha(b"a")


def test_a_torn_memory_at_any_byte(tmp_path):
    files = [tmp_path / f"f{index}" for index in range(3)]
    for file in files:
        file.write_bytes(file.name.encode())
        old(file)
    cache = tmp_path / "h.tsv"
    with FileHashes(cache) as known:
        for file in files:
            known.sha256(file)
    whole = cache.read_bytes()
    for cut in range(0, len(whole), 7):
        cache.write_bytes(whole[:cut])
        with FileHashes(cache) as known:
            assert [known.sha256(file) for file in files] == [sha(file.name.encode()) for file in files]


def test_where_nothing_can_be_remembered_everything_still_works(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "a").write_bytes(b"a")
    old(tmp_path / "a")
    with FileHashes(tmp_path / "file" / "h.tsv") as known:
        assert known.sha256(tmp_path / "a") == sha(b"a")


def test_the_memory_is_in_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "a").write_bytes(b"a")
    old(tmp_path / "a")
    with FileHashes() as known:
        known.sha256(tmp_path / "a")
    assert (tmp_path / "cache" / "edit-eval" / "file-hashes.tsv").read_text().count("\n") == 1


def test_a_missing_file_is_an_os_error(tmp_path):
    with FileHashes(tmp_path / "h.tsv") as known, pytest.raises(FileNotFoundError):
        known.sha256(tmp_path / "none")


def test_one_changed_byte_with_size_and_time_put_back_is_another_hash(tmp_path):
    file = tmp_path / "weights.bin"
    file.write_bytes(b"weights")
    old(file)
    before = file.stat()
    with FileHashes(tmp_path / "h.tsv") as known:
        assert known.sha256(file) == sha(b"weights")
    time.sleep(0.02)  # the grain of a file system's clock
    with file.open("r+b") as opened:
        opened.write(b"W")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ino,
    )
    with FileHashes(tmp_path / "h.tsv") as known:
        assert known.sha256(file) == sha(b"Weights")


def test_a_file_that_is_written_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    file = tmp_path / "growing"
    file.write_bytes(b"half")
    pieces = [b"whole"]
    real = hashes.file_sha256

    def read(path):
        found = real(path)
        if pieces:
            file.write_bytes(pieces.pop())
        return found

    monkeypatch.setattr(hashes, "file_sha256", read)
    assert FileHashes(tmp_path / "h.tsv").sha256(file) == sha(b"whole")
    file.write_bytes(b"half")
    pieces += [b"a", b"bb", b"ccc", b"dddd"]
    with pytest.raises(OSError, match="it is being written; wait until it is whole"):
        FileHashes(tmp_path / "h.tsv").sha256(file)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_no_damage_to_the_memory_makes_a_wrong_hash(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("hashes")
    files = [folder / f"f{index}" for index in range(3)]
    for file in files:
        file.write_bytes(file.name.encode())
        old(file)
    cache = folder / "h.tsv"
    with FileHashes(cache) as known:
        for file in files:
            known.sha256(file)
    damaged = bytearray(cache.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = len(damaged) * data.draw(st.integers(0, 999)) // 1000
        cut = data.draw(st.integers(0, 70))
        damaged[at : at + cut] = data.draw(st.binary(max_size=70) | st.just(bytes(cut)) | st.just(b"0" * cut))
        damaged += b"\n"
    cache.write_bytes(damaged)
    for _ in range(2):
        with FileHashes(cache) as known:
            assert [known.sha256(file) for file in files] == [sha(file.name.encode()) for file in files]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path.name)])
def test_a_memory_that_is_no_file_is_left_alone_and_waited_for_by_nobody(tmp_path, make):
    (tmp_path / "a").write_bytes(b"a")
    old(tmp_path / "a")
    make(tmp_path / "h.tsv")
    for _ in range(2):
        with FileHashes(tmp_path / "h.tsv") as known:
            assert known.sha256(tmp_path / "a") == sha(b"a")


def test_a_memory_that_has_grown_too_large_is_begun_anew(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"a")
    old(tmp_path / "a")
    cache = tmp_path / "h.tsv"
    cache.write_bytes(b"x" * 1000)
    monkeypatch.setattr(hashes, "_MOST_BYTES", 999)
    with FileHashes(cache) as known:
        assert known.sha256(tmp_path / "a") == sha(b"a")
    assert cache.read_bytes().count(b"\n") == 1
    assert b"xxx" not in cache.read_bytes()


def test_without_a_home_nothing_is_remembered_and_nothing_breaks(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"a")
    old(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with FileHashes() as known:
        assert known.sha256(tmp_path / "a") == sha(b"a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
