"""What this machine lets us use: cores by affinity and cgroup, memory by cgroup, disk. Reads files under /proc and /sys.

A batch system or a container gives a process less than the machine has, through cgroups: v2 (one tree), v1 (a tree for
each controller), or both. The tightest limit counts, of the process's own cgroup and of all above it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cores", "Memory", "cores", "cpu_count", "memory", "nearest_folder", "size_text"]

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
    """Return the cores: the fewest of affinity, the cgroups' cpusets and their quotas."""
    usable: float = len(os.sched_getaffinity(0))
    for folder in _own_cgroups(proc, cgroups, "cpuset"):
        if (count := _cpuset(folder)) is not None:
            usable = min(usable, count)
    for folder in _own_cgroups(proc, cgroups, "cpu"):
        quota, period = _quota(folder)
        if quota and period:
            usable = min(usable, quota / period)
    return Cores(usable, os.cpu_count() or 1)


def cpu_count() -> int:
    """Return how many whole cores this process may use; at least one."""
    return max(1, int(cores().usable))


def memory(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> Memory | None:
    """Return the memory, or None where /proc does not tell.

    Every cgroup with a limit counts, also one above whose other members have used it up. Page cache that a cgroup
    could drop counts as free.
    """
    facts = _table(proc / "meminfo")
    if "MemTotal" not in facts:
        return None
    machine = total = facts["MemTotal"] * 1024
    free = facts.get("MemAvailable", facts.get("MemFree", 0)) * 1024
    for folder in _own_cgroups(proc, cgroups, "memory"):
        # Past `memory.high` the kernel slows a process down until it is as good as stopped.
        names = ("memory.max", "memory.high", "memory.limit_in_bytes")
        limits = [found for name in names if (found := _number(folder / name)) is not None]
        limit = min(limits, default=machine)
        if limit >= machine:
            continue
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
        stat = _table(folder / "memory.stat")
        cache = stat.get("total_inactive_file", stat.get("inactive_file", 0))
        total = min(total, limit)
        free = min(free, max(0, limit - max(0, used - cache)))
    return Memory(free, total, total < machine)


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
    """Return the folders of this process's cgroup and of those above it that exist, in all trees that may hold it.

    Inside a container its own cgroup may be all there is, mounted as the root, under a path that names the host's.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        _, _, rest = line.partition(":")
        names, colon, path = rest.partition(":")
        if not colon or (names and controller not in names.split(",")):
            continue
        parts = [part for part in path.split("/") if part]
        for base in (root / names, root / controller) if names else (root, root / "unified"):
            depth = 0 if ".." in parts else len(parts)  # outside what this namespace may see
            found += [base.joinpath(*parts[:upto]) for upto in range(depth, -1, -1)]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def _quota(folder: Path) -> tuple[int | None, int | None]:
    """Return microseconds of CPU time in each period of so many; None where there is no limit."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return (int(quota), int(period)) if quota.isdigit() and period.isdigit() else (None, None)


def _cpuset(folder: Path) -> int | None:
    """Return how many CPUs a list such as `0-3,8` names; None for no file or an empty one."""
    for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
        try:
            text = (folder / name).read_text().strip()
        except OSError:
            continue
        ranges = re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text)
        if ranges:
            ends = [part.partition("-") for part in text.split(",")]
            return sum(int(last or first) - int(first) + 1 for first, _, last in ends)
    return None


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
