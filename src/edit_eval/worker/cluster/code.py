"""Python packages on their way to another machine: packed as an archive, unpacked into a folder.

Standard library only. What is unpacked was packed by the same run's bridge.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

__all__ = ["MOST_BYTES", "packed", "unpacked"]

MOST_BYTES = 256 << 20
"""Largest archive: a package is code, and weights belong where all nodes see them."""


def packed(path: Path) -> bytes:
    """Return an archive of one package or module; the same bytes for the same files, whatever their times.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger than `MOST_BYTES`.
    """
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            name = file.relative_to(path.parent)
            if "__pycache__" in name.parts:
                continue
            archive.writestr(zipfile.ZipInfo(str(name)), file.read_bytes(), zipfile.ZIP_DEFLATED)
            if buffer.tell() > MOST_BYTES:
                raise ValueError(f"{path} is larger than {MOST_BYTES >> 20} MiB")
    return buffer.getvalue()


def unpacked(archive: bytes, folder: Path) -> Path:
    """Unpack into `folder`; return it. Raises `OSError`."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        opened.extractall(folder)
    return folder
