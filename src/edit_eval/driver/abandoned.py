"""Temporary files of processes that are gone: whoever writes without the run's lock names them after itself.

A benchmark draws or unpacks its images before the run is held, and the report is written by commands that never hold
it. So a file there may be another process's work in progress, unless that process has ended.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

__all__ = ["remove_abandoned"]

_NAME = re.compile(r"\..+\.(\d+)\.(tmp|html)")
"""`.NAME.PID.tmp` until it is whole."""


def remove_abandoned(folder: Path) -> None:
    """Remove what processes that are gone were writing in `folder` or one level below; what cannot be stays."""
    with contextlib.suppress(OSError):
        for below in _clean(folder):
            _clean(below)


def _clean(folder: Path) -> list[Path]:
    """Do so in one folder; return those in it. Raises `OSError`."""
    below = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append(Path(entry.path))
            elif entry.name.startswith("."):
                name = _NAME.fullmatch(entry.name)
                if name and not Path("/proc", name[1]).exists():
                    Path(entry.path).unlink(missing_ok=True)
    return below
