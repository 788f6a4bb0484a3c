"""The pool where devices come and go, share little memory for loading, or belong to nodes: real keepers, a made-up backend."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
from harness import config_tree, make_benchmark

from edit_eval.driver.backends import Joined, Left
from edit_eval.driver.backends.local import LocalBackend
from edit_eval.driver.config import check_config
from edit_eval.driver.devices import Device
from edit_eval.driver.events import DeviceState, EditFailed, EditFinished, Note
from edit_eval.driver.interpreters import Interpreter
from edit_eval.driver.job import prepare
from edit_eval.driver.loading import LoadGate, Weights
from edit_eval.driver.machine import Memory
from edit_eval.driver.nodes import IN_A_ROW
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.pool import Pool
from edit_eval.driver.stage import StageSpec
from edit_eval.driver.store import RunReader

GIB = 1 << 30
CPU = [Device("cpu", (index,)) for index in range(6)]


pytestmark = pytest.mark.usefixtures("nothing_survives")


class Changing(LocalBackend):
    """Once so many edits are finished, says what has changed; counts the keepers that it starts."""

    def __init__(self, after, *changes):
        super().__init__()
        self.events = []
        self.keepers = Counter()
        self._after = after
        self._left = list(changes)

    def launch(self, device, log_folder):
        self.keepers[device.label] += 1
        return super().launch(device, log_folder)

    def changes(self):
        if not self._left or sum(isinstance(one, EditFinished) for one in self.events) < self._after:
            return ()
        found, self._left = self._left, []
        return found

    def of(self, kind):
        return [one for one in self.events if isinstance(one, kind)]


class OnNodes(Changing):
    """Has devices of nodes; keepers of the node `bad` cannot be started."""

    def __init__(self, *devices):
        super().__init__(0)
        self._devices = list(devices)

    def devices(self, asked):
        return self._devices

    def launch(self, device, log_folder):
        if device.node == "bad":
            raise OSError("no such interpreter")
        return super().launch(device, log_folder)


def run(tmp_path, backend, instructions, **changes):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", instructions), judge=None, **changes)
    job = prepare(check_config(tree))
    run_job(job, backend.events.append, backend=backend)
    return RunReader(job.output)


def edited_once(run_read, count):
    return Counter(line["sample"] for line in run_read.edits.values()) == Counter(
        f"s{index:04}" for index in range(count)
    )


def test_a_device_that_leaves_costs_its_tasks_no_attempt(tmp_path):
    backend = Changing(1, Left(CPU[1], "its node went away"))
    found = run(tmp_path, backend, ["sleep:0.5"] * 6, editor__max_attempts=1)
    assert edited_once(found, 6)
    assert backend.of(EditFailed) == []
    states = {(one.device, one.state, one.detail) for one in backend.of(DeviceState)}
    assert ("CPU 1", "retired", "its node went away") in states


def test_a_device_that_comes_is_used(tmp_path):
    backend = Changing(1, Joined(CPU[1], frozenset({"edit"})))
    found = run(tmp_path, backend, ["sleep:0.5"] * 8, editor__devices=["cpu:0"])
    assert edited_once(found, 8)
    assert {line["device"] for line in found.edits.values()} == {"CPU 0", "CPU 1"}


def test_a_device_that_is_there_already_gets_no_second_keeper(tmp_path):
    backend = Changing(1, Joined(CPU[1], frozenset({"edit"})), Joined(CPU[1], frozenset({"edit"})))
    found = run(tmp_path, backend, ["sleep:0.3"] * 6)
    assert edited_once(found, 6)
    assert backend.keepers == {"CPU 0": 1, "CPU 1": 1}


def test_where_there_is_little_memory_few_load_at_a_time(tmp_path, monkeypatch):
    gate = LoadGate(lambda: Memory(free=25 * GIB, total=25 * GIB, limited=False), lambda: 1)
    monkeypatch.setattr("edit_eval.driver.pool.LoadGate", lambda **_: gate)
    monkeypatch.setattr("edit_eval.driver.pipeline.weights_of", lambda _models: Weights(("w",), 10 * GIB))
    backend = Changing(0)
    devices = [f"cpu:{index}" for index in range(4)]
    assert edited_once(run(tmp_path, backend, ["sleep:0.3"] * 12, editor__devices=devices), 12)
    loading, most = set(), 0
    for one in backend.of(DeviceState):
        (loading.add if one.state == "starting" else loading.discard)(one.device)
        most = max(most, len(loading))
    assert most == 2
    held_back = [one for one in backend.of(DeviceState) if "2 load at a time" in one.detail]
    assert {one.state for one in held_back} == {"waiting"}
    assert len(held_back) == len({one.device for one in held_back}) == 2


def test_a_node_whose_devices_all_fail_is_left_out_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("edit_eval.driver.pool._BACK_OFF_S", 0.01)
    bad = [Device("cpu", (index,), (), "bad", "2") for index in range(4)]
    backend = OnNodes(Device("cpu", (0,), (), "good", "1"), *bad)
    monkeypatch.setattr("edit_eval.driver.job.open_backend", lambda *_arguments, **_options: backend)
    assert edited_once(run(tmp_path, backend, ["sleep:0.5"] * 6), 6)
    [said] = [one.text for one in backend.of(Note) if "left out" in one.text]
    assert said.startswith(
        "edit: node bad is left out, for hosts were lost on it 6 times in a row: cannot start"
    )
    retired = {one.device for one in backend.of(DeviceState) if one.state == "retired"}
    assert retired == {one.label for one in bad}


@pytest.mark.parametrize(("node", "left_out"), [("other", True), ("bad", False)])
def test_a_node_is_left_out_at_the_sixth_loss_in_a_row_if_there_is_another(tmp_path, node, left_out):
    bad, last = (
        [Device("cpu", (index,), (), "bad", "bad") for index in range(2)],
        Device("cpu", (9,), (), node, node),
    )
    spec = StageSpec("edit", [*bad, last], Interpreter("python"), {}, {}, {})
    said = []
    pool = Pool([spec], None, LocalBackend(), tmp_path, said.append)
    slots = pool._slots
    for number in range(IN_A_ROW - 1):
        pool._count_for_node(slots[number % 2], "lost")
    assert said == []
    pool._nodes.well(bad[0])  # what was done in between makes it a row of its own
    for number in range(IN_A_ROW - 1):
        pool._count_for_node(slots[number % 2], "lost")
    assert said == []
    pool._count_for_node(slots[0], "lost")
    retired = [one.device for one in said if isinstance(one, DeviceState)]
    assert retired == ([one.label for one in bad] if left_out else [])


def test_a_device_that_was_blamed_and_has_left_is_no_fault(tmp_path):
    pool = Pool([], None, LocalBackend(), tmp_path, lambda _event: None)
    pool._on_broken(SimpleNamespace(), "b-cpu-0")
