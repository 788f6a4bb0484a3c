"""GPUs that others use too: masks, MIG, memory of others, GPUs that go, engines that want numbers and a share.

The machine is NVML's word only: hosts here compute nothing on a GPU, but see what a host on one would.
"""

from __future__ import annotations

import json
import sys
import textwrap

import pytest
from fake_nvml import FakeNvml
from harness import Ran, config_tree, make_benchmark
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.cli import _parser
from edit_eval.cli.configs import checked_config
from edit_eval.core.errors import DeviceError, UserError
from edit_eval.driver import devices
from edit_eval.driver.config import check_config
from edit_eval.driver.devices import Device, GpuMemory, gpu_notes, parse_devices, visible_gpus
from edit_eval.driver.events import DeviceState, EditFailed, EditFinished, Note
from edit_eval.driver.job import prepare
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.telemetry import read_telemetry
from edit_eval.driver.visibility import visible
from edit_eval.worker import readings

GIB = 1 << 30
MIGS = [f"MIG-{index}eadbeef-0000-1111-2222-333344445555" for index in range(7)]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return `machine(count, visible=None)`: NVML of that many GPUs, little of them in use, for driver and telemetry."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def set_up(count: int, visible: str | None = None) -> FakeNvml:
        fake = FakeNvml(count)
        for gpu in fake.gpus:
            gpu.memory = 300 << 20
        monkeypatch.setattr(devices, "_nvml", lambda: fake)
        monkeypatch.setattr(readings, "open_nvml", lambda: (fake, ""))
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        return fake

    return set_up


def tokens() -> list[str]:
    return [gpu.token for gpu in visible_gpus()]


# MIG


def divided(fake: FakeNvml, index: int, places: dict[int, str]) -> None:
    fake.gpus[index].instances = places


def test_instances_are_devices(machine):
    fake = machine(3)
    divided(fake, 1, {0: MIGS[0], 4: MIGS[4]})  # places in between are empty
    assert tokens() == ["0", MIGS[0], MIGS[4], "2"]
    found = parse_devices("all", "editor.devices", visible_gpus())
    assert [one.environment(1)["CUDA_VISIBLE_DEVICES"] for one in found] == tokens()
    assert [one.label for one in found] == ["GPU 0", "GPU 1", "GPU 2", "GPU 3"]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (f"{MIGS[1]},{MIGS[0]}", [MIGS[1], MIGS[0]]),
        (MIGS[1][:8], [MIGS[1]]),
        (f"{MIGS[0]},MIG-ffff,{MIGS[1]}", [MIGS[0]]),
        ("MIG-", []),
        (f"MIG-{FakeNvml.uuid(0)}/2/0", [MIGS[1]]),  # as older drivers write it
        (f"MIG-{FakeNvml.uuid(0)}/9/0", []),
        ("0", [MIGS[0]]),  # CUDA gives a process the first instance of a GPU that is named as a whole
        (FakeNvml.uuid(0), [MIGS[0]]),
        ("1,0", ["1", MIGS[0]]),
        ("2,0", []),
    ],
)
def test_a_mask_may_name_instances(machine, visible, expected):
    divided(machine(2, visible), 0, {0: MIGS[0], 1: MIGS[1]})
    assert tokens() == expected


@pytest.mark.parametrize(
    "visible", ["0,0", "0,00", f"1,{FakeNvml.uuid(1)}", f"{MIGS[0]},2", f"{MIGS[0]},{MIGS[0][:9]}"]
)
def test_one_gpu_by_two_names_is_refused(machine, visible):
    divided(machine(3, visible), 2, {0: MIGS[0], 1: MIGS[1]})
    with pytest.raises(DeviceError, match="names a GPU twice; name each once"):
        visible_gpus()


def test_instances_cannot_be_put_together(machine):
    divided(machine(1), 0, {0: MIGS[0], 1: MIGS[1]})
    with pytest.raises(DeviceError, match="several MIG instances, and CUDA gives a process one only"):
        parse_devices([[0, 1]], "editor.devices", visible_gpus())


def test_mig_mode_without_instances_is_said(machine):
    divided(machine(1), 0, {})
    assert tokens() == []
    with pytest.raises(DeviceError, match=r"no GPU here \(GPU 0 is in MIG mode and has no instance\)"):
        parse_devices("all", "editor.devices", visible_gpus())


def test_memory_of_an_instance_is_its_own(machine):
    fake = machine(1)
    divided(fake, 0, {0: MIGS[0]})
    fake.gpus[0].instance_memory = 9 * GIB
    [device] = parse_devices("all", "editor.devices", visible_gpus())
    assert GpuMemory().used_bytes(device) == 9 * GIB
    assert "GPU 0: 9.0 GiB held by" in GpuMemory().taken([device])[device]


# GPUs that are not for us, or gone


def test_a_gpu_of_another_job_is_left_out_and_others_are_named_so_that_it_does_not_matter(machine):
    fake = machine(3)
    fake.gpus[0].refused = True
    # To CUDA, which does not count the first one, number 0 is what NVML calls 1.
    assert tokens() == [fake.uuid(1), fake.uuid(2)]
    assert gpu_notes() == ("GPU 0 is not for this process (Insufficient Permissions)",)


def test_a_mask_counts_only_what_we_may_see(machine):
    fake = machine(3, "1")
    fake.gpus[0].refused = True
    assert tokens() == [fake.uuid(2)]


def test_a_gpu_that_is_gone_before_the_start_is_refused_by_name_or_left_out(machine):
    fake = machine(3)
    fake.gpus[1].gone = True
    found = parse_devices("all", "editor.devices", visible_gpus())
    assert [one.label for one in found] == ["GPU 0", "GPU 1", "GPU 2"]  # none has another's name
    with pytest.raises(DeviceError, match=r"editor\.devices: GPU 1 is gone \(NVML: GPU is lost\)"):
        GpuMemory().free(found, leave_out=False, where="editor.devices")
    assert GpuMemory().free(found, leave_out=True, where="editor.devices") == [found[0], found[2]]


@pytest.mark.parametrize(
    ("visible", "note"),
    [
        (
            "0,9,1",
            "CUDA_VISIBLE_DEVICES='0,9,1': '9' names no single GPU here and what follows is left out: 1",
        ),
        ("GPU-0", "CUDA_VISIBLE_DEVICES='GPU-0': 'GPU-0' names no single GPU here"),
        ("7", "CUDA_VISIBLE_DEVICES='7': '7' names no single GPU here"),
    ],
)
def test_entries_that_are_not_used_are_said(machine, visible, note):
    machine(2, visible)
    assert gpu_notes() == (note,)


@pytest.mark.parametrize("visible", [None, "", "-1", "NoDevFiles", "0", "1,0"])
def test_what_is_meant_needs_no_word(machine, visible):
    machine(2, visible)
    assert gpu_notes() == ()


def test_a_uuid_without_digits_means_nothing_even_where_there_is_one_gpu(machine):
    machine(1, "GPU-")
    assert tokens() == []


@given(st.text(alphabet="0123,GPUMIG-a \t.x", max_size=20))
def test_any_mask_gives_gpus_that_are_there_each_once(mask):
    fake = FakeNvml(3)
    fake.gpus[1].instances = {0: MIGS[0], 2: MIGS[2]}
    try:
        found = visible(fake, mask).tokens
    except DeviceError:  # it names one twice
        return
    assert len({*found}) == len(found)
    assert {*found} <= {"0", "2", MIGS[0], MIGS[2], *(fake.uuid(index) for index in range(3))}


# NVML that does not answer


@pytest.mark.parametrize(
    ("value", "says", "mend"),
    [
        (18, "driver/library version mismatch", "reboot"),
        (9, "the driver is not loaded", "docker run --gpus all"),
        (4, "no permission", "/dev/nvidia*"),
        (12, "", ""),  # no library: a machine without GPUs is no fault
    ],
)
def test_why_nvml_does_not_answer(monkeypatch, value, says, mend):
    import pynvml

    def init():
        raise pynvml.NVMLError(value)

    monkeypatch.setattr(pynvml, "nvmlInit", init)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    why, what_to_do = devices.nvml_fault()
    assert says in why
    assert mend in what_to_do
    with pytest.raises(DeviceError) as caught:
        parse_devices([0], "editor.devices", visible_gpus())
    assert "there is no GPU here" in str(caught.value)
    assert says in str(caught.value)


def test_an_nvml_that_cannot_count_is_one_line(machine):
    fake = machine(1)

    def count():
        raise fake.NVMLError("Unknown Error")

    fake.nvmlDeviceGetCount = count
    with pytest.raises(
        DeviceError, match="NVML cannot count the GPUs: Unknown Error; see what nvidia-smi says"
    ):
        visible_gpus()


# Memory of others


def held(fake: FakeNvml, index: int, gib: float, *processes: tuple[int, float | None]) -> Device:
    fake.gpus[index].memory = int(gib * GIB)
    fake.gpus[index].holders = [(pid, None if size is None else int(size * GIB)) for pid, size in processes]
    return Device("cuda", (index,), (str(index),))


def test_memory_of_which_only_a_part_has_a_name(machine):
    fake = machine(1)
    device = held(fake, 0, 70, (4_194_999, 10))
    text = GpuMemory().taken([device])[device]
    assert text == (
        "GPU 0: 70.0 GiB held by unknown (pid 4194999) 10.0 GiB, processes that cannot be seen from here 60.0 GiB"
    )


def test_memory_of_processes_whose_share_is_not_told(machine):
    fake = machine(1)
    device = held(fake, 0, 70, (4_194_999, None))
    assert GpuMemory().taken([device])[device] == (
        "GPU 0: 70.0 GiB held by unknown (pid 4194999) an unknown amount"
    )


def test_memory_of_nobody_that_can_be_seen(machine):
    fake = machine(1)
    device = held(fake, 0, 70)
    assert (
        GpuMemory().taken([device])[device]
        == "GPU 0: 70.0 GiB held by a process that cannot be seen from here"
    )


def test_auto_takes_a_gpu_that_is_free(machine, tmp_path):
    fake = machine(3)
    held(fake, 0, 70)
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"]), judge__devices="auto")
    job = prepare(check_config(tree))
    assert job.judge is not None
    assert [one.label for one in job.judge.stage.spec.devices] == ["GPU 1"]
    for index in (1, 2):
        held(fake, index, 70)
    job = prepare(check_config(tree))
    assert [one.label for one in job.judge.stage.spec.devices] == ["GPU 0"]  # and the run says who holds it


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ("cuda:1,cuda:0", ["GPU 1", "GPU 0"]),
        ("1, 2", ["GPU 1", "GPU 2"]),
        ("all", ["GPU 0", "GPU 1", "GPU 2"]),
        ("auto", ["GPU 1"]),
        ("cpu:0,cpu:1", ["CPU 0", "CPU 1"]),
    ],
)
@pytest.mark.parametrize("said", ["cpu:1", ["cuda:2"], [[0, 1]], None, "auto", 0])
def test_devices_on_the_command_line_win_in_both_stages(machine, tmp_path, given, labels, said):
    held(machine(3), 0, 70 if given == "auto" else 1)
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"]))
    for stage in ("editor", "judge"):
        tree[stage]["devices"] = said
    (tmp_path / "c.yaml").write_text(json.dumps(tree))
    arguments = _parser().parse_args(["run", str(tmp_path / "c.yaml"), "--devices", given])
    job = prepare(checked_config(arguments))
    for spec in (job.editor.spec, job.judge.stage.spec):
        assert [one.label for one in spec.devices] == labels


# Engines


@pytest.mark.parametrize(
    ("total", "used", "reserve", "share"),
    [
        (80, 0, 1, 0.987),
        (80, 40, 1, 0.487),
        (80, 79.5, 1, 0.0),
        (80, 80, 0, 0.0),
        (24, 6, 0, 0.75),
    ],
)
def test_the_share_is_of_the_whole_what_is_free(machine, total, used, reserve, share):
    fake = machine(1)
    device = held(fake, 0, used)
    fake.gpus[0].total = total * GIB
    assert GpuMemory().share(device, reserve * GIB) == share


def test_the_share_of_several_gpus_is_that_of_the_fullest(machine):
    fake = machine(2)
    held(fake, 0, 40)
    held(fake, 1, 8)
    assert GpuMemory().share(Device("cuda", (0, 1), ("0", "1")), 0) == 0.5
    fake.gpus[1].memory = None
    assert GpuMemory().share(Device("cuda", (0, 1), ("0", "1")), 0) is None
    assert GpuMemory().share(Device("cpu", (0,)), 0) is None


@given(total=st.integers(1, 1 << 40), used=st.floats(0, 1), reserve=st.integers(0, 1 << 40))
def test_a_share_never_asks_for_more_than_is_free(total, used, reserve):
    memory = GpuMemory()
    memory._nvml = fake = FakeNvml(1)
    fake.gpus[0].total, fake.gpus[0].memory = total, int(total * used)
    share = memory.share(Device("cuda", (0,), ("0",)), reserve)
    assert 0 <= share <= 1
    assert share == 0 or share * total <= total - int(total * used) - reserve + 1e-6 * total


def test_numbers_for_what_knows_no_uuids(machine):
    fake = machine(4)
    divided(fake, 3, {0: MIGS[0], 1: MIGS[1]})
    memory = GpuMemory()
    assert memory.numbers(Device("cuda", (0, 1), (fake.uuid(2), "0"))) == ("2", "0")
    assert memory.numbers(Device("cuda", (0,), (MIGS[0],))) == ("3",)
    with pytest.raises(DeviceError, match="which no number stands for"):
        memory.numbers(Device("cuda", (1,), (MIGS[1],)))
    assert memory.numbers(Device("cpu", (0,))) == ()
    fake.gpus[0].refused = True  # CUDA does not count it
    assert memory.numbers(Device("cuda", (0,), (fake.uuid(2),))) == ("1",)


PLUGIN = """
import json, os, time
from edit_eval.editors import Editor

class Engine(Editor):
    engine = True

    def edit(self, request, step):
        print("sees:", json.dumps([os.environ["CUDA_VISIBLE_DEVICES"], self.context.options]))
        return request.images[0]

class Falls(Editor):
    def edit(self, request, step):
        gone = os.environ.get("GONE", "")
        if os.environ["CUDA_VISIBLE_DEVICES"] == "0":
            until = time.monotonic() + 60
            while gone and not os.path.exists(gone) and time.monotonic() < until:
                time.sleep(0.02)
        elif gone and os.path.exists(gone):
            raise RuntimeError("CUDA error: unspecified launch failure")
        return request.images[0]
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin" / "gpu_plugin.py").write_text(textwrap.dedent(PLUGIN))
    monkeypatch.syspath_prepend(str(tmp_path / "plugin"))
    yield
    sys.modules.pop("gpu_plugin", None)


def test_an_engine_gets_numbers_and_its_share(tmp_path, machine, plugin):
    fake = machine(2, f"{FakeNvml.uuid(1)}")
    fake.gpus[1].memory = GIB
    tree = config_tree(
        tmp_path,
        make_benchmark(tmp_path / "data", ["ok"]),
        editor__type="gpu_plugin:Engine",
        editor__devices=[0],
    )
    Ran(tree)
    log = (tmp_path / "run" / "logs" / "edit-cuda-0.log").read_text()
    assert json.loads(log.split("sees:")[1].splitlines()[0]) == ["1", {"edits": 1, "memory_share": 0.975}]


def test_an_engine_on_what_has_no_number_is_refused_before_the_start(tmp_path, machine, plugin):
    divided(machine(1, MIGS[1]), 0, {0: MIGS[0], 1: MIGS[1]})
    tree = config_tree(
        tmp_path,
        make_benchmark(tmp_path / "data", ["ok"]),
        editor__type="gpu_plugin:Engine",
        editor__devices="all",
    )
    with pytest.raises(UserError, match="no number stands for"):
        prepare(check_config(tree))


# Whole runs


@pytest.mark.parametrize(
    ("count", "visible", "labels", "seen"),
    [
        (1, None, ["GPU 0"], ["0"]),
        (8, "5,3", ["GPU 0", "GPU 1"], ["5", "3"]),
        (8, f"{FakeNvml.uuid(6)},2", ["GPU 0", "GPU 1"], [FakeNvml.uuid(6), "2"]),
    ],
)
def test_hosts_are_shown_the_right_gpus(tmp_path, machine, plugin, count, visible, labels, seen):
    machine(count, visible)
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"] * 4), editor__devices="all")
    tree["editor"]["type"] = "gpu_plugin:Falls"
    ran = Ran(tree)
    assert [EditFinished] * 4 == [type(event) for event in ran.of(EditFinished)]
    states = {event.device for event in ran.of(DeviceState) if event.device.startswith("GPU")}
    assert states == {*labels}
    head = next(read_telemetry(tmp_path / "run"))
    ids = [gpu for one in head["devices"] if one["kind"] == "cuda" for gpu in one["gpus"]]
    assert ids == [one if one.startswith("GPU") else FakeNvml.uuid(int(one)) for one in seen]


def test_no_gpu_at_all_is_one_line(tmp_path, machine):
    machine(0)
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"]), editor__devices="all")
    with pytest.raises(UserError, match="all GPUs are asked for, but there is no GPU here"):
        Ran(tree)


def test_a_gpu_that_falls_off_the_bus_is_retired_by_name_and_others_go_on(
    tmp_path, machine, plugin, monkeypatch
):
    fake = machine(2)
    gone = tmp_path / "gone"
    tree = config_tree(
        tmp_path,
        make_benchmark(tmp_path / "data", ["ok"] * 30),
        editor__type="gpu_plugin:Falls",
        editor__env={"GONE": str(gone)},
        editor__devices="all",
        judge__devices="all",
    )
    events = []

    def emit(event) -> None:
        events.append(event)
        if isinstance(event, EditFinished):  # the first one: GPU 0 waits for it
            fake.gpus[1].gone = True
            gone.touch()

    run_job(prepare(check_config(tree)), emit)
    assert not [event for event in events if isinstance(event, EditFailed)]
    assert len([event for event in events if isinstance(event, EditFinished)]) == 30
    retired = [event for event in events if isinstance(event, DeviceState) and event.state == "retired"]
    assert {(event.device, event.stage) for event in retired} == {("GPU 1", "edit"), ("GPU 1", "judge")}
    assert {event.detail for event in retired} == {"GPU 1 is gone (NVML: GPU is lost)"}
    restarts = [one for one in events if isinstance(one, DeviceState) and one.state == "restarting"]
    assert not restarts  # no fresh host can help
    assert not [one for one in events if isinstance(one, Note) and "telemetry" in one.text]
    samples = [one for one in read_telemetry(tmp_path / "run") if one["type"] == "sample"]
    last = samples[-1]["gpus"]
    assert last[fake.uuid(0)][1] == 300 << 20
    assert set(last[fake.uuid(1)]) == {None}
