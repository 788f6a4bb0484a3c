"""How a folder's file system is mounted: whether a lock there is seen by other machines. Reads one file of /proc."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mount", "local_locks", "mount_of"]

_OCTAL = re.compile(r"\\([0-7]{3})")
_LOCAL: dict[str, frozenset[str]] = {
    "nfs": frozenset({"nolock", "local_lock=all", "local_lock=flock"}),
    "nfs4": frozenset({"nolock", "local_lock=all", "local_lock=flock"}),
    "lustre": frozenset({"localflock"}),
}
"""Type of file system -> options with which flock succeeds and tells no other machine: nfs(5), mount.lustre(8)."""


@dataclass(frozen=True)
class Mount:
    """A mounted file system.

    Attributes:
        point: where.
        kind: such as `ext4`, `nfs4`, `lustre`.
        options: of the mount and of the file system.
    """

    point: Path
    kind: str
    options: frozenset[str]


def mount_of(path: Path, table: Path = Path("/proc/self/mountinfo")) -> Mount | None:
    """Return the mount that holds `path`, which need not exist; None where the kernel does not tell.

    Args:
        path: of a file or folder.
        table: as proc(5) says of `mountinfo`; of two mounts at one place the later is seen.
    """
    real = Path(os.path.realpath(path))
    try:
        lines = os.fsdecode(table.read_bytes()).split("\n")
    except OSError:
        return None
    best: Mount | None = None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(rest) < 3:
            continue
        point = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        if real.is_relative_to(point) and (best is None or len(point.parts) >= len(best.point.parts)):
            best = Mount(point, rest[0], frozenset([*fields[5].split(","), *rest[2].split(",")]))
    return best


def local_locks(mount: Mount | None) -> str:
    """Return the option because of which a lock is not seen by other machines; empty if there is none."""
    if mount is None:
        return ""
    return min(mount.options & _LOCAL.get(mount.kind, frozenset()), default="")
