"""The pool with real keepers and hosts: what happens when they misbehave."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from harness import PLUGINS, Ran, cli, config_tree, make_benchmark, ours

from edit_eval.core.errors import ModelError, RunFailed
from edit_eval.driver.backends.local import LocalBackend
from edit_eval.driver.devices import Device
from edit_eval.driver.events import DeviceState, EditFailed, EditFinished, Unloaded, VerdictGiven
from edit_eval.driver.summary import summarize

pytestmark = pytest.mark.usefixtures("nothing_survives")


def test_everything_is_edited_and_scored_once(tmp_path):
    ran = Ran(config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"] * 9)))
    assert len(ran.of(EditFinished)) == 9
    assert len(ran.of(VerdictGiven)) == 9
    assert all(row.verdict and row.verdict.overall is not None for row in ran.rows)
    assert {unloaded.stage for unloaded in ran.of(Unloaded)} == {"edit", "judge"}
    assert all(0 <= unloaded.seconds < 2 for unloaded in ran.of(Unloaded))


def test_number_of_devices_changes_nothing(tmp_path):
    benchmark = make_benchmark(tmp_path / "data", ["ok", "sleep:0.05"] * 4)
    exports = []
    for editing, judging in ((1, 2), (1, 1), (2, 2), (5, 5)):
        changes = {
            "editor__devices": [f"cpu:{index}" for index in range(editing)],
            "judge__devices": [f"cpu:{index}" for index in range(judging)],
            "output": str(tmp_path / f"{editing}-{judging}"),
        }
        exports.append(Ran(config_tree(tmp_path, benchmark, **changes)).canonical())
    assert len({tuple(one) for one in exports}) == 1


def test_a_task_at_hand_is_given_back_to_a_device_that_has_none(tmp_path):
    instructions = ["sleep:3", "sleep:0.1", "sleep:0.1", "sleep:0.1"]
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", instructions), judge=None)
    ran = Ran(tree)
    device = {line["sample"]: line["device"] for line in ran.run.edits.values()}
    assert [one for one in device.values() if one == device["s0000"]] == [device["s0000"]]


def test_second_start_has_nothing_to_do(tmp_path):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"] * 3))
    first = Ran(tree)
    second = Ran(tree)
    assert first.worked
    assert not second.worked
    assert second.events == []
    assert first.canonical() == second.canonical()


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("crash", "crash"),
        ("segfault", "crash"),
        ("exit", "crash"),
        ("raise", "error"),
        ("oom", "out_of_memory"),
    ],
)
def test_a_bad_sample_fails_alone(tmp_path, how, kind):
    instructions = ["ok"] * 8
    instructions[3] = how
    ran = Ran(config_tree(tmp_path, make_benchmark(tmp_path / "data", instructions)))
    failed = ran.of(EditFailed)
    assert [(event.sample_id, event.kind) for event in failed] == [("s0003", kind)]
    assert sum(1 for row in ran.rows if row.edited) == 7
    summary = summarize(ran.run)
    assert summary.edit_failed == {kind: 1}
    assert summary.scored == 7
    assert not summary.complete


@pytest.mark.parametrize("how", ["once:crash", "once:segfault", "once:exit"])
def test_a_passing_fault_costs_nothing(tmp_path, how):
    benchmark = make_benchmark(tmp_path / "data", ["ok", how, "ok", "ok", "ok", "ok"])
    disturbed = Ran(config_tree(tmp_path, benchmark))
    assert summarize(disturbed.run).coverage == 1.0
    assert any(event.state == "restarting" for event in disturbed.of(DeviceState))
    undisturbed = Ran(config_tree(tmp_path, benchmark, output=str(tmp_path / "again")))
    assert disturbed.canonical() == undisturbed.canonical()


@pytest.mark.parametrize("how", ["hang", "hang-c"])
def test_a_stall_is_ended_by_its_deadline(tmp_path, how):
    benchmark = make_benchmark(tmp_path / "data", ["ok", "ok", "ok", how])
    deadlines = {"first_task_s": 1.0, "task_s": 1.0, "task_factor": 1.0}
    ran = Ran(config_tree(tmp_path, benchmark, editor__deadlines=deadlines, editor__max_attempts=1))
    assert [(event.sample_id, event.kind) for event in ran.of(EditFailed)] == [("s0003", "timeout")]
    assert summarize(ran.run).scored == 3


def test_a_judge_that_crashes_leaves_its_sample_unscored(tmp_path):
    tags = [{}, {"judge": "crash"}, {}, {}]
    ran = Ran(config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"] * 4, tags)))
    kinds = {row.sample.id: row.verdict.unscored for row in ran.rows if row.verdict}
    assert kinds == {"s0000": None, "s0001": "error", "s0002": None, "s0003": None}


def test_a_judge_that_raises_in_a_batch_fails_one(tmp_path):
    tags = [{}, {"judge": "raise"}, {}, {}]
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"] * 4, tags), judge__batch_size=4)
    ran = Ran(tree)
    assert [row.verdict.unscored for row in ran.rows if row.verdict] == [None, "error", None, None]
    assert "asked to raise" in ran.rows[1].verdict.reply


@pytest.mark.parametrize(("devices", "bad"), [(1, 5), (2, 8)])
def test_samples_that_crash_do_not_cost_the_devices(tmp_path, monkeypatch, devices, bad):
    # Of two, one that has backed off, for longer than a start takes, leaves what follows to the other.
    monkeypatch.setattr("edit_eval.driver.pool._BACK_OFF_S", {1: 0.01, 2: 0.2}[devices])
    instructions = (["crash", "ok"] * bad + ["ok"] * 20)[:20]
    names = [f"cpu:{index}" for index in range(devices)]
    tree = config_tree(
        tmp_path, make_benchmark(tmp_path / "data", instructions), judge=None, editor__devices=names
    )
    ran = Ran(tree, stages=("edit",))
    assert sum(1 for row in ran.rows if row.edited) == 20 - bad
    assert sorted(event.sample_id for event in ran.of(EditFailed)) == [
        f"s{2 * index:04}" for index in range(bad)
    ]
    assert not any(event.state == "retired" for event in ran.of(DeviceState))


def test_one_device_that_cannot_load_leaves_the_work_to_the_others(tmp_path):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["sleep:0.2"] * 6))
    tree["editor"]["params"] = {"load": f"refuse-after-first:{tmp_path / 'first'}"}
    ran = Ran(tree)
    assert summarize(ran.run).coverage == 1.0
    assert sum(event.state == "retired" for event in ran.of(DeviceState)) == 1


def test_a_lost_accelerator_is_a_crash_and_not_a_failure_of_every_sample(tmp_path):
    ran = Ran(config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok", "once:cuda", "ok", "ok"])))
    assert ran.of(EditFailed) == []
    assert any(event.state == "restarting" for event in ran.of(DeviceState))


def test_slow_batches_are_no_stall(tmp_path):
    """The median of task times is that of whole batches, not of the gaps between their answers."""
    tags = [{"judge": "sleep:0.5"}] * 12
    limits = {"task_s": 0.6, "first_task_s": 20.0, "task_factor": 10.0}
    tree = config_tree(
        tmp_path, make_benchmark(tmp_path / "data", ["ok"] * 12, tags), judge__deadlines=limits
    )
    tree["judge"] |= {"batch_size": 4, "devices": ["cpu:0"]}
    ran = Ran(tree)
    assert not any(event.state == "restarting" for event in ran.of(DeviceState))
    assert summarize(ran.run).coverage == 1.0


@pytest.mark.parametrize("odd", ["off-scale", "no-scores", "other-overall", "true", "unknown-dimension"])
def test_a_verdict_that_the_rubric_does_not_allow_is_no_number(tmp_path, odd):
    tags = [{}, {"judge": odd}, {}]
    ran = Ran(config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"] * 3, tags)))
    assert [row.verdict.unscored for row in ran.rows if row.verdict] == [None, "error", None]
    assert not any(event.state == "restarting" for event in ran.of(DeviceState))


def test_failed_ones_are_taken_up_when_asked(tmp_path):
    benchmark = make_benchmark(tmp_path / "data", ["ok", "once:raise", "ok"])
    tree = config_tree(tmp_path, benchmark, editor__devices=["cpu:0"])
    assert len(Ran(tree).of(EditFailed)) == 1
    assert not Ran(tree).worked
    again = Ran(tree, retry_failed=True)
    assert len(again.of(EditFinished)) == 1
    assert summarize(again.run).coverage == 1.0


def test_where_every_sample_fails_each_fails_once_and_no_device_is_blamed(tmp_path):
    ran = Ran(config_tree(tmp_path, make_benchmark(tmp_path / "data", ["raise"] * 8)))
    assert sorted(event.sample_id for event in ran.of(EditFailed)) == [f"s{index:04}" for index in range(8)]
    assert not any(event.state in ("restarting", "retired") for event in ran.of(DeviceState))


def test_an_image_that_cannot_be_read_is_its_own_fault(tmp_path):
    benchmark = make_benchmark(tmp_path / "data", ["ok"] * 4)
    broken = benchmark.parent / "0000.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    ran = Ran(config_tree(tmp_path, benchmark))
    assert [(event.sample_id, event.kind) for event in ran.of(EditFailed)] == [("s0000", "unreadable")]
    assert not any(event.state in ("restarting", "retired") for event in ran.of(DeviceState))


class NoRoom(LocalBackend):
    """Cannot start keepers at first, as on a machine without memory or room for temporary files."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def launch(self, device, log_folder):
        self.times -= 1
        if self.times >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().launch(device, log_folder)


def test_a_keeper_that_cannot_be_started_is_tried_again(tmp_path):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"] * 4), editor__devices=["cpu:0"])
    ran = Ran(tree, backend=NoRoom(1))
    assert summarize(ran.run).coverage == 1.0
    assert any("cannot start a keeper" in event.detail for event in ran.of(DeviceState))


def test_where_no_keeper_can_be_started_the_run_ends_by_name(tmp_path):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"] * 4))
    with pytest.raises(RunFailed, match=r"cannot start a keeper: .*No space left on device"):
        Ran(tree, backend=NoRoom(1000))


def test_a_keeper_that_cannot_be_started_leaves_nothing(tmp_path, monkeypatch):
    def no_room(*_arguments, **_options):
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(subprocess, "Popen", no_room)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="temporarily"):
        LocalBackend().launch(Device("cpu", (0,)), tmp_path / "logs")
    assert list((tmp_path / "tmp").iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_model_that_never_loads_ends_in_seconds(tmp_path):
    tree = config_tree(
        tmp_path, make_benchmark(tmp_path / "data", ["ok"] * 4), editor__params={"load": "raise"}
    )
    began = time.monotonic()
    with pytest.raises(RunFailed, match="asked to raise"):
        Ran(tree)
    assert time.monotonic() - began < 20


def test_a_library_that_is_missing_is_the_users_to_mend(tmp_path):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"]), editor__type="needy:NeedyEditor")
    with pytest.raises(ModelError, match="pip install"):
        Ran(tree)


def test_children_of_a_host_do_not_survive_it(tmp_path):
    ran = Ran(config_tree(tmp_path, make_benchmark(tmp_path / "data", ["fork"] * 3)))
    assert len(ran.of(EditFinished)) == 3  # and nothing_survives looks for the rest


def test_a_killed_keeper_takes_its_host_along_and_the_work_goes_on(tmp_path):
    benchmark = make_benchmark(tmp_path / "data", ["sleep:0.2"] * 12)
    code = (
        f"import sys; sys.path[:0] = [{str(PLUGINS)!r}]; from harness import Ran, config_tree; from pathlib import Path\n"
        f"ran = Ran(config_tree(Path({str(tmp_path)!r}), Path({str(benchmark)!r})))\n"
        "print(sum(1 for row in ran.rows if row.verdict and row.verdict.overall is not None))"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    keeper = _wait_for(
        lambda: [pid for pid in ours(f"mark-{tmp_path.name}") if b"worker.keeper" in _cmdline(pid)]
    )[0]
    time.sleep(0.7)
    os.kill(keeper, signal.SIGKILL)
    out, _ = driver.communicate(timeout=60)
    assert out.strip() == "12"


@pytest.mark.parametrize("how", ["sleep:30", "hang-c", "fork+sleep:30"])
@pytest.mark.parametrize("after_s", [0.25, 0.5, 1.2])
def test_killing_the_driver_leaves_nothing(tmp_path, how, after_s):
    benchmark = make_benchmark(tmp_path / "data", [how] * 3)
    tree = config_tree(tmp_path, benchmark)
    code = f"import sys; sys.path[:0] = [{str(PLUGINS)!r}]; from harness import Ran; Ran({tree!r})"
    driver = subprocess.Popen([sys.executable, "-c", code])
    time.sleep(after_s)
    driver.kill()
    driver.wait()
    mark = f"mark-{tmp_path.name}"
    deadline = time.monotonic() + 5
    while ours(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ours(mark) == []


def test_a_killed_run_goes_on_from_where_it_was(tmp_path):
    benchmark = make_benchmark(tmp_path / "data", ["sleep:0.15"] * 16)
    tree = config_tree(tmp_path, benchmark)
    code = f"import sys; sys.path[:0] = [{str(PLUGINS)!r}]; from harness import Ran; Ran({tree!r})"
    ledger = tmp_path / "run" / "edits.jsonl"
    driver = subprocess.Popen([sys.executable, "-c", code])
    _wait_for(lambda: ledger.exists() and len(ledger.read_bytes().splitlines()) >= 4)
    driver.kill()
    driver.wait()
    done_before = ledger.read_bytes().count(b"\n")
    rest = Ran(tree)
    assert len(rest.of(EditFinished)) == 16 - done_before
    whole = Ran({**tree, "output": str(tmp_path / "whole")})
    assert rest.canonical() == whole.canonical()


def test_two_starts_of_one_run(tmp_path):
    benchmark = make_benchmark(tmp_path / "data", ["sleep:2"] * 2)
    tree = config_tree(tmp_path, benchmark)
    code = f"import sys; sys.path[:0] = [{str(PLUGINS)!r}]; from harness import Ran; Ran({tree!r})"
    first = subprocess.Popen([sys.executable, "-c", code])
    _wait_for((tmp_path / "run" / "run.json").exists)
    config = tmp_path / "c.yaml"
    config.write_text(
        f"benchmark: {{type: folder, path: {benchmark}}}\neditor: {{type: scripted, devices: [cpu:0]}}\n"
    )
    second = cli("run", str(config), "--output", str(tmp_path / "run"), cwd=tmp_path)
    assert second.returncode == 2
    assert f"process {first.pid} on " in second.stderr
    assert first.wait(60) == 0


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _wait_for(what, timeout_s: float = 20.0):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")
