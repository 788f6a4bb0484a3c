"""The recorder: what it writes, and that nothing it meets disturbs a run."""

from __future__ import annotations

import json
import time

import pytest
from fake_nvml import FakeNvml
from harness import Ran, config_tree, make_benchmark

from edit_eval.driver import telemetry
from edit_eval.driver.backends import Readings
from edit_eval.driver.devices import Device
from edit_eval.driver.events import DeviceState, Note, StageFinished
from edit_eval.driver.telemetry import Recorder, read_telemetry
from edit_eval.driver.timeline import timelines
from edit_eval.driver.usage import usage
from edit_eval.worker import readings

GPUS = [Device("cuda", (index,), (str(index),)) for index in range(8)]
CPUS = [Device("cpu", (index,)) for index in range(2)]


@pytest.fixture
def nvml(monkeypatch):
    monkeypatch.setattr(telemetry, "INTERVAL_S", 0.02)

    def set_up(count: int) -> FakeNvml:
        fake = FakeNvml(count)
        monkeypatch.setattr(readings, "open_nvml", lambda: (fake, "") if count else (None, "no library"))
        return fake

    return set_up


class Clock:
    def __init__(self) -> None:
        self.began = time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() - self.began


def record(path, devices, seconds: float = 0.15, meanwhile=lambda recorder: None, start: int = 1):
    """Record for a while; return the events that were passed on, and the records."""
    events = []
    recorder = Recorder(path, events.append, Clock())
    with recorder.begin(start, {"edit": devices, "judge": devices[:1]}):
        meanwhile(recorder)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            recorder.tick()
            time.sleep(0.01)
    return events, list(read_telemetry(path))


def samples(records) -> list[dict]:
    return [one for one in records if one["type"] == "sample"]


@pytest.mark.parametrize("count", [1, 8])
def test_every_gpu_is_in_every_sample(tmp_path, nvml, count):
    fake = nvml(count)
    events, records = record(tmp_path, GPUS[:count])
    assert events == []
    head = records[0]
    assert head["type"] == "start"
    assert [one["device"] for one in head["devices"]] == [f"GPU {index}" for index in range(count)]
    assert head["devices"][0]["stages"] == ["edit", "judge"]
    assert head["nvml"] is None
    assert len(samples(records)) >= 3
    for one in samples(records):
        assert list(one["gpus"]) == [fake.uuid(index) for index in range(count)]
    assert records[-1]["type"] == "end"
    assert [one["n"] for one in records] == list(range(len(records)))
    assert all(one["start"] == 1 and one["at"] >= 0 and one["time"] > 1.7e9 for one in records)


def test_without_nvml_it_says_so_once_and_goes_on(tmp_path, nvml):
    nvml(0)
    events, records = record(tmp_path, CPUS)
    assert [(event.level, event.text) for event in events] == [
        ("info", "no readings of GPUs: no NVML here (no library)")
    ]
    assert records[0]["nvml"] == "no library"
    assert all(one["gpus"] == {} for one in samples(records))


def test_a_gpu_that_disappears_becomes_null(tmp_path, nvml):
    fake = nvml(2)

    def lose(recorder):
        time.sleep(0.06)
        fake.gpus[1].gone = True

    events, records = record(tmp_path, GPUS[:2], meanwhile=lose)
    assert events == []
    lost = [one["gpus"][fake.uuid(1)] for one in samples(records)]
    assert lost[0][0] == 90
    assert lost[-1] == [None] * 6
    found = usage(records)
    assert found is not None
    assert all(one.memory_bytes == 60 << 30 for one in found.devices)
    assert found.devices[0].energy_wh > found.devices[1].energy_wh > 0


def test_energy_without_a_counter_is_power_over_time(tmp_path, nvml):
    fake = nvml(2)
    fake.gpus[1].counter = False
    _, records = record(tmp_path, GPUS[:2], seconds=0.4)
    one, other = usage(records).devices
    assert other.energy_wh == pytest.approx(one.energy_wh, rel=0.2)


def test_a_call_into_nvml_that_hangs_holds_nobody_up(tmp_path, nvml, monkeypatch):
    monkeypatch.setattr(telemetry, "_CLOSE_S", 0.1)
    fake = nvml(1)
    took = []

    def hang(recorder):
        fake.hang_s = 1.0
        for _ in range(20):
            before = time.monotonic()
            recorder.tick()
            took.append(time.monotonic() - before)
            time.sleep(0.005)

    record(tmp_path, GPUS[:1], seconds=0.0, meanwhile=hang)
    assert sum(took) < 0.9  # one reading that hangs takes 1 s
    assert list(read_telemetry(tmp_path))[-1]["type"] == "end"


def test_states_tell_when_a_device_works(tmp_path, nvml):
    nvml(0)
    device = CPUS[0]

    def work(recorder):
        recorder.emit(DeviceState(0.0, "CPU 0", "edit", "loading"))
        recorder.started("edit", device, 4_194_999)
        recorder.emit(DeviceState(0.1, "CPU 0", "edit", "ready"))
        recorder.sent("edit", device)
        recorder.sent("edit", device)  # one more at hand changes nothing
        recorder.ended("edit", device, ok=True, seconds=1.25, steps=10)
        recorder.emit(DeviceState(0.2, "CPU 0", "edit", "waiting"))
        recorder.sent("edit", device)
        recorder.emit(DeviceState(0.3, "CPU 0", "edit", "restarting", "x" * 5000))
        recorder.emit(DeviceState(0.3, "CPU 0", "edit", "restarting"))
        recorder.started("edit", device, 4_194_999)
        recorder.ended("edit", device, ok=False)
        recorder.emit(StageFinished(0.4, "edit", 0.4))

    events, records = record(tmp_path, CPUS, meanwhile=work)
    states = [one["state"] for one in records if one["type"] == "state"]
    assert states == [
        "loading", "ready", "working", "waiting", "working", "restarting", "restarting", "loading"
    ]  # fmt: skip
    assert max(len(one["detail"]) for one in records if one["type"] == "state") == 300
    tasks = [(one["ok"], one["seconds"], one["steps"]) for one in records if one["type"] == "task"]
    assert tasks == [(True, 1.25, 10), (False, 0.0, 0)]
    assert sum(one["type"] == "host" for one in records) == 2
    assert sum(one["type"] == "stage" for one in records) == 1
    assert len([event for event in events if not isinstance(event, Note)]) == 6  # all were passed on


def test_what_nodes_read_stands_beside_their_devices(tmp_path, nvml, monkeypatch):
    """Their GPUs are known once they were read; a process of another machine is not looked for here."""
    nvml(0)
    here = []
    monkeypatch.setattr(
        "edit_eval.worker.readings.ProcessReader.follow", lambda _reader, device, pid: here.append(device)
    )
    nodes = [
        Device("cuda", (index,), (), name, place, 1)
        for name, place in (("a", "1"), ("b", "2"))
        for index in (0, 1)
    ]
    gpu, host = [50.0, 9.0, None, None, None, 0.0], [1.0, 9.0, 3.0]

    def work(recorder):
        for device in nodes:
            recorder.started("edit", device, 7)
            recorder.emit(DeviceState(0.0, device.label, "edit", "ready"))
        gpus = {"GPU-x": {"name": "H", "memory_bytes": 9}, "GPU-y": {"name": "H", "memory_bytes": 9}}
        placed = {"b/GPU 0": ["GPU-x"], "b/GPU 1": ["GPU-y"], "nobody's": ["GPU-z"]}
        for _ in range(2):  # where they are is recorded once
            recorder.read(Readings([(0.05, {"GPU-x": gpu}, {"b/GPU 0": host})], placed, gpus))
        recorder.joined({"edit": [Device("cuda", (0,), (), "c", "3", 1)]})

    events, records = record(tmp_path, nodes, meanwhile=work)
    assert not [one for one in events if isinstance(one, Note)]  # of this machine's NVML nobody asks
    assert here == []
    read = [(one["gpus"], one["hosts"]) for one in samples(records) if one["gpus"]]
    assert read == [({"GPU-x": gpu}, {"b/GPU 0": host})] * 2
    [start] = timelines(records)
    assert {label: lane.gpus for label, lane in start.lanes.items()} == {
        "a/GPU 0": (), "a/GPU 1": (), "b/GPU 0": ("GPU-x",), "b/GPU 1": ("GPU-y",), "c/GPU 0": ()
    }  # fmt: skip
    assert len([one for one in records if one["type"] == "devices"]) == 2


def test_starts_follow_each_other_in_one_file_whatever_a_kill_left(tmp_path, nvml):
    nvml(1)
    record(tmp_path, GPUS[:1])
    with (tmp_path / "telemetry.jsonl").open("ab") as file:
        file.write(b'{"v":1,"type":"sample","start":1,"n":99,"at":5.0,"gp')
    record(tmp_path, GPUS[:1], start=2)
    with (tmp_path / "telemetry.jsonl").open("ab") as file:
        file.write(b'\xff\xfe\n[]\n{"v":2,"type":"later"}\n')
    records = list(read_telemetry(tmp_path))
    assert [one["start"] for one in records if one["type"] == "end"] == [1, 2]
    found = usage(records)
    assert found.starts == 2
    assert len(found.devices) == 1


def test_no_file_no_records(tmp_path):
    assert list(read_telemetry(tmp_path)) == []
    assert usage([]) is None


def test_what_cannot_be_written_is_said_once_and_kept_nowhere(tmp_path, nvml, monkeypatch):
    nvml(1)

    def full(*_):
        raise OSError(28, "No space left on device")

    def fill(recorder):
        recorder.tick()
        monkeypatch.setattr(telemetry.os, "write", full)
        monkeypatch.setattr(telemetry, "_WRITE_EVERY_S", 0.0)
        for _ in range(5000):
            recorder.emit(DeviceState(0.0, "GPU 0", "edit", "waiting"))
        recorder.tick()
        assert recorder._unwritten == []

    events, _ = record(tmp_path, GPUS[:1], meanwhile=fill)
    notes = [event for event in events if isinstance(event, Note)]
    assert [note.level for note in notes] == ["warning"]
    assert "No space left on device" in notes[0].text
    assert len(events) == 5001


def test_before_it_begins_a_recorder_only_passes_on(tmp_path):
    events = []
    recorder = Recorder(tmp_path, events.append, Clock())
    recorder.emit(Note(0.0, "info", "x"))
    recorder.tick()
    recorder.close()
    assert len(events) == 1
    assert list(tmp_path.iterdir()) == []


# A whole run


def test_a_run_has_the_states_of_both_devices_and_its_seconds_add_up(tmp_path, monkeypatch):
    monkeypatch.setattr(telemetry, "INTERVAL_S", 0.1)
    instructions = ["sleep:0.2"] * 5 + ["once:crash"]
    ran = Ran(config_tree(tmp_path, make_benchmark(tmp_path / "data", instructions)))
    records = list(read_telemetry(ran.run.path))
    assert sum("no NVML" in note.text for note in ran.of(Note)) <= 1
    for label in ("CPU 0", "CPU 1"):
        own = [one["state"] for one in records if one["type"] == "state" and one["device"] == label]
        assert own[:4] == ["starting", "loading", "ready", "working"]
    found = usage(records, price=2.0)
    assert found.starts == 1
    assert [one.device for one in found.devices] == ["CPU 0", "CPU 1"]
    for one in found.devices:
        parts = one.load_s + one.edit_s + one.judge_s + one.wait_s + one.other_s
        assert parts == pytest.approx(one.wall_s)
        assert one.wall_s == pytest.approx(found.wall_s)
        assert one.edit_s > 0.2
        assert one.rss_bytes > 10 << 20
        assert one.energy_wh is one.utilisation is None
    assert sum(one.restarts for one in found.devices) == 1
    assert found.stages["edit"].count == found.stages["judge"].count == 6
    assert found.cost is None  # no GPU was used
    states = {event.state for event in ran.of(DeviceState)}
    assert "working" not in states  # the events are what they were


def test_another_start_adds_up_and_nothing_to_do_adds_nothing(tmp_path):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"] * 4))
    Ran(tree, stages=("edit",))
    Ran(tree)
    Ran(tree)
    records = list(read_telemetry(tmp_path / "run"))
    found = usage(records)
    assert found.starts == 2
    assert (found.stages["edit"].count, found.stages["judge"].count) == (4, 4)


def test_a_run_is_the_same_without_its_telemetry(tmp_path):
    benchmark = make_benchmark(tmp_path / "data", ["ok"] * 4)
    (tmp_path / "without" / "telemetry.jsonl").mkdir(parents=True)
    without = Ran(config_tree(tmp_path, benchmark, output=str(tmp_path / "without")))
    having = Ran(config_tree(tmp_path, benchmark))
    assert any("no telemetry" in note.text for note in without.of(Note))
    assert having.canonical() == without.canonical()
    assert "telemetry" not in json.dumps(having.run.info)
