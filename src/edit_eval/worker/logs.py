"""A log file that cannot fill the disk: the first and the last megabytes are kept, the middle is dropped.

Standard library only; knows nothing of who writes.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import BinaryIO

from edit_eval.worker.secrets import Redactor

__all__ = ["CAP_BYTES", "CappedLog"]

CAP_BYTES = 20 << 20
"""Largest size of one log: half of it the beginning, half of it the end."""

_MARK_BYTES = 64
"""Room for the line that says how much was left out."""


class CappedLog:
    """Appends to `path`; past half of `cap` the newest half is kept in two segments beside it, joined on `close`.

    Where the file cannot be written there is none, and `tail` still has what was written last. `redactor` takes secrets
    out of all that is written.
    """

    def __init__(self, path: Path, cap: int = CAP_BYTES, *, redactor: Redactor | None = None) -> None:
        self._path = path
        self._half = (cap - _MARK_BYTES) // 2
        self._segments = [path.with_name(path.name + suffix) for suffix in (".older", ".newer")]
        self._file = self._opened()
        self._size = self._file.tell()
        self._in_tail = False
        self._dropped = 0
        self._recent = bytearray()
        self._redactor = redactor or Redactor(())

    def _opened(self) -> BinaryIO:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for segment in self._segments:  # of a keeper that was killed
                segment.unlink(missing_ok=True)
            file = self._path.open("ab")
        except OSError:
            self._half = sys.maxsize
            return open(os.devnull, "wb")  # noqa: PTH123 - lives as long as we do
        if file.tell() > self._half:
            file.truncate(self._half)  # an earlier host's beginning stays, its end gives way to ours
        return file

    def write(self, data: bytes) -> None:
        """Append `data`. A disk that is full costs the log, never its writer: `tail` goes on."""
        self._write(self._redactor.piece(data))

    def _write(self, data: bytes) -> None:
        self._recent += data
        if len(self._recent) > 1 << 16:
            del self._recent[: -(1 << 15)]
        with contextlib.suppress(OSError, ValueError):  # ValueError: closed, because turning over failed
            self._append(data)

    def _append(self, data: bytes) -> None:
        while data:
            room = (self._half // 2 if self._in_tail else self._half) - self._size
            if room <= 0:
                self._turn_over()
                continue
            self._file.write(data[:room])
            self._file.flush()
            self._size += min(room, len(data))
            data = data[room:]

    def tail(self, count: int) -> bytes:
        """Return the last `count` bytes written (at most 32 KiB)."""
        return bytes(self._recent[-count:])

    def _turn_over(self) -> None:
        older, newer = self._segments
        self._file.close()
        if self._in_tail:
            if older.exists():
                self._dropped += older.stat().st_size
            newer.replace(older)
        self._in_tail = True
        self._file = newer.open("wb")
        self._size = 0

    def close(self) -> None:
        """Join the segments into one file of at most the cap."""
        self._write(self._redactor.rest())
        with contextlib.suppress(OSError):
            self._join()

    def _join(self) -> None:
        if self._file.closed:
            return
        self._file.close()
        if not self._in_tail:
            return
        with self._path.open("ab") as whole:
            if self._dropped:
                whole.write(f"\n[... {self._dropped} bytes left out ...]\n".encode())
            for segment in self._segments:
                if segment.exists():
                    whole.write(segment.read_bytes())
                    segment.unlink()
