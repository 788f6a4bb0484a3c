"""Reading a table of samples: JSONL, JSON, CSV or Parquet, as plain rows that know where they stand.

Knows file formats and nothing of samples: which fields there are, and what they mean, is `folder`'s affair.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from edit_eval.core.errors import DataError, shown

__all__ = ["SUFFIXES", "Row", "read_json", "read_rows"]

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
"""Extensions that are read, in lower case."""

_PARQUET_BATCH_ROWS = 32
"""Rows held at a time: each may hold a whole image."""


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        where: how a person finds it: `line 3`, `entry 3`, `row 3`, all counted from 1.
        values: by field name; None and, in CSV, empty cells are left out.
        flat: whether every value is text, as in CSV, so that lists and objects are written in it.
    """

    where: str
    values: dict[str, Any]
    flat: bool = False


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file, in its order.

    Raises:
        DataError: the file cannot be read, or is not what its extension says; names the line.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path)
    text = _text(path)
    if suffix == ".jsonl":
        return _jsonl(path, text)
    if suffix == ".json":
        return _json(path, text)
    return _csv(path, text, "\t" if suffix == ".tsv" else ",")


def read_json(path: Path) -> Any:
    """Return what a JSON file holds. Raises `DataError` as `read_rows` does, also where a key stands twice in one object."""
    return _parsed(path, _text(path), 1)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: this is not UTF-8; save the file as UTF-8") from error


def _jsonl(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        value = _plainly_parsed(line) or _parsed(path, line, number)
        if not isinstance(value, dict):
            raise DataError(f"{path}, line {number}: expected an object in {{}}, found {_kind(value)}")
        yield Row(f"line {number}", _given(value))


def _json(path: Path, text: str) -> Iterator[Row]:
    if not text.strip():
        return
    value = _parsed(path, text, 1)
    if isinstance(value, dict):
        wrapped = next((value[key] for key in ("samples", "data") if isinstance(value.get(key), list)), None)
        if wrapped is not None:
            value = wrapped
        elif "instruction" in value:
            value = [value]
        elif all(isinstance(one, str) for one in value.values()):
            value = [{"image": image, "instruction": text} for image, text in value.items()]
    if not isinstance(value, list):
        raise DataError(
            f"{path}: expected a list of samples, an object with that list under 'samples' or 'data', "
            f"or an object of image file name to instruction; found {_kind(value)} of another shape"
        )
    for number, one in enumerate(value, start=1):
        if not isinstance(one, dict):
            raise DataError(f"{path}, entry {number}: expected an object in {{}}, found {_kind(one)}")
        yield Row(f"entry {number}", _given(one))


def _plainly_parsed(line: str) -> dict[str, Any] | None:
    """Return the object that a line is, if it is one as nearly all are; None asks for a closer look.

    One reader is five times as fast as the other, but drops doubled keys, and makes floats of what is too long for 64
    bits. So no float is taken from it, and no line that has more colons than the object has keys.
    """
    try:
        value = orjson.loads(line)
    except ValueError:
        return None
    if type(value) is not dict:
        return None
    keys = len(value)
    for one in value.values():
        if type(one) is dict and _TEXT.issuperset(map(type, one.values())):
            keys += len(one)
        elif type(one) is list and _TEXT.issuperset(map(type, one)):
            pass
        elif type(one) not in _PLAIN:
            return None
    return value if line.count(":") == keys else None


_TEXT = frozenset({str})
_PLAIN = frozenset({str, int, bool, type(None)})


def _parsed(path: Path, text: str, first_line: int) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(
            f"{path}, line {line}, column {error.colno}: this is not JSON: {error.msg}"
        ) from error
    except _DoubledKeyError as error:
        place = f", line {first_line}" if path.suffix.lower() == ".jsonl" else ""
        raise DataError(f"{path}{place}: {error} stands twice in one object; keep one") from error
    except ValueError as error:  # NaN, or thousands of digits
        raise DataError(f"{path}, line {first_line}: this is not JSON: {error}") from error
    except RecursionError as error:
        raise DataError(f"{path}, line {first_line}: nested too deeply for a sample") from error


class _DoubledKeyError(ValueError):
    """A key that stands twice in one object: JSON's own readers silently drop the first."""


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON; leave it out")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [key for key, _ in pairs]
        raise _DoubledKeyError(shown(next(name for name in names if names.count(name) > 1)))
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_without_doubles, parse_constant=_no_number)


def _csv(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    begins = 1
    try:
        for cells in reader:
            here, begins = begins, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = _header(path, cells)
            elif len(cells) > len(header):
                raise DataError(
                    f"{path}, line {here}: {len(cells)} cells under {len(header)} columns; "
                    f"put text that holds a {'tab' if delimiter == chr(9) else 'comma'} in double quotes"
                )
            else:
                filled = {key: cell for key, cell in zip(header, cells, strict=False) if cell.strip()}
                yield Row(f"line {here}", filled, flat=True)
    except csv.Error as error:
        raise DataError(f"{path}, line {begins}: this is not CSV: {error}") from error


def _header(path: Path, cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    doubled = sorted({name for name in header if name and header.count(name) > 1})
    if doubled:
        raise DataError(f"{path}, line 1: column {shown(doubled[0])} stands twice; keep one")
    return header


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise DataError(
            f"{path}: reading Parquet needs pyarrow; run: pip install 'edit-eval[parquet]'"
        ) from error
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH_ROWS):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"row {number}", _given(values))
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # no UTF-8; nanoseconds
        why = " ".join(str(error).split())
        raise DataError(f"{path}, after row {number}: this is not readable as Parquet: {why}") from error


def _given(values: dict[str, Any]) -> dict[str, Any]:
    if None not in values.values():
        return values
    return {key: value for key, value in values.items() if value is not None}


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
