"""The scheduler's decisions, carried out in simulated time by simulated hosts."""

from __future__ import annotations

import heapq
import math
import sys
from collections import Counter
from dataclasses import replace
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.driver.assignment import assign, makespan_bound
from edit_eval.driver.census import Census
from edit_eval.driver.devices import Device
from edit_eval.driver.interpreters import Interpreter
from edit_eval.driver.queue import Task
from edit_eval.driver.scheduler import Scheduler
from edit_eval.driver.slot import HostRun, Phase, Slot
from edit_eval.driver.stage import Stage, StageSpec

WINDOW = {"edit": 2, "judge": 3}


def stage_of(name, devices):
    return Stage(StageSpec(name, devices, Interpreter(sys.executable), {}, {}, {}))


class Simulation:
    """Carries out what the scheduler decides; a host works on its tasks one after another."""

    def __init__(self, edit_devices, judge_devices, durations, *, start_s=1.0, judge_s=0.1, overlap=True):
        self.now = 0.0
        self.start_s, self.judge_s, self.durations = start_s, judge_s, durations
        self.edit, self.judge = stage_of("edit", edit_devices), stage_of("judge", judge_devices)
        self.slots = [Slot(device) for device in dict.fromkeys([*edit_devices, *judge_devices])]
        self.plan = Scheduler([self.edit, self.judge], self.slots, overlap=overlap)
        self.edit.queue.put_all(Task(f"e{i}", {}, estimate=s) for i, s in enumerate(durations))
        self.events, self.count = [], 0
        self.done = {"edit": [], "judge": []}
        self.history = []
        self.last_edit = 0.0
        self.recalls = 0

    def later(self, seconds, what, *arguments):
        self.count += 1
        if self.count > 20_000:
            raise AssertionError("it goes round in circles")
        heapq.heappush(self.events, (self.now + seconds, self.count, what, arguments))

    def run(self):
        self.decide()
        while self.events:
            self.now, _, what, arguments = heapq.heappop(self.events)
            what(*arguments)
            self.decide()
        return self

    def decide(self):
        for slot in self.plan.in_turn():
            host = slot.host
            if host is None:
                stage = self.plan.stage_for(slot, self.now)
                if stage:
                    slot.host = host = HostRun(stage, self.now)
                    host.window = WINDOW[stage.name]
                    self.tell("started", slot, host)
                    self.history.append((self.now, slot.device.label, stage.name))
                    self.later(self.start_s, self.ready, host)
            elif host.phase is Phase.READY:
                tasks = self.plan.tasks_for(slot, host, None, self.now)
                if tasks:
                    self.tell("sent", host, len(tasks))
                    host.in_flight.update({task.id: task for task in tasks})
                    self.begin(slot, host)
        self.look()
        for slot in self.slots:
            if slot.host and self.plan.is_surplus(slot, slot.host):
                self.tell("stopping", slot.host)
                slot.host.phase = Phase.STOPPING
                self.later(0.1, self.gone, slot)
            elif slot.host and slot.host.is_idle:
                loan = self.plan.task_to_recall(slot.host.stage, slot)
                if loan:
                    busy, task = loan
                    busy.host.recalling.add(task.id)
                    self.tell("recalled", slot.host.stage)
                    self.recalls += 1
                    self.later(0.001, self.recalled, busy, task)
        self.look()
        for stage in (self.edit, self.judge):
            if not len(stage.queue) and not self.plan.is_fed(stage) and not self.plan.in_flight(stage):
                stage.finished = True

    def tell(self, what, *arguments):
        """Tell the scheduler what it may keep count of; this one counts anew for every answer."""

    def look(self):
        """Hold what is kept against what there is; here nothing is."""

    def ready(self, host):
        if host.phase is Phase.STARTING:
            host.phase = Phase.READY

    def gone(self, slot):
        slot.host = None

    def begin(self, slot, host):
        if not host.begun and host.in_flight:
            task = next(iter(host.in_flight.values()))
            host.begun[task.id] = self.now
            seconds = self.durations[int(task.id[1:])] if host.stage is self.edit else self.judge_s
            self.later(seconds, self.finish, slot, host, task)

    def recalled(self, slot, task):
        slot.host.recalling.clear()
        if task.id in slot.host.in_flight and task.id not in slot.host.begun:
            del slot.host.in_flight[task.id]
            slot.host.stage.queue.put(task)

    def finish(self, slot, host, task):
        del host.in_flight[task.id]
        host.stage.note_duration(self.now - host.begun[task.id], task.estimate)
        host.begun.clear()
        self.done[host.stage.name].append(task.id)
        if host.stage is self.edit:
            self.last_edit = self.now
            self.judge.queue.put(Task(f"j{task.id[1:]}", {}))
        self.begin(slot, host)


class Counted(Simulation):
    """The same, keeping count as the pool does; what is kept is what there is."""

    def tell(self, what, *arguments):
        getattr(self.plan, what)(*arguments)

    def decide(self):
        self.plan.count()
        super().decide()
        self.plan.forget()

    def finish(self, slot, host, task):
        self.plan.count()
        super().finish(slot, host, task)
        self.plan.answered(host)
        self.look()
        self.plan.forget()

    def look(self):
        kept, found = self.plan._census(), Census.of([self.edit, self.judge], self.slots)
        assert +kept.occupied == +found.occupied
        for name, count in found.stages.items():
            assert replace(kept.stages[name], waiting=None, least_busy=None) == count


def cpus(count):
    return [Device("cpu", (index,)) for index in range(count)]


durations = st.lists(st.floats(0.05, 20), min_size=1, max_size=40)


@given(durations, st.integers(1, 6), st.integers(1, 6), st.booleans())
@settings(max_examples=150, deadline=None)
def test_everything_is_done_once_whatever_the_devices(seconds, editors, judges, overlap):
    run = Simulation(cpus(editors), cpus(judges), seconds, overlap=overlap).run()
    assert sorted(run.done["edit"]) == sorted(f"e{index}" for index in range(len(seconds)))
    assert sorted(run.done["judge"]) == sorted(f"j{index}" for index in range(len(seconds)))
    assert run.plan.at_end()
    assert run.recalls <= 2 * len(seconds) + editors + judges


@given(durations, st.integers(1, 6), st.integers(1, 6), st.booleans())
@settings(max_examples=100, deadline=None)
def test_whoever_keeps_count_decides_the_same(seconds, editors, judges, overlap):
    plain = Simulation(cpus(editors), cpus(judges), seconds, overlap=overlap).run()
    counted = Counted(cpus(editors), cpus(judges), seconds, overlap=overlap).run()
    assert counted.history == plain.history
    assert counted.done == plain.done
    assert (counted.now, counted.recalls) == (plain.now, plain.recalls)


@given(durations, st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_edits_end_within_the_bound_of_longest_first(seconds, devices):
    """Graham 1969: list scheduling takes at most the mean load plus the longest task."""
    run = Simulation(cpus(devices), cpus(1), seconds).run()
    assert run.last_edit <= run.start_s + sum(seconds) / devices + max(seconds) + 0.05


def editing_s(seconds, devices):
    """Return how long editing goes on where all editors are ready at once."""
    run = Simulation(cpus(devices), [Device("cpu", (7,))], seconds).run()
    return run.last_edit - run.start_s


@given(st.lists(st.floats(0.1, 20), min_size=1, max_size=11), st.integers(1, 8))
@settings(max_examples=200, deadline=None)
def test_fewer_than_twelve_edits_end_as_soon_as_can_be(seconds, devices):
    """Beside `assign`, which is held against every way there is in `test_assignment`."""
    loads = [0.0] * devices
    for one, device in zip(seconds, assign(seconds, loads), strict=True):
        loads[device] += one
    assert editing_s(seconds, devices) <= max(loads) + 0.01


@pytest.mark.parametrize(
    ("count", "devices"), [(16, 2), (24, 3), (36, 4), (60, 6), (80, 8), (200, 2), (200, 6), (200, 8)]
)
@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0])
def test_many_edits_end_within_three_per_cent_of_the_bound(devices, count, sigma):
    """Log-normal lengths at evenly spread quantiles: sigma 1 is a spread of 100 between one in a hundred at either end.

    With fewer than about eight a device nobody reaches the bound: whole tasks do not add up to it.
    """
    quantiles = [(number + 0.5) / count for number in range(count)]
    seconds = [10 * math.exp(sigma * NormalDist().inv_cdf(one)) for one in quantiles]
    bound = makespan_bound(seconds, [0.0] * devices)
    assert editing_s(seconds, devices) <= 1.03 * bound


@given(durations, st.integers(2, 6))
@settings(max_examples=80, deadline=None)
def test_sequential_stages_do_not_mix(seconds, devices):
    run = Simulation(cpus(devices), cpus(devices), seconds, overlap=False).run()
    judges = [at for at, _, stage in run.history if stage == "judge"]
    assert min(judges) >= run.last_edit


def test_a_device_that_runs_out_of_edits_judges_while_others_edit():
    run = Simulation(cpus(2), cpus(2), [10.0, 1.0, 1.0]).run()
    starts = {(device, stage): at for at, device, stage in run.history}
    assert starts["CPU 1", "judge"] < 5 < run.last_edit


def test_a_judge_of_its_own_device_starts_at_once():
    run = Simulation(cpus(2), [Device("cpu", (7,))], [5.0, 5.0, 5.0]).run()
    assert (0.0, "CPU 7", "judge") in run.history


def test_devices_that_share_a_gpu_never_hold_two_models():
    wide = Device("cuda", (0, 1), ("0", "1"))
    narrow = [Device("cuda", (index,), (str(index),)) for index in (0, 1)]
    run = Simulation([wide], narrow, [3.0, 2.0]).run()
    assert run.history[0][2] == "edit"
    assert all(at > run.last_edit for at, _, stage in run.history if stage == "judge")


def test_no_more_hosts_start_than_there_are_tasks():
    run = Simulation(cpus(6), cpus(1), [1.0, 1.0]).run()
    assert sum(stage == "edit" for _, _, stage in run.history) == 2


def test_a_suspect_is_alone_and_goes_elsewhere():
    stage = stage_of("edit", cpus(2))
    slots = [Slot(device) for device in cpus(2)]
    for slot in slots:
        slot.host = HostRun(stage, 0.0, phase=Phase.READY, window=2)
    stage.queue.put(Task("bad", {}, solo=True, lost_on={"cpu-0"}))
    stage.queue.put(Task("good", {}))
    plan = Scheduler([stage], slots, overlap=True)
    assert [task.id for task in plan.tasks_for(slots[0], slots[0].host)] == ["good"]
    assert plan.tasks_for(slots[0], slots[0].host) == []
    assert [task.id for task in plan.tasks_for(slots[1], slots[1].host)] == ["bad"]


def test_what_was_recalled_goes_to_the_idle_one():
    """Two busy hosts with a task at hand each, and an idle one that comes last in the order."""
    stage = stage_of("edit", cpus(3))
    slots = [Slot(device) for device in cpus(3)]
    for slot in slots:
        slot.host = HostRun(stage, 0.0, phase=Phase.READY, window=2)
    for slot, names in zip(slots, (("a", "b"), ("c",), ()), strict=True):
        slot.host.in_flight.update({name: Task(name, {}) for name in names})
        slot.host.begun.update(dict.fromkeys(names[:1], 0.0))
    stage.queue.put(Task("d", {}))
    plan = Scheduler([stage], slots, overlap=True)
    assert plan.tasks_for(slots[1], slots[1].host) == []
    assert [task.id for task in plan.tasks_for(slots[2], slots[2].host)] == ["d"]


def test_one_that_loads_does_not_keep_the_others_from_taking_ahead():
    edit = stage_of("edit", cpus(2))
    slots = [Slot(device) for device in cpus(2)]
    for slot in slots:
        slot.host = HostRun(edit, 0.0, phase=Phase.READY, window=2)
    loads = slots[1].host
    plan = Scheduler([edit], slots, overlap=True)
    edit.queue.put_all(Task(f"e{index}", {}, estimate=index % 3 + 1.0) for index in range(9))
    slots[0].host.in_flight["x"] = Task("x", {}, estimate=1.0)
    assert plan.tasks_for(slots[0], slots[0].host, None, 0.0) == []  # the other has nothing to do
    loads.phase = Phase.STARTING
    assert len(plan.tasks_for(slots[0], slots[0].host, None, 0.0)) == 1  # nobody knows when it will be


class Crashing(Simulation):
    """Loses the first editor host while it works, and lets it come back later."""

    crashed = False

    def finish(self, slot, host, task):
        if host.stage is self.edit and not self.crashed:
            self.crashed = True
            slot.host, slot.retry_at = None, self.now + 0.5
            self.edit.queue.put_all(host.in_flight.values())
            self.later(0.6, lambda: None)
            return
        super().finish(slot, host, task)


@given(st.booleans(), st.lists(st.floats(0.5, 5), min_size=2, max_size=6), st.floats(0.1, 3))
@settings(max_examples=60, deadline=None)
def test_a_crash_does_not_lock_devices_that_overlap(wide_editor, seconds, start_s):
    """A replica over two GPUs and replicas on each of them: whoever is in the way makes room again."""
    wide = [Device("cuda", (0, 1), ("0", "1"))]
    narrow = [Device("cuda", (index,), (str(index),)) for index in (0, 1)]
    editors, judges = (wide, narrow) if wide_editor else (narrow[1:], wide)
    run = Crashing(editors, judges, seconds, start_s=start_s).run()
    assert len(run.done["judge"]) == len(seconds)
    assert run.plan.at_end()


class Failing(Simulation):
    """Edits fail at once on devices that are broken, and everywhere where the sample itself is bad."""

    def __init__(self, *arguments, broken, bad=(), fail_s=0.01, **options):
        super().__init__(*arguments, **options)
        self.broken, self.bad, self.fail_s = broken, bad, fail_s
        self.failed, self.tries = [], Counter()
        self.remedies = []

    def ready(self, host):
        super().ready(host)
        for slot in self.slots:
            if slot.host is host:
                host.stage.doubts.fresh(slot.device.name)

    def begin(self, slot, host):
        if host.stage is self.edit and slot.device.label in self.broken and host.in_flight and not host.begun:
            task = next(iter(host.in_flight.values()))
            host.begun[task.id] = self.now
            self.later(self.fail_s, self.finish, slot, host, task)
        else:
            super().begin(slot, host)

    def finish(self, slot, host, task):
        if slot.host is not host or task.id not in host.in_flight:
            return  # its host is being replaced
        if host.stage is not self.edit:
            super().finish(slot, host, task)
            return
        self.tries[task.id] += 1
        doubts, name = self.edit.doubts, slot.device.name
        if slot.device.label not in self.broken and task.id not in self.bad:
            super().finish(slot, host, task)
            if accused := doubts.done(name, task):
                self.replace(next(one for one in self.slots if one.device.name == accused))
            return
        del host.in_flight[task.id]
        host.begun.clear()
        others = self.plan.may_take(self.edit) != {name}
        if doubts.failed(name, task, others=others):
            self.edit.queue.put(task)
        else:
            self.failed.append(task.id)
        self.begin(slot, host)

    def replace(self, slot):
        self.remedies.append(slot.device.label)
        if slot.host and slot.host.stage is self.edit:
            self.edit.queue.put_all(slot.host.withdraw())
            slot.host, slot.retry_at = None, self.now + 0.5
            if self.remedies.count(slot.device.label) == 2:
                self.edit.retired.add(slot.device)
            self.later(0.6, lambda: None)


@given(
    st.lists(st.floats(0.05, 20), min_size=8, max_size=60),
    st.integers(2, 6),
    st.sets(st.integers(0, 59), max_size=10),
    st.floats(0.01, 5),
    st.floats(0.01, 30),
)
@settings(max_examples=150, deadline=None)
def test_a_device_that_fails_everything_fails_no_sample(seconds, devices, bad, start_s, fail_s):
    """Nothing that others can do is lost to it; what is bad everywhere is tried twice at most, and fails once."""
    bad = {f"e{index}" for index in bad if index < len(seconds)}
    run = Failing(
        cpus(devices),
        [Device("cpu", (7,))],
        seconds,
        broken={"CPU 1"},
        bad=bad,
        start_s=start_s,
        fail_s=fail_s,
    ).run()
    assert sorted(run.done["edit"]) == sorted({f"e{index}" for index in range(len(seconds))} - bad)
    assert sorted(run.failed) == sorted(bad)
    assert max(run.tries.values()) <= 2
    assert run.recalls <= 4 * len(seconds) + devices
    assert set(run.remedies) <= {"CPU 1"}


def test_a_broken_device_is_replaced_then_retired():
    run = Failing(cpus(3), cpus(1), [1.0] * 60, broken={"CPU 2"}, fail_s=0.5).run()
    assert run.remedies == ["CPU 2", "CPU 2"]
    assert run.edit.retired == {Device("cpu", (2,))}
    assert len(run.done["edit"]) == 60


def test_where_every_sample_fails_no_device_is_to_blame():
    bad = {f"e{index}" for index in range(30)}
    run = Failing(cpus(3), cpus(1), [1.0] * 30, broken=(), bad=bad).run()
    assert sorted(run.failed) == sorted(bad)
    assert run.remedies == []
