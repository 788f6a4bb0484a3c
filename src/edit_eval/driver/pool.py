"""The pool: devices with their keepers, stages with their queues, and the one loop that moves tasks between them.

It knows tasks as ids with JSON payloads; what an edit or a verdict is, is its handler's business, and who works on
what is the scheduler's. Here is what is done about it, and about everything that goes wrong. One thread, no barriers:

    queue --task--> host (in flight) --done--> handler
      ^                 |
      |                 +-- ordinary failure --> handler
      +--- recalled, or lost with its host (alone on its next host; after `max_attempts` it has failed)
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from edit_eval.core.errors import Interrupted, ModelError, RunFailed, UserError
from edit_eval.driver.assignment import SOME
from edit_eval.driver.attention import Attention
from edit_eval.driver.backends import Backend, Joined, Left, Readings, Remark
from edit_eval.driver.control import Control
from edit_eval.driver.devices import GpuMemory
from edit_eval.driver.doubts import IN_A_ROW
from edit_eval.driver.events import (
    DeviceState,
    DeviceStateName,
    Emit,
    Note,
    StageFinished,
    StageName,
    Unloaded,
)
from edit_eval.driver.handler import Handler, OutcomeError
from edit_eval.driver.keepers import Keepers
from edit_eval.driver.loading import PREPARE_S, LoadGate, Weights
from edit_eval.driver.nodes import IN_A_ROW as IN_A_ROW_OF_A_NODE
from edit_eval.driver.nodes import Nodes
from edit_eval.driver.queue import Task
from edit_eval.driver.refusals import cannot_write
from edit_eval.driver.scheduler import Scheduler
from edit_eval.driver.slot import HostRun, Phase, Slot
from edit_eval.driver.stage import Stage, StageSpec

__all__ = ["Pool"]

_TICK_S = 0.25
"""Seconds between two looks at everything, and the longest wait for a message."""
_SHORT_S = 0.02
"""Seconds of that wait while a device's memory is looked at."""
_STOP_GRACE_S = 2.0
_KEEPER_SILENT_S = 60.0
_DRAIN_S = 15.0
_END_S = 30.0
"""Seconds within which a killed host must be gone; past them its keeper is killed as well."""
_DRAIN_SLACK_BYTES = 512 << 20
_LOADS = 2
"""How often a model may fail to load on one device before that device gives up on it."""
_BARREN_HOSTS = 5
_BARREN_HOSTS_OF_THE_LAST = 10
"""How many hosts in a row may be lost on one device without finishing a task before it is retired; more patience with
the last device of a stage, because samples that crash in a row look the same as a broken device."""
_OF_A_FILE = ("unreadable", "missing", "changed", "altered")
"""Failures that no other device would see otherwise."""
_AWAY_S = 2.0
"""Seconds between two looks at the deadlines from which this process counts as having been stopped."""
_BACK_OFF_S = 0.5
_LONGEST_BACK_OFF_S = 30.0


class Pool:
    """Runs stages over devices.

    Args:
        stages: in the order of the work; each may follow the one before it.
        handler: receives outcomes, and may `add` tasks to later stages.
        backend: starts keepers.
        log_folder: for hosts' logs.
        emit: receives device states and unload times.
        overlap: whether a stage may begin on a device before the stage before it has ended everywhere.
        memory: asked for GPU memory between hosts.
        clock: seconds since the run began, for events.
        control: how the run is told to end or to pause.
        room: stage, how many of its tasks are at hosts -> how many more may be; None: any number. Once it is 0 with none
            at a host, what waits is dropped, and stays undone.
        gate: how many hosts may load at once.
    """

    def __init__(
        self,
        stages: Sequence[StageSpec],
        handler: Handler,
        backend: Backend,
        log_folder: Path,
        emit: Emit,
        *,
        overlap: bool = True,
        memory: GpuMemory | None = None,
        clock: Callable[[], float] = time.monotonic,
        control: Control | None = None,
        room: Callable[[StageName, int], int | None] = lambda _stage, _in_flight: None,
        gate: LoadGate | None = None,
    ) -> None:
        self._stages = [Stage(spec) for spec in stages]
        self._handler = handler
        self._backend = backend
        self._keepers = Keepers(backend, log_folder)
        self._log_folder = log_folder
        self._emit = emit
        self._memory = memory
        self._clock = clock
        self._nodes = Nodes()
        devices = list(dict.fromkeys(device for spec in stages for device in spec.devices))
        self._slots = [Slot(device) for device in devices]
        self._plan = Scheduler(self._stages, self._slots, overlap=overlap)
        self._gates = {"": gate or LoadGate()}  # by machine
        self._control = control or Control()
        self._room = room
        self._was_paused = self._was_ending = False
        self._fault: Exception | None = None
        self._looked_at = time.monotonic()
        self._check_at = 0.0
        self._attention = Attention(_TICK_S)
        self._draining: list[Slot] = []
        self._loading: defaultdict[str, list[Weights]] | None = None  # by machine; None: not looked

    def add(self, stage: StageName, tasks: Iterable[Task]) -> None:
        """Put tasks into a stage's queue."""
        into = self._plan.stage(stage)
        into.queue.put_all(tasks)
        self._attention.stir_if_waiting(into)

    def run(self) -> None:
        """Work until every stage is finished; every process has ended when this returns or raises.

        Raises:
            UserError: a model does not load, or a judge at work answers nothing more, for a reason that the user can mend.
            RunFailed: no device is left for tasks that remain.
            RunError: outcomes cannot be written.
            Interrupted: `control` asked for the end before everything was done.
        """
        try:
            while self._fault is None and not self._plan.at_end() and not self._wound_down():
                if not self._control.ending:
                    self._schedule()
                for stage in self._stages:
                    self._finish(stage)
                self._keepers.hear(
                    _SHORT_S if self._draining else _TICK_S, self._on_message, self._lose_keeper
                )
                self._check_times()
                self._take_changes()
                self._handler.tick()
        finally:
            self._shut_down()
        if self._fault is not None:
            raise self._fault
        if self._control.ending and not all(stage.finished for stage in self._stages):
            raise Interrupted(
                "stopped as asked; what was finished is kept, the same command goes on from there"
            )
        for stage in self._stages:
            if stage.dead_reason and stage.refusal and not stage.ever_ready:
                raise ModelError(stage.refusal)
        dead = [stage for stage in self._stages if stage.dead_reason]
        if dead:
            raise RunFailed("; ".join(f"{stage.name}: {stage.dead_reason}" for stage in dead))

    # Deciding, by the scheduler's word

    def _schedule(self) -> None:
        """Give work to the devices that have room for it, or look at everything."""
        if not self._attention.wants_all(time.monotonic(), self._slots):
            for slot in self._attention.take():
                host = slot.host
                if host and host.phase is Phase.READY:
                    self._feed(slot, host)
                    if host.is_idle:
                        self._stir()
            if not self._attention.wants_all(time.monotonic(), self._slots):
                return
        self._look_at_everything()

    def _look_at_everything(self) -> None:
        self._plan.count()
        self._loading = None
        for slot in self._plan.in_turn():
            host = slot.host
            if host is None:
                stage = self._plan.stage_for(slot, time.monotonic())
                if stage and self._has_room(slot, stage):
                    self._start(slot, stage)
                elif slot.held_back and stage is None:
                    slot.held_back = False
                    self._say(slot, "off")
            elif host.phase is Phase.READY:
                self._feed(slot, host)
        for slot in self._slots:
            if slot.host and self._plan.is_surplus(slot, slot.host):
                self._stop(slot, slot.host)
            elif slot.host and slot.host.is_idle:
                self._help_out(slot, slot.host)
            self._prepare_next(slot)
        self._attention.note_waiting(self._stages, self._slots, lambda stage, slot: stage.serves(slot.device))

    def _stir(self) -> None:
        """Have everything looked at: more than one device's work has changed."""
        self._plan.forget()
        self._attention.stir()

    def _note_change(self, stage: Stage) -> None:
        """A host of this stage has begun or ended a task: who waits is looked at, and who is the next to be free."""
        if stage.queue.varied and 0 < len(stage.queue) <= SOME:
            self._attention.stir()
        else:
            self._attention.stir_if_waiting(stage)

    def _wound_down(self) -> bool:
        """Once asked to end: take back what has not begun, and say whether all that has is finished, or overdue."""
        if not self._control.ending:
            return False
        hosts = [(slot, slot.host) for slot in self._slots if slot.host]
        begun = sum(len(host.begun) for _, host in hosts)
        if not self._was_ending:
            self._was_ending = True
            for slot, host in hosts:
                if ids := [task.id for task in host.not_begun()]:
                    self._keepers.send(slot, "recall", ids=ids)
            grace = f"at most {self._control.grace_s:g} s"
            text = f"stopping: {begun} begun finish first, {grace}; a second signal stops at once"
            self._emit(Note(self._clock(), "info", text))
        return self._control.overdue or not any(host.in_flight for _, host in hosts)

    def _feed(self, slot: Slot, host: HostRun) -> None:
        if self._pausing() or host.given_up:
            return
        most = self._room(host.stage.name, self._plan.in_flight(host.stage))
        tasks = self._plan.tasks_for(slot, host, most, time.monotonic())
        if tasks:
            waited = host.announced == "waiting"
            self._plan.sent(host, len(tasks))
            host.dispatch(tasks)
            if waited:
                self._say(slot, "ready")
            self._keepers.send(slot, "task", tasks=[task.message() for task in tasks])
            self._handler.sent(host.stage.name, slot.device)

    def _pausing(self) -> bool:
        paused = self._control.paused
        if paused != self._was_paused:
            self._was_paused = paused
            self._stir()
            text = (
                "paused: nothing new is begun while the file 'pause' is in the run directory"
                if paused
                else "going on"
            )
            self._emit(Note(self._clock(), "info", text))
        return paused

    def _help_out(self, slot: Slot, host: HostRun) -> None:
        """An idle host: have a task given back that waits at a busy one, or say that there is nothing."""
        loan = self._plan.task_to_recall(host.stage, slot)
        if loan:
            busy, task = loan
            if busy.host:
                busy.host.recalling.add(task.id)
            self._plan.recalled(host.stage)
            self._keepers.send(busy, "recall", ids=[task.id])
        elif host.announced != "waiting":
            self._say(slot, "waiting")

    def _finish(self, stage: Stage) -> None:
        if stage.finished:
            return
        if len(stage.queue) and not self._plan.in_flight(stage) and self._room(stage.name, 0) == 0:
            stage.queue.drain()
        if len(stage.queue) and not stage.dead_reason:
            if not any(stage.serves(slot.device) for slot in self._slots) and not self._backend.hopes():
                self._die(stage)
            return
        if self._plan.is_fed(stage) or self._plan.in_flight(stage):
            return
        stage.finished = True
        self._stir()
        if stage.started_at is not None:
            self._emit(StageFinished(self._clock(), stage.name, time.monotonic() - stage.started_at))

    def _die(self, stage: Stage) -> None:
        """No device is left for this stage: what waits stays undone, other stages go on."""
        left = len(stage.queue.drain())
        self._stir()
        stage.dead_reason = f"no device left for {left} tasks; last reason: {stage.last_reason}"
        self._emit(Note(self._clock(), "warning", f"{stage.name}: {stage.dead_reason}"))

    # Acting

    def _has_room(self, slot: Slot, stage: Stage) -> bool:
        """Whether the machine's memory has room for one more host that loads; say once if it has not."""
        if self._loading is None:
            self._loading = defaultdict(list)
            for one in self._slots:
                if one.host and one.host.phase is Phase.STARTING and one.host.stage.spec.weights.size:
                    self._loading[one.device.place].append(one.host.stage.spec.weights)
        if self._gate(slot).admits(stage.spec.weights, self._loading[slot.device.place]):
            slot.held_back = False
            return True
        if not slot.held_back:
            slot.held_back = True
            text = f"for memory of the machine: {self._gate(slot).at_once(stage.spec.weights)} load at a time"
            self._emit(DeviceState(self._clock(), slot.device.label, stage.name, "waiting", text))
        return False

    def _gate(self, slot: Slot) -> LoadGate:
        """Return what lets hosts load on a device's machine; of another one's memory nothing is known here."""
        return self._gates.setdefault(slot.device.place, LoadGate(memory=lambda: None))

    def _prepare_next(self, slot: Slot) -> None:
        """Near the end of a device's work have the next stage's host import, and one of them read its weights ahead."""
        if slot.prepared or slot.link is None:
            return
        stage = self._plan.stage_to_prepare(slot, PREPARE_S)
        if stage is None or not self._gate(slot).may_prepare(len(self._slots)):
            return
        slot.prepared = True
        self._keepers.send(slot, "prepare", **self._order(slot, stage))

    def _order(self, slot: Slot, stage: Stage) -> dict[str, Any]:
        """Return what a keeper is told of a host that it is to start or to prepare."""
        log = self._log_folder / f"{stage.name}-{slot.device.name}.log"
        load = stage.spec.load(slot.device, self._memory)
        if ahead := self._gate(slot).ahead(stage.spec.weights):
            load["ahead"] = ahead
        return {"host": stage.spec.host_spec(slot.device, log, len(self._slots)), "load": load}

    def _launch(self, slot: Slot, stage: Stage) -> bool:
        """Start the device's keeper, if it has none; where the machine has no room for one, try again later."""
        try:
            self._keepers.open(slot)
        except OSError as error:
            self._note_failed_load(slot, stage, f"cannot start a keeper: {error}")
            self._back_off(slot, stage)
            return False
        return True

    def _start(self, slot: Slot, stage: Stage) -> None:
        if not self._launch(slot, stage):
            return
        if slot.baseline_bytes is None and self._memory:
            slot.baseline_bytes = self._memory.used_bytes(slot.device)
        stage.started_at = stage.started_at or time.monotonic()
        slot.host = HostRun(stage, time.monotonic())
        self._plan.started(slot, slot.host)
        if self._loading is not None and stage.spec.weights.size:
            self._loading[slot.device.place].append(stage.spec.weights)
        slot.prepared = False
        self._keepers.send(slot, "start", **self._order(slot, stage))
        self._say(
            slot, "starting" if not slot.barren and not slot.failed_loads else "restarting", slot.last_reason
        )

    def _stop(self, slot: Slot, host: HostRun) -> None:
        grace_s = 0.0 if host.phase is Phase.STARTING else _STOP_GRACE_S  # one that loads does not listen
        self._plan.stopping(host)
        host.phase = Phase.STOPPING
        host.stop_at = time.monotonic()
        host.gone_by = host.stop_at + grace_s + _END_S
        self._keepers.send(slot, "stop", grace_s=grace_s)
        self._say(slot, "stopping")

    def _say(self, slot: Slot, state: DeviceStateName, detail: str = "") -> None:
        stage = slot.host.stage.name if slot.host else None
        if slot.host:
            slot.host.announced = state
        self._emit(DeviceState(self._clock(), slot.device.label, stage, state, detail))

    # Machines that come and go

    def _take_changes(self) -> None:
        changes = self._backend.changes()
        for one in changes:
            if isinstance(one, Remark):
                self._emit(Note(self._clock(), "warning", one.text))
            elif isinstance(one, Readings):
                self._handler.read(one)
            elif isinstance(one, Left):
                self._leave(one)
        joined = [one for one in changes if isinstance(one, Joined)]
        for change in joined:
            if all(slot.device != change.device for slot in self._slots):
                self._slots.append(Slot(change.device))
            for stage in self._stages:
                if stage.name in change.stages:
                    stage.retired.discard(change.device)
                    if change.device not in stage.joined:
                        stage.joined.append(change.device)
        if joined:
            self._handler.joined([(one.device, one.stages) for one in joined])

    def _leave(self, change: Left) -> None:
        """Let go of a device that is there no more; what it had in flight is done elsewhere."""
        for slot in [one for one in self._slots if one.device == change.device]:
            for stage in self._stages:
                if stage.serves(slot.device):
                    stage.last_reason = change.why
                    self._retire(slot, stage, change.why)
            self._lose_keeper(slot, change.why, gone=True)
            self._slots.remove(slot)

    # Hearing

    def _on_message(self, slot: Slot, message: dict[str, Any]) -> None:
        host = slot.host
        kind = message["type"]
        if host is None or kind in ("hello", "beat"):
            return
        if kind == "started":
            self._on_started(slot, host, message["pid"])
        elif kind == "ready":
            self._on_ready(slot, host, message)
        elif kind == "refused":
            self._on_refused(slot, host, message)
        elif kind == "begun":
            host.begin(message["ids"])
            self._note_change(host.stage)
        elif kind == "progress":
            self._on_progress(slot, host, message)
        elif kind == "done":
            self._on_done(slot, host, message)
        elif kind == "failed":
            self._on_failed(slot, host, message)
        elif kind == "recalled":
            self._on_recalled(host, message["ids"])
        elif kind == "window":
            host.window = message["window"]
            self._attention.touch(slot)
        elif kind == "fatal":
            error = OSError(message["errno"], message["reason"], message["path"])
            self._fault = cannot_write(message["path"], error)
        elif kind == "exited":
            self._on_exit(slot, host, message)

    def _on_started(self, slot: Slot, host: HostRun, pid: int) -> None:
        self._handler.started(host.stage.name, slot.device, pid)
        if host.announced == "starting":
            self._say(slot, "loading")

    def _on_refused(self, slot: Slot, host: HostRun, message: dict[str, Any]) -> None:
        if host.phase is Phase.STARTING:
            host.refused = (message["kind"], message["reason"])
            self._keepers.send(slot, "stop", grace_s=_STOP_GRACE_S)  # it ends by itself, or is ended
        elif message["kind"] == "user":
            self._fault = self._fault or UserError(message["reason"])

    def _on_ready(self, slot: Slot, host: HostRun, message: dict[str, Any]) -> None:
        if host.phase is not Phase.STARTING:
            return  # it was told to stop meanwhile
        self._stir()
        host.phase = Phase.READY
        host.window = message["window"]
        host.touch()
        host.stage.ever_ready = True
        host.stage.doubts.fresh(slot.device.name)
        slot.failed_loads = 0
        self._handler.loaded(host.stage.name, slot.device, {"load_s": message["load_s"], **message["facts"]})
        self._say(slot, "ready", f"loaded in {message['load_s']:.1f} s")

    def _on_progress(self, slot: Slot, host: HostRun, message: dict[str, Any]) -> None:
        task = host.in_flight.get(message["id"])
        if task:
            host.touch()
            self._handler.progress(host.stage.name, task, slot.device, message["step"], message["steps"])

    def _on_done(self, slot: Slot, host: HostRun, message: dict[str, Any]) -> None:
        task = host.in_flight.get(message["id"])
        if task is None:
            return  # not, or no longer, its task
        try:
            self._handler.done(host.stage.name, task, message["outcome"], slot.device, message["seconds"])
        except OutcomeError as error:
            self._give_up(slot, host, f"the host sent {error}")
            return
        del host.in_flight[task.id]
        self._plan.answered(host)
        self._attention.touch(slot)
        self._note_change(host.stage)
        host.stage.note_duration(host.finish(task.id), task.estimate)
        slot.barren = 0
        self._nodes.well(slot.device)
        if broken := host.stage.doubts.done(slot.device.name, task):
            self._on_broken(host.stage, broken)

    def _on_failed(self, slot: Slot, host: HostRun, message: dict[str, Any]) -> None:
        task = host.in_flight.pop(message["id"], None)
        if task is None:
            return
        self._stir()
        host.finish(task.id)
        slot.last_failure = message["reason"]
        others = message["kind"] not in _OF_A_FILE and self._plan.may_take(host.stage) != {slot.device.name}
        if host.stage.doubts.failed(slot.device.name, task, others=others):
            host.stage.queue.put(task)
            return
        slot.barren = 0
        self._handler.failed(host.stage.name, task, message["kind"], message["reason"], slot.device)

    def _on_broken(self, stage: Stage, name: str) -> None:
        """A device fails what others do well: its host is replaced once, then the device is retired."""
        slot = next((slot for slot in self._slots if slot.device.name == name), None)
        if (
            slot is None
            or slot.host is None
            or slot.host.stage is not stage
            or slot.host.phase is not Phase.READY
        ):
            return  # it has left, or is being replaced already
        reason = f"what failed here succeeded elsewhere, {IN_A_ROW} times; the last failure here: {slot.last_failure}"
        if slot.device in stage.given_a_chance:
            self._retire(slot, stage, reason)
        stage.given_a_chance.add(slot.device)
        self._stir()
        stage.queue.put_all(slot.host.withdraw())
        self._give_up(slot, slot.host, reason)

    def _on_recalled(self, host: HostRun, ids: Sequence[str]) -> None:
        self._stir()
        host.recalling.clear()
        for one in ids:
            task = host.in_flight.pop(one, None)
            if task:
                host.stage.queue.put(task)

    def _on_exit(self, slot: Slot, host: HostRun, message: dict[str, Any]) -> None:
        if host.phase is Phase.STOPPING and not host.in_flight:
            host.phase = Phase.DRAINING
            host.gone_by = float("inf")
            self._draining.append(slot)
            self._drain(slot, host)
            return
        self._lose_host(slot, host, _why(message, host), message["tail"])

    def _drain(self, slot: Slot, host: HostRun) -> None:
        """Let go of a device once its memory is back where it was before the host started."""
        waited = time.monotonic() - host.stop_at
        used = self._memory.used_bytes(slot.device) if self._memory else None
        if used is not None and used > (slot.baseline_bytes or 0) + _DRAIN_SLACK_BYTES and waited < _DRAIN_S:
            return
        stage = host.stage
        if waited >= _DRAIN_S and self._memory:
            who = ", ".join(self._memory.holders(slot.device)) or "nobody that can be seen from here"
            text = f"{slot.device.label}: memory is not free {waited:.0f} s after {stage.name} ended; held by {who}"
            self._emit(Note(self._clock(), "warning", text))
        stage.unloads[slot.device.label] = waited
        slot.host = None
        self._draining.remove(slot)
        self._stir()
        self._emit(DeviceState(self._clock(), slot.device.label, stage.name, "off"))
        no_more = not len(stage.queue) and not self._plan.is_fed(stage) and not self._plan.in_flight(stage)
        if no_more and not self._plan.hosts(stage):
            labels = tuple(stage.unloads)
            self._emit(Unloaded(self._clock(), stage.name, labels, max(stage.unloads.values())))

    def _lose_keeper(self, slot: Slot, reason: str, gone: bool = False) -> None:
        """A keeper has ended, or is to; `gone`: with its machine, so that no task of it is to blame."""
        self._stir()
        if slot in self._draining:
            self._draining.remove(slot)
        self._keepers.drop(slot)
        slot.prepared = False
        if slot.host is not None:
            if slot.host.phase in (Phase.STOPPING, Phase.DRAINING) and not slot.host.in_flight:
                slot.host = None
            else:
                if gone:
                    slot.host.stage.queue.put_all(slot.host.withdraw())
                self._lose_host(slot, slot.host, reason, "", gone=gone)

    def _lose_host(self, slot: Slot, host: HostRun, reason: str, tail: str, *, gone: bool = False) -> None:
        """A host ended that should not have: what it had begun is tried again, alone."""
        self._stir()
        stage = host.stage
        slot.host = None
        slot.last_reason = stage.last_reason = reason
        innocent = host.not_begun() if host.begun else []
        stage.queue.put_all(innocent)
        tasks = [task for task in host.in_flight.values() if task not in innocent]
        suspects = bool(tasks) and all(task.solo for task in tasks)
        self._retry(slot, stage, tasks, "timeout" if host.stalled else "crash", _with_tail(reason, tail))
        if self._is_gone(slot):
            return
        if gone:
            pass  # no fault of the device's
        elif host.phase is Phase.STARTING:
            self._failed_load(slot, host, reason)
        elif not suspects:  # else the task is to blame, or will be
            self._count_for_node(slot, reason)
            slot.barren += 1
            others = any(stage.serves(other.device) for other in self._slots if other is not slot)
            if slot.barren >= (_BARREN_HOSTS if others else _BARREN_HOSTS_OF_THE_LAST):
                self._retire(slot, stage, f"{slot.barren} hosts in a row were lost: {reason}")
        self._back_off(slot, stage)

    def _back_off(self, slot: Slot, stage: Stage) -> None:
        """Leave a device alone for a while, longer every time, and say why; one that is retired has said so."""
        slot.retry_at = time.monotonic() + min(
            _BACK_OFF_S * 2 ** max(0, slot.barren - 1), _LONGEST_BACK_OFF_S
        )
        if stage.serves(slot.device):
            self._emit(
                DeviceState(self._clock(), slot.device.label, stage.name, "restarting", slot.last_reason)
            )

    def _retry(
        self, slot: Slot, stage: Stage, tasks: Sequence[Task], kind: Literal["crash", "timeout"], reason: str
    ) -> None:
        if len(tasks) == 1:
            task = tasks[0]
            task.attempts += 1
            task.lost_on |= {slot.device.name}
            if task.attempts >= stage.spec.max_attempts:
                self._handler.failed(stage.name, task, kind, reason, slot.device)
                return
        for task in tasks:
            task.solo = True
            stage.queue.put(task)

    def _is_gone(self, slot: Slot) -> bool:
        """Retire a device for good whose GPU has gone (fallen off the bus): no fresh host can help."""
        fault = self._memory.fault(slot.device) if self._memory else ""
        for stage in self._stages if fault else ():
            if stage.serves(slot.device):
                stage.last_reason = fault
                self._retire(slot, stage, fault)
        return bool(fault)

    def _failed_load(self, slot: Slot, host: HostRun, reason: str) -> None:
        kind, said = host.refused or ("error", reason)
        if kind == "user":
            host.stage.refusal = said
        self._note_failed_load(slot, host.stage, said, last=kind == "user")

    def _count_for_node(self, slot: Slot, reason: str) -> None:
        """Leave a machine of a cluster out whose devices fail time and again, if there are others."""
        device = slot.device
        if not device.node or self._nodes.lost(device) < IN_A_ROW_OF_A_NODE:
            return
        others = [one.device for one in self._slots if one.device.place != device.place]
        for stage in self._stages:
            here = [
                one for one in self._slots if one.device.place == device.place and stage.serves(one.device)
            ]
            if here and any(stage.serves(one) for one in others):
                for one in here:
                    why = f"its node {device.node} is left out: {reason}"
                    self._retire(one, stage, why)
                    if one.host and one.host.stage is stage and one.host.phase is Phase.READY:
                        stage.queue.put_all(one.host.withdraw())
                        self._give_up(one, one.host, why)
                text = f"{stage.name}: node {device.node} is left out, for hosts were lost on it {IN_A_ROW_OF_A_NODE} times in a row: {reason}"
                self._emit(Note(self._clock(), "warning", text))

    def _note_failed_load(self, slot: Slot, stage: Stage, reason: str, *, last: bool = False) -> None:
        slot.last_reason = stage.last_reason = reason
        slot.failed_loads += 1
        if not last:
            self._count_for_node(slot, reason)
        if stage.serves(slot.device) and (last or slot.failed_loads >= _LOADS):
            self._retire(slot, stage, f"the model does not load: {reason}")

    def _retire(self, slot: Slot, stage: Stage, reason: str) -> None:
        self._stir()
        stage.retired.add(slot.device)
        slot.barren = slot.failed_loads = 0
        self._emit(DeviceState(self._clock(), slot.device.label, stage.name, "retired", reason))

    # Time

    def _check_times(self) -> None:
        now, before = time.monotonic(), self._looked_at
        for slot in list(self._draining):
            if slot.host:
                self._drain(slot, slot.host)
        if now < self._check_at:
            return
        self._check_at = now + _TICK_S
        away = now - before > _AWAY_S
        self._looked_at = float("inf") if away else now  # so that it is never twice in a row
        if away:
            return  # this process itself stood still; what was said to it meanwhile is heard first
        for slot in self._slots:
            host = slot.host
            if host and not host.given_up and now > host.deadline():
                host.stalled = True
                what = "loading" if host.phase is Phase.STARTING else "working"
                self._give_up(slot, host, f"no sign of life while {what} for {now - host.touched_at:.0f} s")
            elif host and now > host.gone_by:
                self._lose_keeper(slot, f"a host that was told to end did not within {_END_S:.0f} s")
            if slot.link and now - slot.heard_at > _KEEPER_SILENT_S:
                self._lose_keeper(slot, f"the keeper was silent for {_KEEPER_SILENT_S:.0f} s")

    def _give_up(self, slot: Slot, host: HostRun, reason: str) -> None:
        """End a host at once; what it had in flight is tried elsewhere."""
        host.given_up = reason
        host.gone_by = time.monotonic() + _END_S
        self._keepers.send(slot, "kill")

    def _shut_down(self) -> None:
        """Take what has arrived, for outcomes that lie in the sockets are finished work, then end all keepers."""
        try:
            for slot, message in self._keepers.arrived():
                if slot.host and message["type"] in ("done", "failed"):
                    self._on_message(slot, message)
        finally:
            self._keepers.close()
            for slot in self._slots:
                slot.host = None


def _why(message: Mapping[str, Any], host: HostRun) -> str:
    known = host.given_up or (host.refused[1] if host.refused else message["why"])
    if known:
        return known
    code: int | None = message["code"]
    if code == -9:
        return "killed by SIGKILL, often by the kernel for want of memory"
    if code is not None and code < 0:
        return f"killed by signal {-code}"
    return f"ended with exit code {code}"


def _with_tail(reason: str, tail: str) -> str:
    lines = [line for line in tail.strip().splitlines() if line.strip()]
    return "\n".join([reason, *lines[-20:]])
