"""One stage of a run: what its hosts are told, which devices serve it, what waits, and how long its tasks take."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from edit_eval.driver.devices import Device, GpuMemory
from edit_eval.driver.doubts import Doubts
from edit_eval.driver.events import StageName
from edit_eval.driver.interpreters import Interpreter
from edit_eval.driver.loading import Weights
from edit_eval.driver.queue import TaskQueue
from edit_eval.worker.proxies import is_proxy_variable

__all__ = ["VLLM_KERNELS", "Deadlines", "Stage", "StageSpec"]

_RESERVE_BYTES = 1 << 30
"""GPU memory that an engine leaves free: its CUDA context, and what colleagues' processes there grow by."""


_OFFLINE: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_USE_MODELSCOPE": "False",
}
"""Hosts get local paths and ask nobody: neither a hub nor those who count users."""

VLLM_KERNELS: Mapping[str, str] = {
    "VLLM_USE_FLASHINFER_MOE_FP16": "0",
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
}
"""What keeps vLLM 0.22 from compiling kernels by nvcc, which not every machine has, at its first start: those of experts
took more than seven minutes, those that draw tokens by top-k and top-p, which no judge does, nearly two."""


@dataclass(frozen=True)
class Deadlines:
    """Seconds after which a silent host counts as stalled.

    Attributes:
        load_s: from start to ready.
        first_task_s: for a host's first task (compiling).
        task_s: for later tasks, or `task_factor` times the stage's median, whichever is longer.
        task_factor: see `task_s`.
    """

    load_s: float = 1800.0
    first_task_s: float = 900.0
    task_s: float = 120.0
    task_factor: float = 10.0


@dataclass(frozen=True)
class StageSpec:
    """What the pool must know of a stage.

    Attributes:
        name: `edit` or `judge`.
        devices: that may serve it.
        interpreter: of its hosts.
        env: variables for its hosts; they win over ours.
        packages: top-level package -> path, that its hosts must be able to import.
        message: the load message, but for `devices`.
        deadlines: see there.
        max_attempts: how often a task may lose a host that it had to itself.
        numbers: device -> plain integers for `CUDA_VISIBLE_DEVICES`, for an engine that knows no UUIDs.
        shares_memory: whether its hosts are told which part of the GPU memory they may take.
        proxy: `environment`, or `none`: its hosts inherit no proxy.
        weights: the files that its hosts load.
        prepares: whether a host of it can import what it needs before its device is free.
    """

    name: StageName
    devices: Sequence[Device]
    interpreter: Interpreter
    env: Mapping[str, str]
    packages: Mapping[str, Path]
    message: Mapping[str, Any]
    deadlines: Deadlines = Deadlines()
    max_attempts: int = 2
    numbers: Mapping[Device, Sequence[str]] = field(default_factory=dict)
    shares_memory: bool = False
    proxy: str = "environment"
    weights: Weights = field(default_factory=Weights)
    prepares: bool = False

    def with_options(self, options: Mapping[str, Any]) -> StageSpec:
        """Return a copy whose hosts are told further options (`HostContext.options`)."""
        return replace(
            self, message={**self.message, "options": {**self.message.get("options", {}), **options}}
        )

    def host_spec(self, device: Device, log: Path, hosts_here: int) -> dict[str, Any]:
        """Return what a keeper needs to start a host of this stage on `device`."""
        env: dict[str, str | None] = {
            **self._interpreter_env(),
            "TOKENIZERS_PARALLELISM": "false",
            **_OFFLINE,
            "PYTHONUNBUFFERED": "1",
            "VLLM_HOST_IP": "127.0.0.1",  # its processes are all here; it would listen on the machine's own address
            **VLLM_KERNELS,
            **device.environment(hosts_here),
        }
        if device in self.numbers:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(self.numbers[device])
        env.update(self.env)
        return {
            "python": self.interpreter.python,
            "env": env,
            "proxy": self.proxy,
            "links": {name: str(path) for name, path in self.packages.items()},
            "log": str(log),
        }

    def _interpreter_env(self) -> Mapping[str, str | None]:
        """Return the variables of the environment's own; some set a proxy when they are activated."""
        env = self.interpreter.env
        if self.proxy != "none":
            return env
        return {name: value for name, value in env.items() if not is_proxy_variable(name)}

    def load(self, device: Device, memory: GpuMemory | None = None) -> dict[str, Any]:
        """Return the load message for a host on `device`, whose memory is looked at as it is now."""
        message = {**self.message, "devices": list(device.torch_devices)}
        if self.shares_memory and memory:
            share = memory.share(device, _RESERVE_BYTES)
            message["options"] = {**message.get("options", {}), "memory_share": share}
        return message


@dataclass
class Stage:
    """A stage while it runs."""

    spec: StageSpec
    queue: TaskQueue = field(default_factory=TaskQueue)
    retired: set[Device] = field(default_factory=set)
    finished: bool = False
    started_at: float | None = None
    dead_reason: str = ""
    ever_ready: bool = False
    refusal: str = ""  # why a host refused to load, for a reason that the user can mend
    last_reason: str = ""
    unloads: dict[str, float] = field(default_factory=dict)
    doubts: Doubts = field(default_factory=Doubts)
    joined: list[Device] = field(default_factory=list)  # later than the run began
    given_a_chance: set[Device] = field(default_factory=set)  # found broken, and restarted for it
    unit_s: float | None = None  # seconds in the unit of tasks' estimates, by the median of the last ones
    _recent_s: deque[float] = field(default_factory=lambda: deque(maxlen=101))
    _recent_units: deque[float] = field(default_factory=lambda: deque(maxlen=101))
    _median_s: float | None = None

    @cached_property
    def _devices(self) -> frozenset[Device]:
        return frozenset(self.spec.devices)

    @property
    def name(self) -> StageName:
        """`edit` or `judge`."""
        return self.spec.name

    def serves(self, device: Device) -> bool:
        """Whether `device` may hold a host of this stage."""
        return device not in self.retired and (device in self._devices or device in self.joined)

    def touches(self, device: Device) -> bool:
        """Whether `device` holds a GPU or slot that a host of this stage may need."""
        every = (*self.spec.devices, *self.joined)
        return self.serves(device) or any(
            one.parts & device.parts for one in every if one not in self.retired
        )

    def note_duration(self, seconds: float, estimate: float = 1.0) -> None:
        """Remember how long a task took, and how long it was thought to be."""
        self._recent_s.append(seconds)
        self._median_s = None
        if estimate > 0:
            self._recent_units.append(seconds / estimate)
            self.unit_s = statistics.median(self._recent_units)

    @property
    def usual_s(self) -> float | None:
        """How long a task takes, by the median of the last ones; None before the first."""
        if self._median_s is None and self._recent_s:
            self._median_s = statistics.median(self._recent_s)
        return self._median_s

    def task_deadline_s(self, *, first: bool) -> float:
        """Return how long a host may be silent now."""
        limits = self.spec.deadlines
        if first:
            return max(limits.first_task_s, limits.task_s)
        usual = self.usual_s
        return limits.task_s if usual is None else max(limits.task_s, limits.task_factor * usual)
