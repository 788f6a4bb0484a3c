"""The files that a task is made from, held to the hashes that its key was made of.

A key says what was asked for by the bytes of images that lie where their owner may replace them at any time. So they
are looked at when a task begins and once more when it is done, and what was made of other bytes is no outcome.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from edit_eval.core.identity import file_sha256
from edit_eval.worker.formats import shown_path

__all__ = ["ChangedInputError", "Inputs"]

_RACY_NS = 2_000_000_000
"""A file changed within the last two seconds may change again within the clock's grain: it is not remembered."""


class ChangedInputError(Exception):
    """A file is not what a task's key was made of: neither done nor failed, the task belongs to another key now."""


class Inputs:
    """Says of files whether they still are what they were hashed as; a file that stayed as it was is read once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, ...], str]] = {}

    @contextmanager
    def held(self, files: Sequence[tuple[str, str]]) -> Iterator[None]:
        """Look at the files before and after what is done within, also if that fails.

        Args:
            files: path, and hash of its bytes as of planning.

        Raises:
            ChangedInputError: one of them is another file now, or none.
        """
        self.check(files)
        with self.still(files):
            yield

    @contextmanager
    def still(self, files: Sequence[tuple[str, str]]) -> Iterator[None]:
        """Look at files that were looked at before once more after what is done within, as `held` does."""
        try:
            yield
        finally:
            self.check(files)

    def holds(self, path: str, planned: str) -> bool:
        """Whether the file at `path` has the hash `planned`; what cannot be read has none."""
        try:
            return self._sha256(path) == planned
        except OSError:
            return False

    def check(self, files: Sequence[tuple[str, str]]) -> None:
        """Raise `ChangedInputError` if one of the files (path, hash) is another file now, or none."""
        for path, planned in files:
            try:
                same = self._sha256(path) == planned
            except FileNotFoundError as error:
                raise _changed(path, "was removed") from error
            except OSError as error:
                raise _changed(path, f"became unreadable ({error.strerror or error})") from error
            if not same:
                raise _changed(path, "changed")

    def _sha256(self, path: str) -> str:
        now = os.stat(path)  # noqa: PTH116 - twice a task and file
        if not stat.S_ISREG(now.st_mode):  # a pipe would keep us waiting
            raise OSError(errno.EINVAL, "it is no file")
        fact = (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino)
        fact_then, sha = self._known.get(path, (None, ""))
        if fact != fact_then:
            sha = file_sha256(path)
            if time.time_ns() - max(now.st_mtime_ns, now.st_ctime_ns) > _RACY_NS:
                self._known[path] = fact, sha
        return sha


def _changed(path: str, what: str) -> ChangedInputError:
    return ChangedInputError(
        f"{shown_path(path)} {what} while the run went on; give the same command again once it is whole"
    )
