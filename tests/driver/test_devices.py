"""Devices: which GPUs there are, which are meant, and what is said when they are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_nvml import FakeNvml

from edit_eval.core.errors import DeviceError
from edit_eval.driver import devices
from edit_eval.driver.devices import (
    Device,
    Gpu,
    GpuMemory,
    cpu_count,
    default_devices,
    parse_devices,
    visible_gpus,
)

GIB = 1 << 30
UUIDS = [f"GPU-{index}a{index}b{index}c{index}d-0000-1111-2222-33334444555{index}" for index in range(8)]
MIGS = [f"MIG-{index}eadbeef-0000-1111-2222-333344445555" for index in range(7)]


class Machine(FakeNvml):
    """As many GPUs as wished, each with half a GiB in use unless `used` says otherwise."""

    def __init__(
        self, count: int, used: dict[int, int] | None = None, processes: dict[int, list] | None = None
    ):
        super().__init__(count)
        for index, gpu in enumerate(self.gpus):
            gpu.memory = (used or {}).get(index, 500 << 20)
            gpu.holders = (processes or {}).get(index, [])

    @staticmethod
    def uuid(index: int) -> str:
        return UUIDS[index]


@pytest.fixture
def machine(monkeypatch):
    """Return `machine(count, visible=None, change=None, **more)`: from then on this machine has that many GPUs."""

    def set_up(count: int, visible: str | None = None, change=None, **more) -> list[Gpu]:
        there = Machine(count, **more) if count else None
        if change:
            change(there.gpus)
        monkeypatch.setattr(devices, "_nvml", lambda: there)
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        return visible_gpus()

    return set_up


def refused(wanted, gpus, where="editor.devices") -> str:
    with pytest.raises(DeviceError) as caught:
        parse_devices(wanted, where, gpus)
    message = str(caught.value)
    assert message.startswith(f"{where}: ")
    assert "\n" not in message
    return message


# Which GPUs there are


@pytest.mark.parametrize("count", [0, 1, 8])
def test_without_the_variable_all_gpus_are_visible(machine, count):
    assert machine(count) == [Gpu(index, str(index)) for index in range(count)]


@pytest.mark.parametrize(
    ("visible", "tokens"),
    [
        ("0,1", ["0", "1"]),
        ("3, 1", ["3", "1"]),
        ("5", ["5"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("none", []),
        ("8", []),
        ("1,8,2", ["1"]),  # as CUDA does: the list ends at the first entry that names none
        ("1,-1,2", ["1"]),
        ("2,,3", ["2"]),
        (",".join([UUIDS[2], UUIDS[0]]), [UUIDS[2], UUIDS[0]]),
        (UUIDS[4][:8], [UUIDS[4]]),  # CUDA takes the beginning of a UUID
        ("GPU-", []),
        ("GPU-ffffffff", []),
        (f"{UUIDS[1]},GPU-ffffffff,{UUIDS[2]}", [UUIDS[1]]),
        ("MIG-00000000-ffff", []),
        ("07", ["7"]),
        (" 6 ,\t0 ", ["6", "0"]),
        ("1 2", ["1"]),  # this and what follows as CUDA was seen to do
        ("1abc,0", ["1", "0"]),
        ("1.5", ["1"]),
        ("-0,1", ["0", "1"]),
        ("0,\n1", ["0", "1"]),
        (UUIDS[3].upper(), [UUIDS[3]]),
        ("gpu-3a", []),
        ("\u0661", []),  # a digit, but not to CUDA
        ("+1", ["1"]),
        ("0x1", ["0"]),
    ],
)
def test_the_inherited_variable_decides_which_and_in_which_order(machine, visible, tokens):
    assert machine(8, visible) == [Gpu(index, token) for index, token in enumerate(tokens)]


def test_a_machine_without_nvml_has_no_gpus(monkeypatch):
    import pynvml

    def init():
        raise pynvml.NVMLError_LibraryNotFound

    monkeypatch.setattr(pynvml, "nvmlInit", init)
    assert visible_gpus() == []
    assert GpuMemory().used_bytes(Device("cuda", (0,), ("0",))) is None


# Which devices are meant


@pytest.mark.parametrize(
    ("wanted", "indices"),
    [
        ("all", [(0,), (1,), (2,), (3,)]),
        (["all"], [(0,), (1,), (2,), (3,)]),
        ("cuda", [(0,), (1,), (2,), (3,)]),
        ("cuda:2", [(2,)]),
        (2, [(2,)]),
        ([0, 1], [(0,), (1,)]),
        (["cuda:3", "cuda:0"], [(3,), (0,)]),
        ([0, "cuda:1"], [(0,), (1,)]),
        ([["cuda:0", "cuda:1"], ["cuda:2", "cuda:3"]], [(0, 1), (2, 3)]),
        ([[0, 2], 1], [(0, 2), (1,)]),
        (((0, 1),), [(0, 1)]),
    ],
)
def test_what_a_config_may_say(machine, wanted, indices):
    found = parse_devices(wanted, "editor.devices", machine(4))
    assert [device.indices for device in found] == indices
    assert all(device.kind == "cuda" for device in found)


def test_a_device_is_an_entry_of_the_inherited_variable_not_a_physical_gpu(machine):
    gpus = machine(8, f"5,{UUIDS[3]},1")
    found = parse_devices(["cuda:0", ["cuda:2", "cuda:1"]], "editor.devices", gpus)
    assert [device.tokens for device in found] == [("5",), ("1", UUIDS[3])]
    assert [device.environment(1)["CUDA_VISIBLE_DEVICES"] for device in found] == ["5", f"1,{UUIDS[3]}"]


def test_cpus_are_slots_and_may_stand_beside_gpus(machine):
    found = parse_devices(["cpu", "cpu:1", "cpu:7", 0], "editor.devices", machine(1))
    assert [device.name for device in found] == ["cpu-0", "cpu-1", "cpu-7", "cuda-0"]
    assert [device.label for device in found] == ["CPU 0", "CPU 1", "CPU 7", "GPU 0"]
    assert parse_devices("cpu:3", "editor.devices", [])[0].name == "cpu-3"


def test_what_a_device_is_called():
    both = Device("cuda", (0, 1), ("0", "1"))
    assert (both.label, both.name, both.torch_devices) == ("GPU 0+1", "cuda-0-1", ("cuda:0", "cuda:1"))
    assert Device("cuda", (3,), ("3",)).torch_devices == ("cuda:0",)  # the host sees nothing else
    assert Device("cpu", (3,)).torch_devices == ("cpu",)
    assert both.parts & Device("cuda", (1,), ("1",)).parts
    assert not both.parts & Device("cpu", (1,)).parts


@pytest.mark.parametrize(
    ("count", "visible", "wanted", "says"),
    [
        (0, None, ["cuda:0"], ["cuda:0 asked for", "there is no GPU here", "editor.devices=[cpu:0]"]),
        (
            0,
            None,
            [0, 1, 2, 3, 4, 5],
            ["cuda:0, cuda:1, cuda:2, cuda:3, cuda:4, cuda:5 asked for", "no GPU here"],
        ),
        (0, None, "all", ["all GPUs are asked for", "there is no GPU here", "editor.devices=[cpu:0]"]),
        (0, "", [0], ["there is no GPU here (CUDA_VISIBLE_DEVICES='')"]),
        (1, None, [0, 1], ["cuda:0, cuda:1 asked for", "there is 1 GPU here", "set editor.devices=[cuda:0]"]),
        (8, None, [6, 7, 8], ["cuda:6, cuda:7, cuda:8 asked for", "there are 8 GPUs here"]),
        (8, "2,3", [0, 1, 2], ["there are 2 GPUs here (CUDA_VISIBLE_DEVICES='2,3')", "[cuda:0, cuda:1]"]),
        (8, "-1", "all", ["there is no GPU here (CUDA_VISIBLE_DEVICES='-1')"]),
        (1, None, [[0, 1]], ["cuda:0, cuda:1 asked for", "there is 1 GPU here"]),
        (1, None, "cuda:9999", ["cuda:9999 asked for", "there is 1 GPU here"]),
    ],
)
def test_more_than_there_are(machine, count, visible, wanted, says):
    message = refused(wanted, machine(count, visible))
    for part in says:
        assert part in message


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("gpu:0", "did you mean 'cuda:0'?"),
        ("GPU 1", "did you mean 'cuda:1'?"),
        ("gpu1", "did you mean 'cuda:1'?"),
        ("cuda-1", "did you mean 'cuda:1'?"),
        ("cuda1", "did you mean 'cuda:1'?"),
        ("CUDA:1", "did you mean 'cuda:1'?"),
        ("cpu0", "did you mean 'cpu:0'?"),
        ("al", "did you mean 'all'?"),
        ("mps", "write cuda:0, cpu:0 or all"),
        ("cuda:-1", "unknown device 'cuda:-1'"),
        ("cuda:99999", "unknown device 'cuda:99999'"),
        ("", "unknown device ''"),
        (-1, "unknown device -1"),
        (1.0, "unknown device 1.0"),
        (True, "unknown device True"),
        ({"cuda": 0}, "unknown device"),
        ([None], "unknown device None"),
        ([["gpu:0", "gpu:1"]], "did you mean 'cuda:0'?"),
    ],
)
def test_unknown_devices(machine, wanted, says):
    assert says in refused(wanted, machine(4))


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ([0, 0], "GPU 0 is named twice"),
        ([0, "cuda:0"], "GPU 0 is named twice"),
        (["all", 1], "GPU 1 is named twice"),
        (["cpu", "cpu:0"], "CPU 0 is named twice"),
        ([[0, 1], 1], "GPU 1 is named twice"),
        ([[0, 1], [1, 2]], "GPU 1+2 is named twice"),
        ([[0, 0]], "names a GPU twice"),
        ([["cpu:0", "cpu:1"]], "must be made of GPUs"),
        ([["cuda:0", "cpu:0"]], "must be made of GPUs"),
        ([[]], "must be made of GPUs"),
        ([], "an empty list"),
    ],
)
def test_doubled_and_mixed(machine, wanted, says):
    assert says in refused(wanted, machine(4))


def test_the_message_names_the_stage(machine):
    refused(["cuda:5"], machine(1), "judge.devices")


# What a host is started with


def test_what_must_be_set_before_python_starts():
    cpu = Device("cpu", (1,)).environment(2)
    assert cpu["CUDA_VISIBLE_DEVICES"] == ""
    assert cpu["OMP_NUM_THREADS"] == cpu["MKL_NUM_THREADS"] == "1"  # the same bytes on any number of cores
    gpu = Device("cuda", (0,), ("0",)).environment(1)
    assert gpu["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert gpu["OMP_NUM_THREADS"] == str(cpu_count())
    assert Device("cuda", (0,), ("0",)).environment(10_000)["OMP_NUM_THREADS"] == "1"


def test_where_nothing_is_said():
    assert default_devices(accelerated=True) == ["all"]
    slots = default_devices(accelerated=False)
    assert slots == [f"cpu:{index}" for index in range(len(slots))]
    assert 1 <= len(slots) <= min(8, cpu_count())


# Memory that others hold


def process(pid: int, gib: float | None) -> tuple[int, int | None]:
    return pid, None if gib is None else int(gib * GIB)


def test_memory_that_others_hold_is_refused_by_name_and_gib(machine):
    used = {0: 300 << 20, 1: 41 * GIB}
    gpus = machine(2, used=used, processes={1: [process(os.getpid(), 40.5)]})
    found = parse_devices("all", "editor.devices", gpus)
    name = Path("/proc/self/comm").read_text().strip()
    with pytest.raises(DeviceError) as caught:
        GpuMemory().free(found, leave_out=False, where="editor.devices")
    assert f"GPU 1: 41.0 GiB held by {name} (pid {os.getpid()}) 40.5 GiB" in str(caught.value)
    assert "GPU 0" not in str(caught.value)
    GpuMemory().free(found[:1], leave_out=False, where="editor.devices")


def test_every_taken_gpu_is_named_at_once(machine):
    gpus = machine(3, used=dict.fromkeys(range(3), 10 * GIB), processes={0: [process(4_194_999, 9)]})
    with pytest.raises(DeviceError) as caught:
        GpuMemory().free(
            parse_devices("all", "editor.devices", gpus), leave_out=False, where="editor.devices"
        )
    for part in ("GPU 0: 10.0 GiB", "unknown (pid 4194999) 9.0 GiB", "GPU 1: 10.0 GiB", "GPU 2: 10.0 GiB"):
        assert part in str(caught.value)
    assert "cannot be seen from here" in str(caught.value)  # another container's, say


def test_taken_gpus_can_be_left_out_but_not_all_of_them(machine):
    gpus = machine(2, used={0: 9 * GIB})
    both = parse_devices("all", "judge.devices", gpus)
    assert GpuMemory().free(both, leave_out=True, where="judge.devices") == both[1:]
    assert list(GpuMemory().taken(both)) == both[:1]
    with pytest.raises(DeviceError, match=r"judge\.devices: GPU 0: 9\.0 GiB"):
        GpuMemory().free(both[:1], leave_out=True, where="judge.devices")
    with pytest.raises(DeviceError, match="busy_gpus=leave_out"):
        GpuMemory().free(both, leave_out=False, where="judge.devices")


def test_a_desktop_is_not_in_the_way(machine):
    gpus = machine(1, used={0: 2 * GIB})
    GpuMemory().free(parse_devices("all", "editor.devices", gpus), leave_out=False, where="editor.devices")


def test_of_a_device_of_several_gpus_the_sum(machine):
    gpus = machine(2, f"{UUIDS[1]},0", used={0: GIB, 1: 3 * GIB})
    [both] = parse_devices([[0, 1]], "editor.devices", gpus)
    assert GpuMemory().used_bytes(both) == 4 * GIB
    assert GpuMemory().used_bytes(Device("cpu", (0,))) is None


def test_where_nvml_does_not_tell_nothing_is_refused(machine):
    gpus = machine(2, used={0: None, 1: 5 * GIB}, processes={1: None})
    first, second = parse_devices("all", "editor.devices", gpus)
    assert GpuMemory().used_bytes(first) is None
    GpuMemory().free([first], leave_out=False, where="editor.devices")
    with pytest.raises(DeviceError, match="cannot be seen from here"):
        GpuMemory().free([second], leave_out=False, where="editor.devices")


def test_a_gpu_named_twice_in_the_environment(machine):
    with pytest.raises(DeviceError, match="names a GPU twice"):
        machine(2, "0,0")
