"""`edit-eval export`: wires a run and what writes it for other programs together, and nothing more."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from edit_eval.cli import EXIT_OK, EXIT_PARTIAL
from edit_eval.cli.output import nearest, print_file, say, show, show_record
from edit_eval.core.errors import ConfigError, did_you_mean
from edit_eval.driver.layout import layouts, write_layout
from edit_eval.driver.records import columns_of, records_of
from edit_eval.driver.refusals import cannot_write
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import read_rows, summarize
from edit_eval.views.export import canonical_lines
from edit_eval.views.records import csv_lines, json_pieces, parquet_writer
from edit_eval.views.tables import latex, markdown, summary_tables

__all__ = ["export"]


def export(arguments: argparse.Namespace) -> int:
    """`edit-eval export RUN --format FORMAT`, `--canonical`, or `--layout BENCHMARK`."""
    run = RunReader(Path(arguments.run))
    if arguments.layout is not None:
        return _export_layout(arguments, run)
    if arguments.format is not None:
        return _export_table(arguments, run)
    if arguments.output:
        raise ConfigError("--output goes with --format and --layout; a canonical export is printed")
    for line in canonical_lines(read_rows(run, thumbnails=False)):
        show_record(line)
    return EXIT_OK


def _export_table(arguments: argparse.Namespace, run: RunReader) -> int:
    output = Path(arguments.output) if arguments.output else None
    if arguments.format == "parquet":
        _export_parquet(run, output)
    else:
        rows = read_rows(run, thumbnails=True)
        pieces: Iterable[str]
        if arguments.format == "csv":
            pieces = csv_lines(columns_of(run, rows), records_of(run, rows))
        elif arguments.format == "json":
            pieces = json_pieces(records_of(run, rows))
        else:
            write = markdown if arguments.format == "markdown" else latex
            pieces = [write(summary_tables(summarize(run, rows))) + "\n"]
        if output is None:
            print_file(pieces)
            return EXIT_OK
        _write(output, lambda file: file.writelines(piece.encode("utf-8", "replace") for piece in pieces))
    if output is not None:
        say(f"written to {nearest(output)}")
    return EXIT_OK


def _export_parquet(run: RunReader, output: Path | None) -> None:
    write = parquet_writer()
    if output is None and sys.stdout.isatty():
        raise ConfigError("Parquet is no text: name a file with --output FILE, or send it into one with >")
    rows = read_rows(run, thumbnails=True)

    def fill(file: IO[bytes]) -> None:
        write(columns_of(run, rows), records_of(run, rows), file)

    if output is None:
        fill(sys.stdout.buffer)
    else:
        _write(output, fill)


def _write(path: Path, fill: Callable[[IO[bytes]], None]) -> None:
    """Write a file whole or not at all. Raises `RunError`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                fill(file)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def _export_layout(arguments: argparse.Namespace, run: RunReader) -> int:
    known = layouts()
    if arguments.layout not in known:
        hint = did_you_mean(arguments.layout, list(known)) or f"; there are {', '.join(known)}"
        raise ConfigError(f"--layout: no benchmark {arguments.layout!r} has a layout of its own{hint}")
    folder = Path(arguments.output) if arguments.output else run.path / "export" / arguments.layout
    written = write_layout(run, read_rows(run), known[arguments.layout], folder)
    show(f"{written.files} edits to {written.folder}")
    if not written.left_out:
        return EXIT_OK
    more = f" and {len(written.left_out) - 1} more" if len(written.left_out) > 1 else ""
    say(f"no edit of sample {written.left_out[0]!r}{more}: not exported")
    return EXIT_PARTIAL
