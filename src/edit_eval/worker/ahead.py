"""Reads the files of weights into the page cache before somebody maps them; one pass, in order, in large pieces.

Processes that map the same files share what is there, so one of them reads for all. What is cached already is left alone.
Nothing of it is needed: a file that cannot be read, or memory that is short, ends it without a word. Linux, standard
library only.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["ReadAhead", "disk_bytes"]

_PIECE_BYTES = 8 << 20
_PAGE_BYTES = 4096
_RESERVE_BYTES = 2 << 30
"""Memory that must stay available: other processes come before a cache."""
_NICE = 10


class ReadAhead:
    """Reads in a thread of its own, which gives way to everybody else; at most one at a time."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self.seen_bytes = 0
        self.disk_bytes = 0
        self.disk_s = 0.0

    def start(self, paths: Iterable[str]) -> None:
        """Begin to read these files, unless some are being read."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, args=(list(paths),), daemon=True)
            self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; return whether it was reached."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def facts(self) -> dict[str, Any]:
        """Return what was seen to so far: bytes, those of them that came from a disk, and seconds that took; or nothing."""
        if self._thread is None:
            return {}
        return {
            "ahead_bytes": self.seen_bytes,
            "ahead_disk_bytes": self.disk_bytes,
            "ahead_disk_s": round(self.disk_s, 3),
        }

    def _read(self, paths: list[str]) -> None:
        with contextlib.suppress(OSError):  # a thread has a niceness of its own, and the disk follows it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        buffer = bytearray(_PIECE_BYTES)
        with contextlib.suppress(OSError):
            for path in paths:
                if not self._read_file(path, buffer):
                    return

    def _read_file(self, path: str, buffer: bytearray) -> bool:
        """Read one file; return whether there was memory for it."""
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            size = os.fstat(file.fileno()).st_size
            for offset in range(0, size, _PIECE_BYTES):
                if _available_bytes() < _RESERVE_BYTES:
                    return False
                length = min(_PIECE_BYTES, size - offset)
                self.seen_bytes += length
                if not _is_cached(file.fileno(), offset, length):
                    self._read_piece(file.fileno(), offset, buffer)
        return True

    def _read_piece(self, file: int, offset: int, buffer: bytearray) -> None:
        """Read one piece; it counts as far as it came from a disk."""
        begun, before = time.monotonic(), disk_bytes("thread-self")
        os.preadv(file, [buffer], offset)
        after = disk_bytes("thread-self")
        if before is not None and after is not None and after > before:
            self.disk_bytes += after - before
            self.disk_s += time.monotonic() - begun


def _is_cached(file: int, offset: int, length: int) -> bool:
    """Whether a piece seems to be in the page cache: its first and its last page are. False where that cannot be told."""
    page = bytearray(_PAGE_BYTES)
    for at in (offset, offset + max(0, length - _PAGE_BYTES)):
        try:
            if not os.preadv(file, [page], at, os.RWF_NOWAIT):
                return False
        except OSError:  # not cached (EAGAIN), or a file system that does not know the question
            return False
    return True


def _available_bytes() -> int:
    """Return the memory that could be had without swapping; very much where /proc does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 1 << 62


def disk_bytes(whose: str = "self") -> int | None:
    """Return the bytes that this process (or `thread-self`) has had fetched from disks; None where the system does not tell."""
    try:
        for line in Path(f"/proc/{whose}/io").read_text().splitlines():
            if line.startswith("read_bytes:"):
                return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None
