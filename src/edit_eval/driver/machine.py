"""What this machine lets us use: cores by affinity and cgroup, memory by cgroup, disk. Reads files under /proc and /sys."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edit_eval.driver.devices import cpu_count

__all__ = ["Cores", "Memory", "cores", "memory", "nearest_folder", "size_text"]

_GIB = 1 << 30
_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Cores:
    """CPU cores.

    Attributes:
        usable: by this process; less than one where a cgroup's quota says so.
        machine: how many there are.
    """

    usable: float
    machine: int


@dataclass(frozen=True)
class Memory:
    """Main memory in bytes.

    Attributes:
        free: what could still be taken.
        total: of the machine, or the cgroup's limit.
        limited: whether a cgroup limits it.
    """

    free: int
    total: int
    limited: bool


def cores(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> Cores:
    """Return the cores: affinity, and the quota of the cgroup (v2 `cpu.max`, v1 `cpu.cfs_quota_us`)."""
    usable: float = cpu_count()
    for folder in _own_cgroups(proc, cgroups, "cpu"):
        quota, period = _quota(folder)
        if quota and period:
            usable = min(usable, quota / period)
    return Cores(usable, os.cpu_count() or 1)


def memory(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> Memory | None:
    """Return the memory, or None where /proc does not tell; the tightest cgroup (v2 or v1) counts.

    Page cache that a cgroup could drop counts as free.
    """
    facts = _table(proc / "meminfo")
    if "MemTotal" not in facts:
        return None
    total = facts["MemTotal"] * 1024
    free = facts.get("MemAvailable", facts.get("MemFree", 0)) * 1024
    limited = False
    for folder in _own_cgroups(proc, cgroups, "memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
        if limit is None or limit >= total:
            continue
        stat = _table(folder / "memory.stat")
        cache = stat.get("inactive_file", stat.get("total_inactive_file", 0))
        total, limited = limit, True
        free = min(free, max(0, limit - max(0, (used or 0) - cache)))
    return Memory(free, total, limited)


def nearest_folder(path: Path) -> Path:
    """Return `path`, or the nearest folder above it that exists."""
    for one in (path, *path.parents):
        if one.is_dir():
            return one
    return Path("/")


def size_text(size: int | None) -> str:
    """Return bytes for people: `61.9 GiB`, `12.3 MiB`; `unknown` for None."""
    if size is None:
        return "unknown"
    return f"{size / _GIB:.1f} GiB" if size >= _GIB // 10 else f"{size / (1 << 20):.1f} MiB"


def _own_cgroups(proc: Path, root: Path, controller: str) -> list[Path]:
    """Return the folders of this process's cgroup and those above it, v2 or v1; inside a container the root itself."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        base = root / controller if names else root
        folder = base / path.lstrip("/")
        chain = [folder, *folder.parents]
        found += [one for one in chain if one == base or base in one.parents]
    return list(dict.fromkeys(found))


def _quota(folder: Path) -> tuple[int | None, int | None]:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return (int(quota), int(period)) if quota.isdigit() else (None, None)


def _number(path: Path) -> int | None:
    """Return the number in a file; None for `max`, `-1` or no file."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _table(path: Path) -> dict[str, int]:
    """Return `name: number` or `name number` lines of a file."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    rows = (line.replace(":", " ").split() for line in lines)
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
