"""Hashes of files, remembered between runs by path, size, mtime and inode.

A cache in the user's cache folder; where that cannot be written, everything is hashed anew and nothing breaks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from edit_eval.core.identity import digest, file_sha256

__all__ = ["FileHashes", "UnreadHashes"]

_RACY_NS = 2_000_000_000
"""A file changed within the last two seconds may change again within the clock's grain: it is not remembered."""


class FileHashes:
    """`sha256(path)` with a memory. Use as a context manager; what was learnt is appended on exit.

    Args:
        path: of the memory; None: in the user's cache folder.
        keep: whether what was learnt is written down.
    """

    def __init__(self, path: Path | None = None, *, keep: bool = True) -> None:
        self._keep = keep
        self._path = path or _cache_folder() / "edit-eval" / "file-hashes.tsv"
        self._known: dict[str, str] = {}
        self._new: list[str] = []

    def __enter__(self) -> Self:
        try:
            with self._path.open("rb") as file:
                for line in file:
                    fact, _, sha = os.fsdecode(line).rstrip("\n").rpartition("\t")
                    if len(sha) == 64:
                        self._known[fact] = sha
        except OSError:
            return self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.save()

    def sha256(self, path: str | Path) -> str:
        """Return the hash of the file's bytes. Raises `OSError`."""
        stat = os.stat(path)  # noqa: PTH116 - called 100,000 times and more
        return self._known.get(_fact(path, stat)) or self._learn(path, stat)

    def _learn(self, path: str | Path, stat: os.stat_result) -> str:
        """Return the hash of a file that is not known by this path, and remember it by this one and by its real one."""
        sha = self._recall(path, stat) or file_sha256(path)
        for place in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):  # noqa: PTH100
            fact = _fact(place, stat)
            if fact not in self._known:
                self._known[fact] = sha
                if time.time_ns() - stat.st_mtime_ns > _RACY_NS and "\n" not in fact:
                    self._new.append(f"{fact}\t{sha}\n")
        return sha

    def _recall(self, path: str | Path, stat: os.stat_result) -> str | None:
        """Return what is known by the path, or (asked second, for it is slow) by what it leads to."""
        sha = self._known.get(_fact(os.path.abspath(path), stat))  # noqa: PTH100 - as above
        return sha or self._known.get(_fact(os.path.realpath(path), stat))

    def unknown_bytes(self, paths: Iterable[str | Path]) -> int:
        """Return how many bytes `sha256` would have to read. Raises `OSError`."""
        stats = [(path, os.stat(path)) for path in paths]  # noqa: PTH116
        return sum(stat.st_size for path, stat in stats if self._recall(path, stat) is None)

    def save(self) -> None:
        """Append what was learnt; a cache that cannot be written is no error."""
        if not self._new or not self._keep:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
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

    def sha256(self, path: str | Path) -> str:
        """Return a digest of the path; the file must be readable. Raises `OSError`."""
        with Path(path).open("rb"):
            return digest(["not read", str(path)])


def _cache_folder() -> Path:
    """Return the user's cache folder, or a path that cannot be written where the user has no home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:
        return Path(os.devnull) / "no home"


def _fact(path: str | Path, stat: os.stat_result) -> str:
    """Return what a hash is remembered by."""
    return f"{path}\t{stat.st_size}\t{stat.st_mtime_ns}\t{stat.st_ino}"
