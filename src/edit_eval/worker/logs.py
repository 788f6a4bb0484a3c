"""A log file that cannot fill the disk: the first and the last megabytes are kept, the middle is dropped.

Standard library only; knows nothing of who writes.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["CAP_BYTES", "CappedLog"]

CAP_BYTES = 20 << 20
"""Largest size of one log: half of it the beginning, half of it the end."""


class CappedLog:
    """Appends to `path`; past half of `cap` the newest half is kept in two segments beside it, joined on `close`."""

    def __init__(self, path: Path, cap: int = CAP_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._half = cap // 2
        self._segments = [path.with_name(path.name + suffix) for suffix in (".older", ".newer")]
        self._file = path.open("ab")
        if (
            self._file.tell() > self._half
        ):  # of an earlier host: its beginning stays, its end gives way to ours
            self._file.truncate(self._half)
        self._size = self._file.tell()
        self._in_tail = False
        self._dropped = 0
        self._recent = bytearray()

    def write(self, data: bytes) -> None:
        """Append `data`."""
        self._recent += data
        if len(self._recent) > 1 << 16:
            del self._recent[: -(1 << 15)]
        if self._size + len(data) > (self._half // 2 if self._in_tail else self._half):
            self._turn_over()
        self._file.write(data)
        self._file.flush()
        self._size += len(data)

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
        """Join the segments into one file of at most about the cap."""
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
