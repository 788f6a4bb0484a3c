"""The table of a run (`driver.records`) as a file: CSV, JSON lines in an array, or Parquet.

JSON and Parquet hold every text as it is. CSV is opened in spreadsheets, which take a text that begins with `=`, `+`, `-`, `@`,
a tab or a carriage return for a formula: there such a text gets an apostrophe before it, as OWASP advises ("CSV Injection").
Numbers are written as they are; what is missing is an empty cell, null in JSON.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from edit_eval.core.errors import UserError
from edit_eval.driver.records import Kind

__all__ = ["csv_lines", "json_pieces", "parquet_writer"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_ROWS_AT_ONCE = 10_000


def csv_lines(columns: Mapping[str, Kind], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the records of a CSV file with their ends, the head first; a quoted text may hold line ends of its own."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)  # lines end in CR LF (RFC 4180); so a text that holds either is quoted

    def record(cells: Iterable[Any]) -> str:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(cells)
        return buffer.getvalue()

    yield record(map(_cell, columns))
    for row in rows:
        yield record(_cell(row[name]) for name in columns)


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        text = value.encode("utf-8", "replace").decode()  # lone surrogates are no UTF-8
        return f"'{text}" if text.startswith(_FORMULA) else text
    return value


def json_pieces(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the pieces of one JSON array, ASCII, a line for each row."""
    before = "["
    for row in rows:
        yield f"{before}\n{json.dumps(row, allow_nan=False)}"
        before = ","
    yield "\n]\n" if before == "," else "[]\n"


def parquet_writer() -> Any:
    """Return a function (columns, rows, file) that writes a Parquet file. Raises `UserError` without pyarrow."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(
            "Parquet needs pyarrow: pip install 'edit-eval[parquet]'; --format csv and json need nothing"
        ) from error

    def write(columns: Mapping[str, Kind], rows: Iterable[Mapping[str, Any]], file: IO[bytes]) -> None:
        types = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64()}
        schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
        with parquet.ParquetWriter(file, schema) as writer:
            for part in _parts(rows):
                whole = [{name: _utf8(value) for name, value in row.items()} for row in part]
                writer.write_table(pa.Table.from_pylist(whole, schema=schema))

    return write


def _utf8(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _parts(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    part: list[Mapping[str, Any]] = []
    for row in rows:
        part.append(row)
        if len(part) == _ROWS_AT_ONCE:
            yield part
            part = []
    if part:
        yield part
