"""A ledger: an append-only JSONL file in which the last line per key wins.

Outcomes are appended as they happen and reach the disk at least once a second (`sync` is called several times a
second and does nothing more often). A torn last line, left by a kill or a power cut, is cut off when the ledger is
opened for writing.

A ledger may have a million lines. It is read line by line and never whole, and of every key no more is kept than where
its last line begins (about 250 bytes a key, however long the lines are); a record is read again when it is asked for.
"""

from __future__ import annotations

import json
import os
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from io import DEFAULT_BUFFER_SIZE
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, get_args

import orjson

from edit_eval.core.errors import RunError
from edit_eval.core.types import UnscoredKind
from edit_eval.driver.refusals import cannot_read, cannot_write
from edit_eval.driver.shapes import Each, misfit_of

__all__ = [
    "VERSION",
    "Keep",
    "Ledger",
    "Records",
    "found_of_edit",
    "json_bytes",
    "json_value",
    "ledger_line",
    "read_ledger",
    "tells_of_edit",
    "tells_of_verdict",
]

VERSION = 1
"""Version of the lines written here; lines of a newer one are refused."""

_SYNC_INTERVAL_S = 1.0
_USUAL_LINE_BYTES = 2048


def json_bytes(value: Any, option: int = 0) -> bytes:
    """Return `value` as JSON; lone surrogates (in file names that are no UTF-8, in a judge's reply) are escaped."""
    try:
        return orjson.dumps(value, option=option)
    except TypeError:
        return json.dumps(value, allow_nan=False).encode()


def ledger_line(record: Mapping[str, Any]) -> bytes:
    """Return one record (it must have `key`) as its line, with its end."""
    return json_bytes({"v": VERSION, **record}) + b"\n"


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


_BEYOND = 1 << 63
_FLOAT, _TEXT = frozenset({float}), frozenset({str})
_WORK = {"seconds": float, "device": str}
_misfit_verdict = misfit_of(
    {
        "!verdict": {
            "scores": Each(float),
            "overall": (float, None),
            "!unscored": (frozenset(get_args(UnscoredKind)), None),
            "reasons": Each(str),
            "reply": str,
            "facts": dict,
        },
        "judge": (str, None),
        **_WORK,
    }
)


Keep = Callable[[Mapping[str, Any]], Any]
"""What of a record is kept in memory."""

_FAILED: Mapping[str, Any] = {"status": "failed"}
_NO_FACTS: dict[str, Any] = {}


def found_of_edit(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return of an edit's record what says whether its image is still there: a record as short as can be."""
    if record["status"] == "failed":
        return _FAILED
    return {"status": "edited", "image": record["image"]}


def tells_of_edit(record: Mapping[str, Any]) -> bool:
    """Whether a record has what is read of an edit's outcome. By hand: of a million lines this takes half a second less."""
    seconds, device, image = record.get("seconds", 0.0), record.get("device", ""), record.get("image")
    if not (type(seconds) in (int, float) and 0 <= seconds < _BEYOND and type(device) is str):
        return False
    if record.get("status") == "failed":
        return type(record.get("kind")) is str and type(record.get("reason")) is str
    return (
        record.get("status") == "edited"
        and type(image) is dict
        and type(image.get("sha256")) is str
        and type(image.get("bytes")) is int
        and type(image.get("mtime_ns")) is int
    )


def _is_plain_score(record: Mapping[str, Any]) -> bool:
    """Whether a record is a scored verdict as nearly all are; by hand, as above. What is none needs a closer look."""
    verdict = record.get("verdict")
    if type(verdict) is not dict or type(record.get("device")) is not str:
        return False
    scores, reasons, overall = verdict.get("scores"), verdict.get("reasons"), verdict.get("overall")
    return (
        type(record.get("judge", "")) is str
        and type(verdict.get("facts", _NO_FACTS)) is dict
        and type(overall) is type(record.get("seconds")) is float
        and isfinite(overall)
        and isfinite(record["seconds"])
        and verdict.get("unscored", 0) is None
        and type(scores) is type(reasons) is dict
        and type(verdict.get("reply")) is str
        and _FLOAT.issuperset(map(type, scores.values()))
        and all(map(isfinite, scores.values()))
        and _TEXT.issuperset(map(type, reasons.values()))
    )


def tells_of_verdict(record: Mapping[str, Any]) -> bool:
    """Whether a record holds a verdict: scored, or unscored with a kind."""
    if _is_plain_score(record):
        return True
    if _misfit_verdict(record) is not None:
        return False
    verdict = record["verdict"]
    return (verdict.get("overall") is None) != (verdict["unscored"] is None)


def _nothing() -> None:
    """Close no file."""


class Records(Mapping[str, dict[str, Any]]):
    """The last record of every key, in the order in which the keys came; each lookup reads it from the file.

    `kept` has what a ledger was asked to keep of every key's last record, so that it need not be read again.

    Args:
        path: of the ledger, for messages.
        file: a descriptor of it, from now on this object's own; None: there is no file.
    """

    def __init__(self, path: Path, file: int | None = None) -> None:
        self.kept: dict[str, Any] = {}
        self._path = path
        self._begins: dict[str, int] = {}
        self._file: int | None = None
        self._close: Callable[[], Any] = _nothing
        self._identity: tuple[int, int] | None = None
        if file is not None:
            self._hold(file)

    def __getitem__(self, key: str) -> dict[str, Any]:
        """Return a record. Raises `RunError` if its line is no longer what it was when the ledger was read."""
        begin = self._begins[key]
        try:
            record = _record(self._line(begin))
        except OSError as error:
            raise RunError(f"cannot read {self._path}: {error.strerror}") from error
        if record is None or record["key"] != key:
            raise RunError(f"{self._path} was changed by another program while it was read; start again")
        return record

    def __contains__(self, key: object) -> bool:
        return key in self._begins

    def __iter__(self) -> Iterator[str]:
        return iter(self._begins)

    def __len__(self) -> int:
        return len(self._begins)

    def note(self, key: str, begin: int) -> None:
        """Remember that the last line of `key` begins at this byte of the file."""
        self._begins[key] = begin

    def release(self) -> None:
        """Close the file until a record is asked for again: who reads from many ledgers may not keep all of them open."""
        self._close()
        self._file = None

    def _hold(self, file: int) -> None:
        self._file = file
        self._close = weakref.finalize(self, os.close, file)
        facts = os.fstat(file)
        self._identity = (facts.st_dev, facts.st_ino)

    def _opened(self) -> int | None:
        """Return a descriptor of the file that was read; None if there is none, or another one lies in its place."""
        if self._file is None and (identity := self._identity):
            self._hold(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC))
            if self._identity != identity:
                self.release()
                self._identity = identity
        return self._file

    def _line(self, begin: int) -> bytes:
        size = _USUAL_LINE_BYTES
        file = self._opened()
        while file is not None:
            line, end, _ = os.pread(file, size, begin).partition(b"\n")
            if end or len(line) < size:
                return line
            size *= 8
        return b""


def read_ledger(
    path: Path, tells: Callable[[Mapping[str, Any]], bool] = lambda _record: True, keep: Keep | None = None
) -> Records:
    """Return the last record of every key; a missing file is an empty ledger.

    A line that is no record (torn, damaged on the disk, or not what this ledger `tells`) is left out: its task is
    simply done again. What `keep` returns of a record is kept beside where it is.

    Raises:
        RunError: a line was written by a newer edit-eval, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            records = Records(path, os.dup(file.fileno()))
            _read_lines(path, file, tells, records, keep)
    except FileNotFoundError:
        return Records(path)
    except OSError as error:
        raise cannot_read(path, error) from error
    return records


def _read_lines(
    path: Path,
    file: BinaryIO,
    tells: Callable[[Mapping[str, Any]], bool],
    records: Records,
    keep: Keep | None,
) -> None:
    begin, note, kept, plain = 0, records.note, records.kept, orjson.loads
    for line in file:
        try:
            record = plain(line)
            if (
                type(record) is not dict
                or type(record.get("key")) is not str
                or type(record.get("v")) is not int
            ):
                record = _record(line)
        except orjson.JSONDecodeError:
            record = _record(line)
        if record is not None:
            if record["v"] > VERSION:
                raise RunError(
                    f"{path} was written by a newer edit-eval (ledger version {record['v']}); use that one"
                )
            if tells(record):
                note(record["key"], begin)
                if keep:
                    kept[record["key"]] = keep(record)
        begin += len(line)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            value = json_value(line)
        except ValueError:
            return None
    if type(value) is dict and type(value.get("key")) is str and isinstance(value.get("v"), int):
        return value
    return None


class Ledger:
    """A ledger open for writing; `records` is what it says now. `tells`, `keep`: see `read_ledger`."""

    def __init__(
        self,
        path: Path,
        tells: Callable[[Mapping[str, Any]], bool] = lambda _record: True,
        keep: Keep | None = None,
    ) -> None:
        self._path = path
        self._keep = keep
        self.records = read_ledger(path, tells, keep)  # first: of a newer one, nothing is touched
        self._file, cut = _open_whole(path)
        if cut or not self.records:  # it may not have been there
            self.records = read_ledger(path, tells, keep)
        self._torn = False
        self._unsynced = False
        self._synced_at = time.monotonic()

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record (it must have `key`).

        Raises:
            RunError: the disk is full or not writable; the ledger is left whole.
        """
        line = {"v": VERSION, **record}
        data = (b"\n" if self._torn else b"") + ledger_line(record)
        size = os.fstat(self._file).st_size
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError as error:
            if written:
                self._cut(size)
            raise cannot_write(self._path, error) from error
        self.records.note(line["key"], os.lseek(self._file, 0, os.SEEK_CUR) - len(data) + int(self._torn))
        if self._keep:
            self.records.kept[line["key"]] = self._keep(line)
        self._torn = False
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


def _open_whole(path: Path) -> tuple[int, bool]:
    """Open a ledger for appending, made if it is not there, without its torn last line; say whether it had one.

    Raises `RunError`.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            whole, size = _end_of_last_line(file), os.fstat(file).st_size
            if whole < size:
                os.ftruncate(file, whole)
        except OSError:
            os.close(file)
            raise
    except OSError as error:
        raise cannot_write(path, error, kept=False) from error
    return file, whole < size


def _end_of_last_line(file: int) -> int:
    """Return how many bytes of a file are whole lines; reads it from its end, block by block."""
    end = os.fstat(file).st_size
    while end:
        begin = max(0, end - DEFAULT_BUFFER_SIZE)
        newline = os.pread(file, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0
