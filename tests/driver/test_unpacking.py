"""Archives, unpacked: whole or not at all, and nothing outside of their folder, whatever is in them."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from edit_eval.core.errors import ModelError
from edit_eval.driver import unpacking
from edit_eval.driver.hubs import Stopped, Watch
from edit_eval.driver.unpacking import unpack, unpacked_folder

PICTURES = {"images/a.png": b"one" * 1000, "images/b/c.png": b"two", "字.png": b"three"}


def zipped(path: Path, files=PICTURES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files=PICTURES, mode="w", members=()) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in members:
            archive.addfile(info)
    return path


def snapshot(tmp_path: Path) -> Path:
    folder = tmp_path / "cache" / "datasets--me--data" / "snapshots" / ("c" * 40)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def done(tmp_path: Path, names, archives, watch=None) -> Path:
    source = snapshot(tmp_path)
    target = unpacked_folder(source, names, archives)
    unpack("benchmark.path", source, names, archives, target, watch or Watch(pause_s=0.01))
    return target


def refused(tmp_path: Path, name: str) -> str:
    with pytest.raises(ModelError) as caught:
        done(tmp_path, [name], [name])
    text = str(caught.value)
    assert text.startswith(f"benchmark.path: {name} ")
    assert "\n" not in text
    target = unpacked_folder(snapshot(tmp_path), [name], [name])
    assert not target.exists()
    assert not list(target.parent.glob(".*.tmp"))
    assert not (tmp_path / "escaped").exists()
    return text


def contents(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_what_was_in_archives_lies_beside_the_other_files(tmp_path):
    source = snapshot(tmp_path)
    (source / "data.json").write_text("[]")
    zipped(source / "one.zip", {"one/a.png": b"1", "__MACOSX/one/._a.png": b"x", "one/.DS_Store": b"x"})
    tarred(source / "more" / "two.tar", {"b.png": b"2"})
    target = done(tmp_path, ["data.json", "one.zip", "more/two.tar"], ["one.zip", "more/two.tar"])
    assert contents(target) == {"data.json": b"[]", "one/a.png": b"1", "more/b.png": b"2"}
    assert (target / "data.json").is_symlink()
    moved = (tmp_path / "cache").rename(tmp_path / "moved")  # links still lead to the snapshot
    assert (moved / target.relative_to(tmp_path / "cache") / "data.json").read_text() == "[]"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_tar(tmp_path, mode):
    tarred(snapshot(tmp_path) / "a.tar", mode=mode)
    assert contents(done(tmp_path, ["a.tar"], ["a.tar"])) == PICTURES


def test_what_is_there_is_not_unpacked_again_and_other_patterns_are_another_folder(tmp_path):
    zipped(snapshot(tmp_path) / "a.zip")
    target = done(tmp_path, ["a.zip"], ["a.zip"])
    (snapshot(tmp_path) / "a.zip").unlink()
    assert done(tmp_path, ["a.zip"], ["a.zip"]) == target
    assert unpacked_folder(snapshot(tmp_path), ["*"], ["a.zip"]) != target


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "a/../../escaped", "..\\escaped"])
@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_path_that_leads_out_is_refused(tmp_path, make, name):
    make(snapshot(tmp_path) / "bad", {"good.png": b"x", name: b"x"})
    assert "which leads out of its folder" in refused(tmp_path, "bad")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_link_or_device_in_a_tar_is_refused(tmp_path, kind):
    link = tarfile.TarInfo("link")
    link.type, link.linkname = kind, "../../../escaped"
    tarred(snapshot(tmp_path) / "a.tar", members=[link])
    assert "holds 'link', which is no file" in refused(tmp_path, "a.tar")


def test_a_link_in_a_zip_is_refused(tmp_path):
    path = zipped(snapshot(tmp_path) / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "holds 'link', which is no file" in refused(tmp_path, "a.zip")


@pytest.mark.parametrize("make", [zipped, tarred])
def test_far_more_than_its_own_size_is_refused_before_it_is_written(tmp_path, monkeypatch, make):
    monkeypatch.setattr(unpacking, "_ALWAYS_BYTES", 1000)
    monkeypatch.setattr(unpacking, "_MOST_TIMES", 2)
    source = snapshot(tmp_path) / "a.bin"
    make(source, {"zeros": b"\0" * 1_000_000}, **({"mode": "w:gz"} if make is tarred else {}))
    assert "far more than its own size" in refused(tmp_path, "a.bin")


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "_MOST_FILES", 2)
    zipped(snapshot(tmp_path) / "a.zip")
    assert "holds more than 2 files" in refused(tmp_path, "a.zip")


def test_what_does_not_fit_on_the_disk_is_refused(tmp_path, monkeypatch):
    zipped(snapshot(tmp_path) / "a.zip")
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda _path: _Free(10))
    assert "does not fit unpacked into the" in refused(tmp_path, "a.zip")


class _Free:
    def __init__(self, free: int) -> None:
        self.free = free


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is neither a zip nor a tar file"),
        (b"7z\xbc\xaf\x27\x1c" + b"\0" * 100, "is neither a zip nor a tar file"),
        (b"PK\x05\x06" + b"\0" * 18, "holds no file"),
    ],
)
def test_what_is_no_archive(tmp_path, data, why):
    (snapshot(tmp_path) / "a.zip").write_bytes(data)
    assert why in refused(tmp_path, "a.zip")


def test_a_damaged_archive(tmp_path):
    path = zipped(snapshot(tmp_path) / "a.zip")
    data = bytearray(path.read_bytes())
    data[40] ^= 0xFF
    path.write_bytes(data)
    assert "cannot be read (" in refused(tmp_path, "a.zip")
    cut = tarred(snapshot(tmp_path) / "b.tar", mode="w:gz")
    cut.write_bytes(cut.read_bytes()[:-20])
    assert "cannot be read (" in refused(tmp_path, "b.tar")


def test_an_encrypted_archive(tmp_path):
    path = zipped(snapshot(tmp_path) / "a.zip", {"a": b"x"})
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    path.write_bytes(data)
    assert "cannot be read (RuntimeError)" in refused(tmp_path, "a.zip")


def test_a_name_that_stands_twice_is_refused(tmp_path):
    tarred(snapshot(tmp_path) / "a.tar", members=[tarfile.TarInfo("images/a.png")])
    assert "holds 'images/a.png' twice" in refused(tmp_path, "a.tar")


def test_stopped_in_the_middle_nothing_is_visible_and_the_next_one_begins_anew(tmp_path):
    zipped(snapshot(tmp_path) / "a.zip")
    watch = Watch(pause_s=0.01)
    watch.stop.set()
    with pytest.raises(Stopped):
        done(tmp_path, ["a.zip"], ["a.zip"], watch)
    target = unpacked_folder(snapshot(tmp_path), ["a.zip"], ["a.zip"])
    assert not target.exists()
    left = target.with_name(f".{target.name}.killed.tmp")
    (left / "images").mkdir(parents=True)
    assert contents(done(tmp_path, ["a.zip"], ["a.zip"])) == PICTURES
    assert not left.exists()


def test_a_disk_that_fills_up(tmp_path, monkeypatch):
    zipped(snapshot(tmp_path) / "a.zip")

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(unpacking.os, "sync", full)
    with pytest.raises(ModelError, match="no space left for"):
        done(tmp_path, ["a.zip"], ["a.zip"])
    assert not unpacked_folder(snapshot(tmp_path), ["a.zip"], ["a.zip"]).exists()


def test_a_file_system_without_links(tmp_path, monkeypatch):
    (snapshot(tmp_path) / "data.json").write_text("[]")
    zipped(snapshot(tmp_path) / "a.zip")

    def no_link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "symlink_to", no_link)
    target = done(tmp_path, ["data.json", "a.zip"], ["a.zip"])
    assert (target / "data.json").read_text() == "[]"
    assert not (target / "data.json").is_symlink()
