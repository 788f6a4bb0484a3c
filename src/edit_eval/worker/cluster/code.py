"""Python packages on their way to another machine: packed as an archive, unpacked into a folder.

Standard library only. What is unpacked was packed by the same run's bridge.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

__all__ = ["MOST_BYTES", "PackageError", "packed", "unpacked"]

MOST_BYTES = 256 << 20
"""Most bytes of a package's files: it is code, and weights belong where all nodes see them."""


class PackageError(Exception):
    """A package cannot be sent to other nodes; the message names it and says why."""


def packed(path: Path) -> bytes:
    """Return an archive of one package or module; the same bytes for the same files, whatever their times.

    Raises:
        PackageError: it cannot be read, or is larger than `MOST_BYTES`; then nothing of it is read.
    """
    buffer = io.BytesIO()
    try:
        files = _files(path)
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                name = str(file.relative_to(path.parent))
                archive.writestr(zipfile.ZipInfo(name), file.read_bytes(), zipfile.ZIP_DEFLATED)
    except OSError as error:
        what = error.filename or path
        raise PackageError(f"{what} cannot be sent to other nodes: {error.strerror or error}") from error
    return buffer.getvalue()


def _files(path: Path) -> list[Path]:
    """Return the files of a package, without what Python made of them. Raises `OSError`, `PackageError`."""
    every = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    found = [one for one in every if "__pycache__" not in one.relative_to(path.parent).parts]
    if sum(one.stat().st_size for one in found) > MOST_BYTES:
        raise PackageError(
            f"{path} cannot be sent to other nodes: it holds more than {MOST_BYTES >> 20} MiB; put what is no code where all "
            "nodes see it"
        )
    return found


def unpacked(archive: bytes, folder: Path) -> Path:
    """Unpack into `folder`; return it. Raises `OSError`."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        opened.extractall(folder)
    return folder
