"""What is said when the system refuses to read or write: what, why, and what to do. One place, so that it is said one way.

A full disk, a quota, a directory that is read-only: the user's to mend, so always a `RunError` (exit code 2). Knows no
file of a run.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from edit_eval.core.errors import RunError

__all__ = ["FULL", "cannot_read", "cannot_write", "why_not"]

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors that room mends."""

_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def cannot_write(
    what: str | Path,
    error: OSError,
    *,
    place: Path | None = None,
    instead: str = "set another output",
    kept: bool = True,
) -> RunError:
    """Return one line about something that could not be written.

    Args:
        what: in words, or its path.
        error: why.
        place: a path on the same disk; None: `what` itself.
        instead: what else can be done; empty: nothing.
        kept: whether to say that what was finished is kept.
    """
    line = f"cannot write {what}: {why_not(error, place or Path(what))}; {_mend(error, instead)}"
    return RunError(f"{line}; what was finished is kept" if kept else line)


def cannot_read(path: Path, error: OSError) -> RunError:
    """Return one line about a file that could not be read."""
    mend = "make it readable" if error.errno in _FORBIDDEN else "it must be a file that can be read"
    return RunError(f"cannot read {path}: {error.strerror or error}; {mend}")


def why_not(error: OSError, place: Path) -> str:
    """Return why something below `place` could not be written, in words."""
    reason = error.strerror or str(error)
    if error.errno == errno.ENOSPC and _has_no_inodes(place):
        return f"{reason} (it has room, but holds as many files as it can)"
    return reason


def _mend(error: OSError, instead: str) -> str:
    otherwise = f", or {instead}" if instead else ""
    if error.errno in FULL:
        return f"make room there and give the same command again{otherwise}"
    if error.errno == errno.EISDIR:
        return "remove the folder that lies in its place"
    if error.errno in _FORBIDDEN:
        return f"make it writable{otherwise}"
    return instead or "mend that"


def _has_no_inodes(place: Path) -> bool:
    for folder in (place.absolute(), *place.absolute().parents):
        try:
            found = os.statvfs(folder)
        except OSError:
            continue
        return bool(found.f_files) and not found.f_favail and bool(found.f_bavail)
    return False
