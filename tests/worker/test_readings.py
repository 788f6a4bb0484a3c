"""What is read of GPUs and processes: nulls where nothing can be known, exceptions nowhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from fake_nvml import FakeNvml

from edit_eval.worker import readings
from edit_eval.worker.readings import GPU_COLUMNS, HOST_COLUMNS, GpuReader, ProcessReader


@pytest.fixture
def nvml(monkeypatch):
    def set_up(count: int) -> FakeNvml:
        fake = FakeNvml(count)
        monkeypatch.setattr(readings, "open_nvml", lambda: (fake, ""))
        return fake

    return set_up


def named(values) -> dict:
    return dict(zip(GPU_COLUMNS, values, strict=True))


@pytest.mark.parametrize("count", [0, 1, 8])
def test_every_gpu_is_read_under_its_uuid(nvml, count):
    fake = nvml(count)
    reader = GpuReader(str(index) for index in range(count))
    read = reader.read()
    assert list(read) == [fake.uuid(index) for index in range(count)]
    for values in read.values():
        one = named(values)
        assert (one["utilisation"], one["memory_bytes"], one["power_w"]) == (90, 60 << 30, 500.0)
        assert (one["sm_mhz"], one["reasons"]) == (1700, 0)
        assert one["energy_j"] >= 1e6
    assert all(
        one.name == "NVIDIA Fake 80GB" and one.memory_bytes == 80 << 30 for one in reader.info.values()
    )


def test_a_gpu_may_be_named_by_its_uuid_and_twice(nvml):
    fake = nvml(3)
    reader = GpuReader([fake.uuid(2), "1", "1"])
    assert list(reader.read()) == [fake.uuid(2), fake.uuid(1)]


def test_without_nvml_nothing_is_read(monkeypatch):
    import pynvml

    def init():
        raise pynvml.NVMLError_LibraryNotFound

    monkeypatch.setattr(pynvml, "nvmlInit", init)
    reader = GpuReader(["0"])
    assert "Library Not Found" in reader.missing
    assert reader.read() == {}


def test_what_a_gpu_does_not_support_is_null(nvml):
    fake = nvml(1)
    fake.gpus[0].counter = False
    fake.gpus[0].reasons = fake.gpus[0].utilisation = None
    one = named(GpuReader(["0"]).read()[fake.uuid(0)])
    assert one["energy_j"] is one["reasons"] is one["utilisation"] is None
    assert one["power_w"] == 500.0


def test_a_gpu_that_disappears_is_null_and_found_again(nvml):
    fake = nvml(2)
    reader = GpuReader(["0", "1"])
    assert reader.read()[fake.uuid(1)][0] == 90
    looked = fake.look_ups
    reader.read()
    assert fake.look_ups == looked  # handles are kept
    fake.gpus[1].gone = True
    for _ in range(3):
        read = reader.read()
        assert read[fake.uuid(1)] == [None] * len(GPU_COLUMNS)
        assert read[fake.uuid(0)][0] == 90
    fake.gpus[1].gone = False
    assert reader.read()[fake.uuid(1)][0] == 90


def test_a_gpu_that_is_not_there_at_the_start_is_null(nvml):
    nvml(1)
    assert GpuReader(["5"]).read() == {"gpu 5": [None] * len(GPU_COLUMNS)}


# Processes: a keeper (the child here), its host, and what the host starts.

BUSY = "import time\nt = time.process_time\nwhile t() < 0.3: pass\ntime.sleep(60)"
HOST = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", {BUSY!r}], start_new_session=True)
print(child.pid, flush=True)
held = bytearray(40 << 20)
time.sleep(60)
"""
KEEPER = f"""
import subprocess, sys
host = subprocess.Popen([sys.executable, "-S", "-c", {HOST!r}])
print(host.pid, flush=True)
host.wait()
sys.stdin.read()
"""


@pytest.fixture
def family():
    keeper = subprocess.Popen(
        [sys.executable, "-S", "-c", KEEPER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    host, child = int(keeper.stdout.readline()), int(keeper.stdout.readline())
    yield keeper.pid, host, child
    for pid in (keeper.pid, host, child):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    keeper.communicate()


def until(read, condition, timeout_s: float = 10.0):
    deadline = time.monotonic() + timeout_s
    while not condition(found := read()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_a_device_is_its_keeper_its_host_and_all_below(family):
    _, host, _ = family
    reader = ProcessReader()
    assert reader.read() == {}
    reader.follow("CPU 0", host)
    read = until(reader.read, lambda found: found["CPU 0"][0] >= 0.3)
    cpu_s, rss, count = read["CPU 0"]
    assert len(read["CPU 0"]) == len(HOST_COLUMNS)
    assert 0.3 <= cpu_s < 5
    assert 40 << 20 < rss < 400 << 20
    assert count == 3


def test_cpu_seconds_outlive_the_processes(family):
    keeper, host, child = family
    reader = ProcessReader()
    reader.follow("CPU 0", host)
    before = until(reader.read, lambda found: found["CPU 0"][0] >= 0.3)["CPU 0"][0]
    os.kill(host, signal.SIGKILL)  # the child is an orphan now, of init: the keeper here adopts nothing
    after = until(reader.read, lambda found: found["CPU 0"][2] == 2)["CPU 0"]
    assert after[2] == 2
    assert after[0] >= before - 0.05
    os.kill(child, signal.SIGKILL)
    os.kill(keeper, signal.SIGKILL)
    until(reader.read, lambda found: not found or found["CPU 0"][2] == 1)


def test_a_host_that_has_ended_already_and_one_that_never_was():
    reader = ProcessReader()
    reader.follow("CPU 0", 4_194_999)
    assert reader.read() == {}


def test_others_processes_are_looked_into_once(family, monkeypatch):
    _, host, _ = family
    reader = ProcessReader()
    reader.follow("CPU 0", host)
    reader.read()
    looked: list[int] = []
    real = readings._stat
    monkeypatch.setattr(readings, "_stat", lambda pid: looked.append(pid) or real(pid))
    reader.read()
    assert len(looked) <= 3 + 5  # ours, and what began meanwhile on this machine


def test_a_mig_instance_is_read_as_far_as_nvml_tells(nvml):
    fake = nvml(1)
    fake.gpus[0].instances = {0: "MIG-a", 3: "MIG-b"}
    reader = GpuReader(["MIG-b"])
    one = named(reader.read()["MIG-b"])
    assert one["memory_bytes"] == 1 << 30
    assert one["power_w"] is one["utilisation"] is one["energy_j"] is None  # only of whole GPUs
    assert reader.info["MIG-b"].memory_bytes == (80 << 30) // 7
    fake.gpus[0].gone = True
    assert set(reader.read()["MIG-b"]) == {None}
