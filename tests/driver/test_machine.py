"""Cores and memory as affinity and cgroups give them, with /proc and /sys made by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edit_eval.driver import machine as machine_module
from edit_eval.driver.devices import Device, default_devices
from edit_eval.driver.machine import Cores, cores, cpu_count, memory, nearest_folder, size_text

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


# Layouts of container engines and batch systems


@pytest.fixture
def many(monkeypatch):
    """Affinity is 64 CPUs of 128."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))
    monkeypatch.setattr(os, "cpu_count", lambda: 128)


SLURM_V2 = "system.slice/slurmstepd.scope/job_71"
SLURM_V1 = "slurm/uid_1000/job_71"


@pytest.mark.parametrize(
    ("line", "files", "usable", "limit_gib", "free_gib"),
    [
        pytest.param(
            "0::/",
            {"cpu.max": "350000 100000", "memory.max": str(8 * GIB), "memory.current": str(GIB)},
            3.5, 8, 7, id="docker, v2: its cgroup is the root",
        ),
        pytest.param(
            "12:memory:/docker/abc\n11:cpu,cpuacct:/docker/abc\n10:cpuset:/docker/abc\n1:name=systemd:/docker/abc",
            {
                "memory/memory.limit_in_bytes": str(8 * GIB),
                "memory/memory.usage_in_bytes": str(6 * GIB),
                "memory/memory.stat": f"cache 5\ninactive_file 0\ntotal_inactive_file {2 * GIB}",
                "cpu,cpuacct/cpu.cfs_quota_us": "150000",
                "cpu,cpuacct/cpu.cfs_period_us": "100000",
                "cpuset/cpuset.cpus": "0-31",
            },
            1.5, 8, 4, id="docker, v1: a path of the host, its own cgroup mounted as the root",
        ),
        pytest.param(
            f"0::/{SLURM_V2}/step_0/user/task_0",
            {
                f"{SLURM_V2}/memory.max": str(32 * GIB),
                f"{SLURM_V2}/memory.current": str(30 * GIB),
                f"{SLURM_V2}/cpuset.cpus.effective": "0-7,64-71",
                f"{SLURM_V2}/step_0/user/task_0/memory.max": "max",
                f"{SLURM_V2}/step_0/user/task_0/cpu.max": "max 100000",
                f"{SLURM_V2}/step_0/user/task_0/cpuset.cpus.effective": "0-7",
            },
            8, 32, 2, id="slurm, v2",
        ),
        pytest.param(
            f"11:memory:/{SLURM_V1}/step_batch\n7:cpuset:/{SLURM_V1}/step_batch\n0::/system.slice/slurmd.service",
            {
                f"memory/{SLURM_V1}/memory.limit_in_bytes": str(16 * GIB),
                f"memory/{SLURM_V1}/memory.usage_in_bytes": str(4 * GIB),
                f"memory/{SLURM_V1}/step_batch/memory.limit_in_bytes": str(1 << 62),
                f"cpuset/{SLURM_V1}/step_batch/cpuset.cpus": "3,5,9",
                "unified/system.slice/slurmd.service/memory.max": "max",
            },
            3, 16, 12, id="slurm, v1 and v2 at once",
        ),
        pytest.param(
            "0::/kubepods.slice/pod1.slice/c1.scope",
            {
                "kubepods.slice/memory.max": str(48 * GIB),
                "kubepods.slice/memory.current": str(47 * GIB),
                "kubepods.slice/pod1.slice/memory.max": str(20 * GIB),
                "kubepods.slice/pod1.slice/memory.current": str(2 * GIB),
                "kubepods.slice/pod1.slice/cpu.max": "1250000 100000",
                "kubepods.slice/pod1.slice/c1.scope/cpu.max": "2500000 100000",
            },
            12.5, 20, 1, id="a wider limit above that others have used up",
        ),
        pytest.param(
            "0::/job", {"job/memory.max": "max", "job/memory.high": str(4 * GIB)}, 64, 4, 4, id="memory.high"
        ),
        pytest.param("0::/job", {"job/cpu.max": "6000 100000"}, 0.06, 64, 40, id="less than a core"),
        pytest.param("0::/job", {"job/cpu.max": "nonsense", "job/cpuset.cpus.effective": ""}, 64, 64, 40, id="nonsense"),
        pytest.param("0::/../../other", {"cpu.max": "200000 100000"}, 2, 64, 40, id="outside of what may be seen"),
        pytest.param("0::/gone", {}, 64, 64, 40, id="no files"),
        pytest.param("garbage", {}, 64, 64, 40, id="no cgroup file as we know it"),
    ],
)  # fmt: skip
def test_layouts(machine, many, line, files, usable, limit_gib, free_gib):
    paths = machine(line, files)
    assert (cores(*paths).usable, cores(*paths).machine) == (usable, 128)
    found = memory(*paths)
    assert (found.total / GIB, found.free / GIB) == (limit_gib, free_gib)
    assert found.limited == (limit_gib < 64)


def test_threads_and_slots_follow_the_cores(monkeypatch):
    for usable, whole, threads in ((3.5, 3, "1"), (0.06, 1, "1"), (16.0, 16, "8")):
        monkeypatch.setattr(machine_module, "cores", lambda usable=usable: Cores(usable, 128))
        assert cpu_count() == whole
        assert Device("cuda", (0,), ("0",)).environment(2)["OMP_NUM_THREADS"] == threads
        assert len(default_devices(accelerated=False)) == min(8, whole)


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
