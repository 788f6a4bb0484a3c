"""Everything that a command prints outside of a display: harmless on a terminal, without secrets, gone quietly.

Texts come from benchmarks, models, plugins, ledgers and error messages; none of them may move a cursor, colour a line or
show a key. Heavy modules are imported inside, so that `--help` stays light.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = [
    "complain",
    "nearest",
    "one_line",
    "print_file",
    "report_fault",
    "say",
    "show",
    "show_json",
    "show_record",
    "without_secrets",
]

_LONGEST_LINE = 4000
_LINE_END = 800
"""Characters of a long line's end that are kept: there stands what to do."""


def one_line(message: str) -> str:
    """Return `message` as one harmless line without secrets; of a very long one the middle is left out."""
    from edit_eval.views.harmless import clean

    line = clean(without_secrets(message), len(message))
    if len(line) <= _LONGEST_LINE:
        return line
    return f"{line[: _LONGEST_LINE - _LINE_END]} ... {line[-_LINE_END:]}"


def complain(message: str) -> None:
    """Print one line to stderr."""
    print(f"edit-eval: {one_line(message)}", file=sys.stderr, flush=True)


def nearest(path: Path) -> str:
    """Return a path as it is shortest to type: relative to where we are, if it lies below."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def say(text: str) -> None:
    """Say what takes long before there is a display; beside the results, not among them."""
    complain(text)


def show(text: str, end: str = "\n") -> None:
    """Print a result, of one or several lines."""
    from edit_eval.views.harmless import harmless

    print(harmless(without_secrets(text), kept="\n"), end=end, flush=True)


def show_record(line: str) -> None:
    """Print one line of a file for programs, which is ASCII and printable already, as it is."""
    print(line)


def print_file(pieces: Iterable[str]) -> None:
    """Print a file for programs, as it is, in UTF-8; a terminal gets no character of it that it would obey."""
    from edit_eval.views.harmless import harmless

    if sys.stdout.isatty():
        for piece in pieces:
            print(harmless(piece, kept="\n\t"), end="")
        return
    sys.stdout.flush()
    for piece in pieces:
        sys.stdout.buffer.write(piece.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


def show_json(data: Any, indent: int | None = None) -> None:
    """Print JSON that is valid whatever the terminal's encoding; what cannot be shown is an escape of JSON's own."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    text = json.dumps(data, ensure_ascii=encoding != "utf8", indent=indent)
    if not text.isprintable():
        text = "".join(one if one == "\n" or one.isprintable() else json.dumps(one)[1:-1] for one in text)
    print(text, flush=True)


def report_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback, for `sys.excepthook`: a fault of ours, which may quote anybody's text."""
    from edit_eval.views.harmless import harmless

    text = "".join(traceback.format_exception(kind, error, trace))
    print(harmless(without_secrets(text), kept="\n"), end="", file=sys.stderr, flush=True)


def without_secrets(text: str) -> str:
    """Return `text` without the secrets of our environment, and without passwords in addresses."""
    from edit_eval.worker.secrets import ours

    return ours().text(text)
