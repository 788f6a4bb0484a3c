"""Archives that a hub has, unpacked beside the snapshot that holds them: safely, whole or not at all, once.

The result looks as if one had unpacked every archive where it lies: the other files are links to the snapshot. It is
made in a temporary folder that gets its name when all of it is there. Nothing leaves that folder: a path that leads out
of it, a link or a device in an archive is refused, and so is an archive that holds far more than its own size.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import lzma
import os
import secrets
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from edit_eval.core.errors import ModelError, shown
from edit_eval.driver.huberrors import disk_error
from edit_eval.driver.hubs import Stopped, Watch
from edit_eval.driver.locking import locked
from edit_eval.driver.machine import nearest_folder, size_text

__all__ = ["unpack", "unpacked_folder"]

_MOST_TIMES = 20
_ALWAYS_BYTES = 1 << 30
"""What is unpacked may have 1 GiB, or 20 times the archive's size: pictures hardly shrink in an archive."""

_MOST_FILES = 1_000_000
_CHUNK_BYTES = 1 << 20
_JUNK = ("__MACOSX/", "._", ".DS_Store")
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
)  # fmt: skip
"""What the readers raise over an archive that is damaged, encrypted, or packed in a way that they do not know."""


def unpacked_folder(snapshot: Path, files: Sequence[str], archives: Sequence[str]) -> Path:
    """Return where the archives of a snapshot are unpacked, whether or not they are.

    Args:
        snapshot: its folder, named by the commit.
        files: patterns of the files that are there.
        archives: patterns of those among them that are unpacked.
    """
    patterns = json.dumps([sorted(files), sorted(archives)])
    digest = hashlib.sha256(patterns.encode()).hexdigest()[:8]
    return snapshot.parent.parent / "edit-eval" / f"{snapshot.name}-{digest}"


def unpack(
    where: str, snapshot: Path, names: Sequence[str], archives: Sequence[str], target: Path, watch: Watch
) -> None:
    """Make `target`: the files of a snapshot, with archives unpacked in place; nothing is done if it is there.

    Args:
        where: config key, for messages.
        snapshot: holds the files.
        names: paths of the files in it, archives among them.
        archives: paths of the archives (zip, or tar with any compression).
        target: what `unpacked_folder` says.
        watch: told what takes long; may stop it.

    Raises:
        ModelError: an archive is damaged or not safe, or there is no space; one line. Nothing of it is visible then.
        Stopped: the watch was stopped.
    """
    if target.is_dir():
        return
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        lock = target.with_name(f".{target.name}.lock")
        with locked(lock, watch, f"another process unpacks {archives[0]}; waiting for it"):
            if target.is_dir():
                return
            for left in target.parent.glob(f".{target.name}.*.tmp"):  # of a fetch that was ended
                shutil.rmtree(left)
            temporary.mkdir()
            for name in archives:
                watch.say(f"unpacking {name} ({size_text((snapshot / name).stat().st_size)})")
                _Unpacking(where, snapshot / name, temporary / PurePosixPath(name).parent, watch).all()
            for name in set(names) - set(archives):
                _linked(snapshot / name, temporary / name)
            os.sync()  # before it is visible: a power cut must not leave empty files in it
            temporary.rename(target)
    except OSError as error:
        raise disk_error(where, target.parent, error) from error
    finally:
        with contextlib.suppress(OSError):
            if temporary.is_dir():
                shutil.rmtree(temporary)


def _linked(source: Path, place: Path) -> None:
    """Make `place` lead to a file of the snapshot; where there are no links, copy it. Raises `OSError`."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():  # an archive holds it as well: what the repository itself has counts
        place.unlink()
    try:
        place.symlink_to(os.path.relpath(source, place.parent))
    except OSError:
        shutil.copyfile(source, place)


class _Unpacking:
    """One archive on its way to `folder`.

    Args:
        where: config key, for messages.
        archive: the file.
        folder: where to.
        watch: may stop it.
    """

    def __init__(self, where: str, archive: Path, folder: Path, watch: Watch) -> None:
        self._where = where
        self._archive = archive
        self._folder = folder
        self._watch = watch
        self._files = 0
        self._bytes = 0
        self._free = shutil.disk_usage(nearest_folder(folder)).free
        self._most = min(max(_ALWAYS_BYTES, _MOST_TIMES * archive.stat().st_size), self._free)

    def all(self) -> None:
        """Unpack every file. Raises `ModelError`, `OSError`, `Stopped`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            read = self._zip if zipfile.is_zipfile(self._archive) else self._tar
            for name, data in read():
                self._write(name, data)
        except (ModelError, Stopped, OSError):
            raise
        except _DAMAGED as error:
            raise self._refused(f"cannot be read ({type(error).__name__})") from error
        if not self._files:
            raise self._refused("holds no file")

    def _zip(self) -> Iterator[tuple[str, IO[bytes]]]:
        with zipfile.ZipFile(self._archive) as archive:
            for one in archive.infolist():
                kind = stat.S_IFMT(one.external_attr >> 16)
                self._refuse_unsafe(one.filename, is_file=kind in (0, stat.S_IFREG, stat.S_IFDIR))
                if not one.is_dir() and self._is_wanted(one.filename, one.file_size):
                    with archive.open(one) as data:
                        yield one.filename, data

    def _tar(self) -> Iterator[tuple[str, IO[bytes]]]:
        try:
            opened = tarfile.open(self._archive)  # noqa: SIM115 - closed below
        except tarfile.ReadError as error:
            raise self._refused("is neither a zip nor a tar file") from error
        with opened as archive:
            for one in archive:
                self._refuse_unsafe(one.name, is_file=one.isfile() or one.isdir())
                if one.isfile() and self._is_wanted(one.name, one.size):
                    data = archive.extractfile(one)
                    if data is not None:
                        with data:
                            yield one.name, data

    def _refuse_unsafe(self, name: str, *, is_file: bool) -> None:
        """Raise `ModelError` if a member is a link or a device, or its path leads out of the folder."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            raise self._refused(f"holds {shown(name)}, which leads out of its folder")
        if not is_file:
            raise self._refused(f"holds {shown(name)}, which is no file")

    def _is_wanted(self, name: str, size: int) -> bool:
        """Whether a file is no junk. Raises `ModelError` if there is too much by now."""
        if name.startswith(_JUNK[0]) or PurePosixPath(name).name.startswith(_JUNK[1:]):
            return False
        self._files += 1
        self._bytes += size
        if self._files > _MOST_FILES:
            raise self._refused(f"holds more than {_MOST_FILES:,} files")
        if self._bytes > self._most:
            if self._most == self._free:
                raise ModelError(
                    f"{self._where}: {self._archive.name} does not fit unpacked into the {size_text(self._free)} that are "
                    "free; make room, or set hub_cache to a folder on another disk"
                )
            raise self._refused(f"holds more than {size_text(self._most)}, far more than its own size")
        return True

    def _write(self, name: str, data: IO[bytes]) -> None:
        place = self._folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            raise self._refused(f"holds {shown(name)} twice, or another archive does")
        with place.open("wb") as out:
            while chunk := data.read(_CHUNK_BYTES):
                self._watch.check()
                out.write(chunk)

    def _refused(self, why: str) -> ModelError:
        return ModelError(
            f"{self._where}: {self._archive.name} {why}; it was not unpacked. Unpack a copy that you trust yourself, and "
            f"give its folder as {self._where}"
        )
