"""What a run took: sums that add up, whatever the records; and what is named, with its reason."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.driver.timeline import timelines
from edit_eval.driver.usage import Usage, usage

GIB = 1 << 30
STATES = [
    "starting", "loading", "ready", "waiting", "stopping", "restarting", "retired", "off", "working", "new one"
]  # fmt: skip


class Tape:
    """Writes records as the recorder does."""

    def __init__(self, number: int = 1, *, gpus: Sequence[int] = (1, 1), stages=("edit", "judge")) -> None:
        self.records: list[dict[str, Any]] = []
        self.number = number
        self.ids: dict[str, list[str]] = {}
        first = 0
        for many in gpus:
            ids = range(first, first + many)
            first += many
            label = "GPU " + "+".join(map(str, ids)) if many else f"CPU {len(self.ids)}"
            self.ids[label] = [f"GPU-{index}" for index in ids]
        every = sorted({one for ids in self.ids.values() for one in ids})
        self.add(
            "start",
            0.0,
            devices=[
                {
                    "device": label,
                    "kind": "cuda" if ids else "cpu",
                    "gpus": ids,
                    "stages": list(stages),
                }
                for label, ids in self.ids.items()
            ],
            gpus={one: {"name": "H100", "memory_bytes": 80 * GIB} for one in every},
            nvml=None,
            interval_s=1.0,
        )

    def add(self, kind: str, at: float, **values: Any) -> None:
        common = {"v": 1, "type": kind, "start": self.number, "n": len(self.records)}
        self.records.append({**common, "at": at, "time": 1.8e9 + at, **values})

    def state(self, at: float, device: str, state: str, stage: str | None = "edit", detail: str = "") -> None:
        self.add("state", at, device=device, stage=stage, state=state, detail=detail)

    def task(
        self, at: float, device: str, seconds: float, stage: str = "edit", steps: int = 0, ok=True
    ) -> None:
        self.add("task", at, device=device, stage=stage, ok=ok, seconds=seconds, steps=steps)

    def sample(self, at: float, gpus: dict[str, list], hosts: dict[str, list] | None = None) -> None:
        self.add("sample", at, gpus=gpus, hosts=hosts or {})

    def usage(self, price: float | None = None) -> Usage:
        found = usage(self.records, price)
        assert found is not None
        return found


def reading(util=95, memory=60 * GIB, power=500.0, energy=None, clock=1700, reasons=0) -> list:
    return [util, memory, power, energy, clock, reasons]


# Whatever the records


@st.composite
def tapes(draw) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    gpus = draw(st.sampled_from([(0,), (0, 0), (1,), (1, 1), (2, 2), (1, 0)]))
    for number in range(1, draw(st.integers(1, 3)) + 1):
        tape = Tape(number, gpus=gpus)
        labels = list(tape.ids)
        moments = sorted(draw(st.lists(st.floats(0, 1000, allow_nan=False), max_size=25)))
        for at in moments:
            device = draw(st.sampled_from(labels))
            stage = draw(st.sampled_from(["edit", "judge"]))
            what = draw(st.integers(0, 9))
            if what < 5:
                tape.state(at, device, draw(st.sampled_from(STATES)), draw(st.sampled_from([stage, None])))
            elif what < 6:
                tape.task(at, device, draw(st.floats(0, 50)), stage, draw(st.integers(0, 20)))
            elif what < 7:
                tape.add("stage", at, stage=stage)
            else:
                ids = [one for many in tape.ids.values() for one in many]
                values = st.one_of(st.none(), st.integers(0, 100))
                hosts = {device: [draw(values), draw(values), draw(values)]}
                tape.sample(at, {one: [draw(values) for _ in range(6)] for one in ids}, hosts)
        if draw(st.booleans()):
            tape.add("end", 1000.0)
        records += tape.records
    return records


@settings(max_examples=100, deadline=None)
@given(tapes())
def test_seconds_add_up_to_the_wall_time_and_nothing_is_negative(records):
    found = usage(records, price=1.5)
    assert found is not None
    assert found.wall_s == pytest.approx(sum(start.wall_s for start in timelines(records)))
    for one in found.devices:
        parts = (one.load_s, one.edit_s, one.judge_s, one.wait_s, one.other_s)
        assert min(parts) >= 0
        assert math.fsum(parts) == pytest.approx(found.wall_s)
        assert one.wall_s == pytest.approx(found.wall_s)
        for share in (one.busy, one.utilisation):
            assert share is None or 0 <= share <= 1 + 1e-9
        for value in (one.energy_wh, one.cpu_s, one.memory_bytes, one.rss_bytes):
            assert value is None or value >= 0
    energies = [one.energy_wh for one in found.devices if one.energy_wh is not None]
    if energies:
        assert found.energy_wh == pytest.approx(sum(energies))
        assert sum(one.energy_wh or 0 for one in found.stages.values()) <= found.energy_wh + 1e-9
    else:
        assert found.energy_wh is None
    assert sum(one.device_s for one in found.stages.values()) <= found.device_s + 1e-6
    assert found.gpu_s == pytest.approx(sum(one.wall_s * one.gpus for one in found.devices))
    for laggard in found.laggards:
        assert laggard.share > 0
        assert laggard.reason


@settings(max_examples=50, deadline=None)
@given(tapes().flatmap(lambda records: st.tuples(st.just(records), st.permutations(records))))
def test_the_order_of_the_records_makes_no_difference(both):
    records, shuffled = both
    assert usage(shuffled) == usage(records)


@settings(max_examples=50, deadline=None)
@given(tapes())
def test_segments_follow_each_other_without_a_gap(records):
    for start in timelines(records):
        for lane in start.lanes.values():
            edges = [(one.begin, one.end) for one in lane.segments]
            assert all(end > begin for begin, end in edges)
            assert [begin for begin, _ in edges[1:]] == [end for _, end in edges[:-1]]
            if edges:
                assert (edges[0][0], edges[-1][1]) == (start.begin, start.end)


# One run


def two_gpus() -> Tape:
    """GPU 0 edits for 80 s and judges for 20 s; GPU 1 edits for 40 s and has nothing to do for the rest."""
    tape = Tape()
    for device in ("GPU 0", "GPU 1"):
        tape.state(0.0, device, "loading")
        tape.state(10.0, device, "ready")
        tape.state(10.0, device, "working")
    tape.state(50.0, "GPU 1", "stopping")
    tape.state(52.0, "GPU 1", "off")
    tape.add("stage", 90.0, stage="edit")
    tape.state(90.0, "GPU 0", "stopping")
    tape.state(92.0, "GPU 0", "off")
    tape.state(92.0, "GPU 0", "loading", "judge")
    tape.state(100.0, "GPU 0", "working", "judge")
    tape.add("stage", 120.0, stage="judge")
    tape.add("end", 120.0)
    return tape


def test_seconds_of_each_kind():
    found = two_gpus().usage()
    zero, one = found.devices
    assert (zero.load_s, zero.edit_s, zero.judge_s, zero.wait_s, zero.other_s) == (18, 80, 20, 0, 2)
    assert (one.load_s, one.edit_s, one.judge_s, one.wait_s, one.other_s) == (10, 40, 0, 68, 2)
    assert zero.busy == pytest.approx(100 / 120)
    assert (found.wall_s, found.device_s, found.gpu_s) == (120, 240, 240)
    assert found.stages["edit"].gpu_s == 92 + 52
    assert found.stages["judge"].gpu_s == 28


def test_what_an_edit_costs():
    tape = two_gpus()
    for at in range(8):
        tape.task(20.0 + at, "GPU 0", 8.0)
    tape.task(30.0, "GPU 1", 8.0, ok=False)
    found = tape.usage(price=3.6)
    edit = found.stages["edit"]
    assert edit.count == 8
    assert edit.gpu_s_each == pytest.approx(144 / 8)
    assert edit.cost == pytest.approx(144 * 0.001)
    assert edit.cost_each == pytest.approx(0.018)
    assert found.cost == pytest.approx(0.24)
    assert found.stages["judge"].cost_each is None
    assert tape.usage().cost is None


def test_energy_is_the_counters_and_goes_to_the_stage_at_work():
    tape = two_gpus()
    for second in range(121):
        tape.sample(float(second), {"GPU-0": reading(energy=1e6 + 500.0 * second), "GPU-1": reading()})
    found = tape.usage()
    zero, one = found.devices
    assert zero.energy_wh == pytest.approx(500 * 120 / 3600)
    assert one.energy_wh == pytest.approx(500 * 120 / 3600)  # by power
    assert found.energy_wh == pytest.approx(zero.energy_wh + one.energy_wh)
    assert found.stages["judge"].energy_wh == pytest.approx(500 * 28 / 3600)
    assert found.stages["edit"].energy_wh == pytest.approx(500 * (92 + 52) / 3600)
    assert (zero.utilisation, zero.memory_bytes, zero.memory_total_bytes) == (0.95, 60 * GIB, 80 * GIB)


@pytest.mark.parametrize(
    ("counter", "power", "joules"),
    [
        ([0, 100, 200, 300], [1, 1, 1, 1], 300),  # the counter wins
        ([None, None, None, None], [100, 100, 200, 200], 100 + 150 + 200),
        ([0, None, None, 300], [1, None, None, 1], 300),  # over a gap
        ([900, 1000, 0, 100], [50, 50, 50, 50], 100 + 50 + 100),  # the driver was loaded anew
        ([None, None, 0, 100], [50, 50, 50, 50], 50 + 50 + 100),
        ([0, 100, None, None], [50, 50, 50, 50], 100 + 50 + 50),
        ([None] * 4, [100, None, None, 100], 0),  # nothing is known of what is between
        ([None] * 4, [None] * 4, None),
    ],
)
def test_energy_from_what_there_is(counter, power, joules):
    tape = Tape(gpus=(1,))
    for second, (count, watts) in enumerate(zip(counter, power, strict=True)):
        tape.sample(float(second), {"GPU-0": reading(energy=count, power=watts)})
    found = tape.usage().energy_wh
    assert found == (None if not joules else pytest.approx(joules / 3600))


def test_a_device_of_two_gpus_counts_both():
    tape = Tape(gpus=(2,))
    tape.state(0.0, "GPU 0+1", "working")
    for second in range(11):
        tape.sample(
            float(second),
            {"GPU-0": reading(100, energy=second * 100), "GPU-1": reading(50, energy=second * 300)},
        )
    found = tape.usage()
    one = found.devices[0]
    assert (one.gpus, one.utilisation, one.memory_bytes) == (2, 0.75, 120 * GIB)
    assert one.energy_wh == pytest.approx(4000 / 3600)
    assert (found.device_s, found.gpu_s, found.stages["edit"].gpu_s) == (10, 20, 20)


def test_gpus_of_several_devices_are_paid_for_once():
    tape = Tape(gpus=(1, 1))
    devices = tape.records[0]["devices"]
    devices.append({"device": "GPU 0+1", "kind": "cuda", "gpus": ["GPU-0", "GPU-1"], "stages": ["judge"]})
    for second in range(11):
        tape.sample(
            float(second), {"GPU-0": reading(energy=second * 10), "GPU-1": reading(energy=second * 10)}
        )
    found = tape.usage()
    assert (found.device_s, found.gpu_s) == (30, 20)
    assert found.energy_wh == pytest.approx(200 / 3600)


def test_processes_and_a_keeper_that_began_anew():
    tape = Tape(gpus=(0,))
    for second, cpu in enumerate([1.0, 5.0, None, 2.0, 3.0]):
        tape.sample(float(second), {}, {"CPU 0": [cpu, (second + 1) * GIB, 3]})
    one = tape.usage().devices[0]
    assert one.cpu_s == 5.0 + 3.0
    assert one.rss_bytes == one.memory_bytes == 5 * GIB


def test_starts_add_up_and_a_device_may_be_new():
    first, second = two_gpus(), Tape(2, gpus=(1, 1, 1))
    second.state(0.0, "GPU 2", "working")
    second.add("end", 30.0)
    found = usage([*first.records, *second.records])
    assert found is not None
    assert (found.starts, found.wall_s) == (2, 150)
    assert [one.wall_s for one in found.devices] == [150, 150, 30]
    assert found.gpu_s == 240 + 90


def test_a_start_that_was_killed_ends_with_what_is_known():
    tape = Tape(gpus=(1,))
    tape.state(0.0, "GPU 0", "working")
    tape.sample(7.5, {"GPU-0": reading()})
    assert tape.usage().devices[0].edit_s == 7.5


def test_records_of_a_start_without_its_head_are_left_out():
    tape = two_gpus()
    assert usage(tape.records[1:]) is None


# What is named


def named(found: Usage, kind: str) -> dict[tuple[str, str], str]:
    return {(one.device, one.stage): one.reason for one in found.laggards if one.kind == kind}


def test_no_work_left_and_loading_are_named():
    idle = named(two_gpus().usage(), "idle")
    assert idle[("GPU 1", "edit")].startswith("no work left for it (38 s)")
    assert "loading the editor (10 s)" in idle[("GPU 1", "edit")]
    assert ("GPU 0", "edit") not in idle  # 10 s of 90
    assert idle[("GPU 1", "judge")] == "no work left for it (28 s)"


def test_waiting_for_edits_is_not_a_lack_of_work():
    tape = Tape(gpus=(1, 1))
    tape.state(0.0, "GPU 0", "working")
    tape.state(0.0, "GPU 1", "loading", "judge")
    tape.state(10.0, "GPU 1", "waiting", "judge")
    tape.add("stage", 100.0, stage="edit")
    tape.state(110.0, "GPU 1", "working", "judge")
    tape.add("stage", 130.0, stage="judge")
    tape.add("end", 130.0)
    assert named(tape.usage(), "idle")[("GPU 1", "judge")].startswith("waiting for edits (90 s)")


def test_restarts_and_retirement_are_named_with_what_was_said():
    tape = Tape(gpus=(1, 1))
    for device in ("GPU 0", "GPU 1"):
        tape.state(0.0, device, "working")
    tape.state(20.0, "GPU 1", "restarting", detail="killed by signal 11")
    tape.state(50.0, "GPU 1", "loading")
    tape.state(60.0, "GPU 1", "retired", detail="5 hosts in a row were lost")
    tape.add("stage", 100.0, stage="edit")
    tape.add("end", 100.0)
    found = tape.usage()
    reason = named(found, "idle")[("GPU 1", "edit")]
    assert reason.startswith("retired: 5 hosts in a row were lost (40 s)")
    assert "restarting: killed by signal 11 (30 s)" in reason
    assert [one.restarts for one in found.devices] == [0, 1]


def test_a_short_run_is_not_all_findings():
    tape = Tape(gpus=(1, 1))
    tape.state(0.0, "GPU 0", "working")
    tape.add("end", 9.0)
    assert tape.usage().laggards == ()


def slow(step_s: dict[str, float], steps: int = 10, edits: int = 6, **own: Any) -> Tape:
    """Every device edits at its own pace; `own` is what the readings of the last one say."""
    tape = Tape(gpus=(1,) * len(step_s))
    last = list(step_s)[-1]
    for device, seconds in step_s.items():
        tape.state(1.0, device, "working")
        for index in range(edits):
            tape.task(2.0 + index, device, seconds * (steps or 1) * (1 + 0.01 * index), steps=steps)
    for second in range(2, 100):
        tape.sample(
            float(second),
            {ids[0]: reading(**own) if device == last else reading() for device, ids in tape.ids.items()},
        )
    return tape


def test_a_slow_device_is_named_and_its_siblings_are_not():
    found = slow({"GPU 0": 0.8, "GPU 1": 0.82, "GPU 2": 2.4}).usage()
    reasons = named(found, "slow")
    assert list(reasons) == [("GPU 2", "edit")]
    assert reasons[("GPU 2", "edit")].startswith("2.47 s a step, its siblings 0.834 s: ")
    assert [one.share for one in found.laggards if one.kind == "slow"] == [pytest.approx(1.96, abs=0.02)]


@pytest.mark.parametrize(
    ("own", "says"),
    [
        (
            {"reasons": 0x40 | 0x08, "clock": 900},
            "throttled: hardware slowdown, 100% of the time; too hot (hardware slowdown), 100% of the time, SM clock 900",
        ),
        ({"reasons": 0x20}, "too hot (software slowdown)"),
        ({"reasons": 0x04, "clock": 1400}, "at its power cap"),
        ({"reasons": 0x80}, "power brake"),
        ({"reasons": 0x03, "clock": 1200}, "its clock was lower, SM clock 1200 MHz against 1700"),
        ({"util": 40}, "utilisation 40 % against 95 %: it waits for its CPU or a disk"),
        ({}, "as those of its siblings"),
        ({"util": None, "clock": None, "reasons": None}, "no readings that could tell why"),
    ],
)
def test_why_a_device_is_slow(own, says):
    reasons = named(slow({"GPU 0": 1.0, "GPU 1": 1.5}, **own).usage(), "slow")
    assert says in reasons[("GPU 1", "edit")]


def test_a_reason_that_all_devices_share_is_none():
    tape = slow({"GPU 0": 1.0, "GPU 1": 1.5})
    for one in tape.records:
        for values in one.get("gpus", {}).values() if one["type"] == "sample" else ():
            values[5] = 0x04
    assert "as those of its siblings" in named(tape.usage(), "slow")[("GPU 1", "edit")]


def test_memory_of_others_is_a_reason():
    tape = slow({"GPU 0": 1.0, "GPU 1": 1.5})
    tape.sample(0.5, {"GPU-0": reading(memory=GIB), "GPU-1": reading(memory=20 * GIB)})
    assert "others held 20.0 GiB on it" in named(tape.usage(), "slow")[("GPU 1", "edit")]


def test_without_steps_an_edit_is_compared_and_a_cpu_never_with_a_gpu():
    assert "15.5 s an edit" in named(
        slow({"GPU 0": 10.0, "GPU 1": 15.0}, steps=0).usage(), "slow"
    )[("GPU 1", "edit")]  # fmt: skip
    tape = slow({"GPU 0": 1.0, "GPU 1": 5.0})
    tape.records[0]["devices"][1]["kind"] = "cpu"
    assert named(tape.usage(), "slow") == {}


@pytest.mark.parametrize(
    "pace",
    [
        {"GPU 0": 1.0, "GPU 1": 1.14},  # not 15 %
        {"GPU 0": 0.010, "GPU 1": 0.020},  # under 10 s in all
        {"GPU 0": 1.0},  # alone
    ],
)
def test_what_is_not_slow(pace):
    assert named(slow(pace).usage(), "slow") == {}


def test_usage_is_plain_data():
    import json

    json.dumps(dataclasses.asdict(two_gpus().usage(1.0)), allow_nan=False)
