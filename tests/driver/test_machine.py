"""Cores and memory as affinity and cgroups give them, with /proc and /sys made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from edit_eval.driver.machine import cores, memory, nearest_folder, size_text

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path):
    """Return `machine(cgroup_line, **files)`: a /proc with 64 GiB, 40 free, and a /sys/fs/cgroup."""
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: {64 * GIB // 1024} kB\nMemAvailable: {40 * GIB // 1024} kB\n")

    def made(line: str, files: dict[str, str]) -> tuple[Path, Path]:
        (proc / "self" / "cgroup").write_text(line + "\n")
        for name, text in files.items():
            (groups / name).parent.mkdir(parents=True, exist_ok=True)
            (groups / name).write_text(text + "\n")
        return proc, groups

    return made


def test_without_limits(machine):
    found = memory(*machine("0::/", {"memory.max": "max", "cpu.max": "max 100000"}))
    assert (found.free, found.total, found.limited) == (40 * GIB, 64 * GIB, False)


def test_cgroup_v2_limits_memory_and_cores(machine):
    files = {
        "job/memory.max": str(16 * GIB),
        "job/memory.current": str(10 * GIB),
        "job/memory.stat": f"anon {4 * GIB}\ninactive_file {6 * GIB}",
        "job/cpu.max": "50000 100000",
    }
    paths = machine("0::/job", files)
    found = memory(*paths)
    assert (found.free, found.total, found.limited) == (12 * GIB, 16 * GIB, True)
    assert cores(*paths).usable == 0.5


def test_a_limit_of_a_cgroup_above_counts(machine):
    found = memory(*machine("0::/a/b", {"a/memory.max": str(8 * GIB), "a/b/memory.max": "max"}))
    assert (found.free, found.total) == (8 * GIB, 8 * GIB)


def test_cgroup_v1(machine):
    files = {
        "memory/job/memory.limit_in_bytes": str(8 * GIB),
        "memory/job/memory.usage_in_bytes": str(3 * GIB),
        "cpu,cpuacct/job/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
    }
    paths = machine("4:memory:/job\n3:cpu,cpuacct:/job", files)
    assert memory(*paths).free == 5 * GIB
    assert cores(*paths).usable >= 1


def test_a_machine_that_does_not_tell(tmp_path):
    assert memory(tmp_path, tmp_path) is None
    assert cores(tmp_path, tmp_path).usable >= 1


def test_this_machine():
    assert 0 < memory().free <= memory().total
    assert 0 < cores().usable <= cores().machine


def test_nearest_folder_and_sizes(tmp_path):
    assert nearest_folder(tmp_path / "a" / "b") == tmp_path
    assert nearest_folder(tmp_path) == tmp_path
    assert [size_text(one) for one in (None, 5 << 20, 62 * GIB)] == ["unknown", "5.0 MiB", "62.0 GiB"]
