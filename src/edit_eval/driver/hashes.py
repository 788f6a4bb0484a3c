"""Hashes of files, remembered between runs by path, size, mtime, ctime and inode.

The ctime is there because no program can set it: a file changed in place whose size and mtime were put back is still
another one. A chmod or a new link changes it too, and costs one more reading.

A cache in the user's cache folder; where that cannot be read or written, or is damaged, files are hashed anew and
nothing breaks. Every line ends with its checksum, so that no damage makes a wrong hash.
"""

from __future__ import annotations

import errno
import os
import stat
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from edit_eval.core.identity import digest, file_sha256

__all__ = ["FileHashes", "UnreadHashes", "cache_folder", "file_fact"]

_RACY_NS = 2_000_000_000
"""A file changed within the last two seconds may change again within the clock's grain: it is not remembered."""

_MOST_BYTES = 256 << 20
"""A larger cache is begun anew: a million files take about as much."""

_TRIES = 3


class FileHashes:
    """`sha256(path)` with a memory. Use as a context manager; what was learnt is appended on exit.

    Args:
        path: of the memory; None: in the user's cache folder.
        keep: whether what was learnt is written down.
    """

    def __init__(self, path: Path | None = None, *, keep: bool = True) -> None:
        self._keep = keep
        self._path = path or cache_folder() / "edit-eval" / "file-hashes.tsv"
        self._known: dict[str, str] | None = None
        self._recalled: dict[str, str] = {}
        self._new: list[str] = []
        self._anew = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.save()

    def sha256(self, path: str | Path) -> str:
        """Return the hash of the file's bytes. Raises `OSError`, also for a file that is being written."""
        now = os.stat(path)  # noqa: PTH116 - called 100,000 times and more
        return self._memory().get(file_fact(path, now)) or self._learn(path, now)

    def recall(self, path: str) -> bool:
        """Whether the file's hash is remembered by this path; then `recalled` returns it without another look."""
        try:
            now = os.stat(path)  # noqa: PTH116 - as above
        except (OSError, ValueError):
            return False
        known = self._memory() if self._known is None else self._known
        sha = known.get(file_fact(path, now))
        if sha is None:
            return False
        self._recalled[path] = sha
        return True

    def recalled(self, path: str) -> str:
        """Return what `recall` found, or else `sha256`. Raises `OSError`."""
        return self._recalled.get(path) or self.sha256(path)

    def _learn(self, path: str | Path, now: os.stat_result) -> str:
        """Return the hash of a file that is not known by this path, and remember it by this one and by its real one."""
        sha = self._recall(path, now)
        if sha is None:
            sha, now = _whole_sha256(path, now)
        known = self._memory()
        for place in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):  # noqa: PTH100
            fact = file_fact(place, now)
            if fact not in known:
                known[fact] = sha
                if time.time_ns() - now.st_mtime_ns > _RACY_NS and "\n" not in fact:
                    self._new.append(_line(fact, sha))
        return sha

    def _memory(self) -> dict[str, str]:
        """Return what is known, read at the first time."""
        if self._known is None:
            text = self._read()
            self._known = dict(filter(None, map(_remembered, text.split("\n"))))
            if text and not text.endswith("\n"):  # torn: what is added begins a line of its own
                self._new.insert(0, "\n")
        return self._known

    def _read(self) -> str:
        try:
            now = self._path.stat()
            if not stat.S_ISREG(now.st_mode):
                return ""
            if now.st_size > _MOST_BYTES:
                self._anew = True
                return ""
            return os.fsdecode(self._path.read_bytes())
        except OSError:
            return ""

    def _recall(self, path: str | Path, now: os.stat_result) -> str | None:
        """Return what is known by the path as given, or (asked second, for it is slow) by what it leads to."""
        known = self._memory()
        sha = known.get(file_fact(os.path.abspath(path), now))  # noqa: PTH100 - as above
        return sha or known.get(file_fact(os.path.realpath(path), now))

    def unknown_bytes(self, paths: Iterable[str | Path]) -> int:
        """Return how many bytes `sha256` would have to read. Raises `OSError`."""
        stats = [(path, os.stat(path)) for path in paths]  # noqa: PTH116
        return sum(now.st_size for path, now in stats if self._recall(path, now) is None)

    def save(self) -> None:
        """Append what was learnt; a cache that cannot be written is no error."""
        if not self._new or not self._keep:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists() and not self._path.is_file():  # a pipe would keep us waiting
                return
            with self._path.open("wb" if self._anew else "ab") as file:
                file.write(os.fsencode("".join(self._new)))
        except OSError:
            return
        self._new.clear()


class UnreadHashes(FileHashes):
    """Stand-ins for hashes, made of paths: for asking what a run would do where no ledger holds a real one yet.

    Spares reading a hundred gigabytes of weights. Keys made from these must never be written anywhere.
    """

    def __init__(self) -> None:
        super().__init__(keep=False)

    def recall(self, path: str) -> bool:
        """Remember nothing."""
        del path
        return False

    def sha256(self, path: str | Path) -> str:
        """Return a digest of the path; the file must be readable. Raises `OSError`."""
        with Path(path).open("rb"):
            return digest(["not read", str(path)])


def cache_folder() -> Path:
    """Return the user's cache (`XDG_CACHE_HOME`); where there is no home, a folder that cannot be."""
    cache = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")  # noqa: PTH111 - raises nothing
    return Path(os.devnull if cache.startswith("~") else cache)


def file_fact(path: str | Path, now: os.stat_result) -> str:
    """Return what a hash is remembered by: as long as it stays the same, so do the file's bytes."""
    return f"{path}\t{now.st_size}\t{now.st_mtime_ns}\t{now.st_ctime_ns}\t{now.st_ino}"


def _whole_sha256(path: str | Path, now: os.stat_result) -> tuple[str, os.stat_result]:
    """Return the hash of a file that stayed the same while it was read, and what it was then."""
    for _ in range(_TRIES):
        sha = file_sha256(path)
        before, now = now, os.stat(path)  # noqa: PTH116
        if file_fact("", before) == file_fact("", now):
            return sha, now
    raise OSError(errno.EBUSY, "it is being written; wait until it is whole", str(path))


def _line(fact: str, sha: str) -> str:
    return f"{fact}\t{sha}\t{_checksum(fact, sha)}\n"


def _remembered(line: str) -> tuple[str, str] | None:
    """Return fact and hash of a line, or None for one that is damaged."""
    text, _, checksum = line.rpartition("\t")
    fact, _, sha = text.rpartition("\t")
    return (fact, sha) if len(sha) == 64 and checksum == _checksum(fact, sha) else None


def _checksum(fact: str, sha: str) -> str:
    return f"{zlib.crc32(f'{fact}{sha}'.encode('utf-8', 'surrogateescape')):08x}"
