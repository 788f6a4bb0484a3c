"""A ledger: an append-only JSONL file in which the last line per key wins.

Outcomes are appended as they happen and reach the disk at least once a second (`sync` is called several times a
second and does nothing more often). A torn last line, left by a kill or a power cut, is cut off when the ledger is
opened for writing.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from edit_eval.core.errors import RunError
from edit_eval.core.types import Verdict
from edit_eval.driver.refusals import cannot_read, cannot_write

__all__ = [
    "VERSION",
    "Ledger",
    "json_bytes",
    "json_value",
    "read_ledger",
    "tells_of_edit",
    "tells_of_verdict",
]

VERSION = 1
"""Version of the lines written here; lines of a newer one are refused."""

_SYNC_INTERVAL_S = 1.0


def json_bytes(value: Any, option: int = 0) -> bytes:
    """Return `value` as JSON; lone surrogates (in file names that are no UTF-8, in a judge's reply) are escaped."""
    try:
        return orjson.dumps(value, option=option)
    except TypeError:
        return json.dumps(value, allow_nan=False).encode()


def json_value(text: bytes) -> Any:
    """Read what `json_bytes` wrote. Raises `ValueError`."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if b"\\ud" not in text:
            raise
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def tells_of_edit(record: Mapping[str, Any]) -> bool:
    """Whether a record has what is read of an edit's outcome."""
    if record.get("status") == "failed":
        return isinstance(record.get("kind"), str) and isinstance(record.get("reason"), str)
    image = record.get("image")
    return (
        record.get("status") == "edited"
        and _tells_of_work(record)
        and isinstance(image, dict)
        and isinstance(image.get("sha256"), str)
        and isinstance(image.get("bytes"), int)
        and isinstance(image.get("mtime_ns"), int)
    )


def _tells_of_work(record: Mapping[str, Any]) -> bool:
    """Whether what it took, where that is recorded, can be reckoned with."""
    seconds, device = record.get("seconds", 0.0), record.get("device", "")
    return type(seconds) in (int, float) and math.isfinite(seconds) and isinstance(device, str)


def tells_of_verdict(record: Mapping[str, Any]) -> bool:
    """Whether a record holds a verdict."""
    verdict = record.get("verdict")
    if not isinstance(verdict, dict) or "unscored" not in verdict or not _tells_of_work(record):
        return False
    try:
        Verdict.from_json(verdict)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return False
    return True


def read_ledger(
    path: Path, tells: Callable[[Mapping[str, Any]], bool] = lambda _record: True
) -> dict[str, dict[str, Any]]:
    """Return the last record of every key; a missing file is an empty ledger.

    A line that is no record (torn, damaged on the disk, or not what this ledger `tells`) is left out: its task is
    simply done again.

    Raises:
        RunError: a line was written by a newer edit-eval, or the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise cannot_read(path, error) from error
    records: dict[str, dict[str, Any]] = {}
    for line in data.splitlines():
        record = _record(line)
        if record is None:
            continue
        if record.get("v", 0) > VERSION:
            raise RunError(
                f"{path} was written by a newer edit-eval (ledger version {record['v']}); use that one"
            )
        if tells(record):
            records[record["key"]] = record
    return records


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json_value(line)
    except ValueError:
        return None
    if isinstance(value, dict) and isinstance(value.get("key"), str) and isinstance(value.get("v"), int):
        return value
    return None


class Ledger:
    """A ledger open for writing; `records` is what it says now. `tells`: see `read_ledger`."""

    def __init__(self, path: Path, tells: Callable[[Mapping[str, Any]], bool] = lambda _record: True) -> None:
        self._path = path
        self.records = read_ledger(path, tells)  # first: of a newer one, nothing is touched
        if _cut_torn_line(path):
            self.records = read_ledger(path, tells)
        self._file = _opened(path)
        self._torn = False
        self._unsynced = False
        self._synced_at = time.monotonic()

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record (it must have `key`).

        Raises:
            RunError: the disk is full or not writable; the ledger is left whole.
        """
        line = {"v": VERSION, **record}
        data = (b"\n" if self._torn else b"") + json_bytes(line) + b"\n"
        size = os.fstat(self._file).st_size
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError as error:
            if written:
                self._cut(size)
            raise cannot_write(self._path, error) from error
        self._torn = False
        self.records[line["key"]] = line
        self._unsynced = True

    def sync(self) -> None:
        """Bring what was appended to the disk, if the last time was a second ago. Raises `RunError`."""
        if self._unsynced and time.monotonic() - self._synced_at >= _SYNC_INTERVAL_S:
            self._fsync()
            self._unsynced = False
            self._synced_at = time.monotonic()

    def close(self) -> None:
        """Sync and close; it is closed whatever becomes of the sync. Raises `RunError`."""
        try:
            self._fsync()
        finally:
            os.close(self._file)

    def _cut(self, size: int) -> None:
        """Take back a line that was written in part; where that cannot be, the next one begins on a line of its own."""
        try:
            os.ftruncate(self._file, size)
        except OSError:
            self._torn = True

    def _fsync(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:
            raise RunError(
                f"cannot bring {self._path} to the disk: {error.strerror}; its last lines may be lost: look at the "
                "disk, then give the same command again"
            ) from error


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise cannot_write(path, error, kept=False) from error


def _cut_torn_line(path: Path) -> bool:
    """Cut off what follows the last line's end, and say whether there was something."""
    try:
        with path.open("r+b") as file:
            data = file.read()
            torn = bool(data) and not data.endswith(b"\n")
            if torn:
                file.truncate(data.rfind(b"\n") + 1)
            return torn
    except FileNotFoundError:
        return False
    except OSError as error:
        raise cannot_write(path, error, kept=False) from error
