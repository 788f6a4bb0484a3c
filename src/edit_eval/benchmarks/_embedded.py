"""Images that stand inside a table: written to a folder once, named by their content."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

__all__ = ["unpacked"]

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
_MAGIC = (
    (b"\x89PNG", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"RIFF", ".webp"),
)


def unpacked(data: bytes, named: str, folder: Path) -> str:
    """Write `data` under its hash, whole or not at all, and return the absolute path.

    Args:
        data: an image file's bytes.
        named: the file's name where the table gives one; its extension counts where the bytes tell none.
        folder: where to.

    Raises:
        OSError: it cannot be written.
    """
    given = Path(named).suffix
    other = given if _SUFFIX.fullmatch(given) else ".image"
    suffix = next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), other)
    path = folder.absolute() / f"{hashlib.sha256(data).hexdigest()}{suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(data)
        temporary.replace(path)
    return str(path)
