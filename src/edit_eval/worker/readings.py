"""What is read while a run goes on: GPUs through NVML, the processes of every device through /proc.

Knows neither stages nor files. A query that fails, a GPU that has gone, a process that has ended: a null, never an
exception. What costs time is bounded: six NVML calls a GPU, one listing of /proc, one file a process of ours.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["GPU_COLUMNS", "HOST_COLUMNS", "GpuInfo", "GpuReader", "ProcessReader", "Reading", "open_nvml"]

Reading = Sequence[float | None]
"""One value a column; None where it could not be read."""

GPU_COLUMNS = ("utilisation", "memory_bytes", "power_w", "energy_j", "sm_mhz", "reasons")
"""Of a GPU: share of the last moments in which any kernel ran (0..100); bytes in use by whomever; watts; joules since
the driver was loaded; SM clock in MHz; NVML's clocks-event (throttle) reasons as bits."""

HOST_COLUMNS = ("cpu_s", "rss_bytes", "processes")
"""Of a device's keeper, host and all their descendants: CPU seconds since the keeper began (also of those that have
ended), resident bytes (shared pages count in each process), how many there are."""

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def open_nvml() -> tuple[Any | None, str]:
    """Return NVML, or None and the reason in words."""
    try:
        import pynvml
    except ImportError:  # on a node of a cluster, whose Python is not ours
        return None, "nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, str(error)
    return pynvml, ""


@dataclass(frozen=True)
class GpuInfo:
    """What does not change of a GPU.

    Attributes:
        id: its UUID; `gpu TOKEN` where NVML does not tell.
        name: as NVML has it, e.g. `NVIDIA H100 80GB HBM3`; None if unknown.
        memory_bytes: in all; None if unknown.
    """

    id: str
    name: str | None = None
    memory_bytes: int | None = None


class GpuReader:
    """Reads GPUs by UUID.

    Args:
        tokens: as in `CUDA_VISIBLE_DEVICES`: index, UUID or MIG id.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self._nvml, self.missing = open_nvml()
        self.info = {token: self._look_up(token) for token in dict.fromkeys(tokens)}
        self._handles: dict[str, Any] = {}
        self._queries: Sequence[Callable[[Any], float]] = self._make_queries() if self._nvml else ()

    def read(self) -> dict[str, Reading]:
        """Return a reading of every GPU, by its id. Never raises; empty without NVML."""
        if self._nvml is None:
            return {}
        return {one.id: self._read(one) for one in self.info.values()}

    def _read(self, one: GpuInfo) -> Reading:
        nvml: Any = self._nvml
        handle = self._handles.get(one.id)
        if handle is None:
            handle = self._handles[one.id] = self._ask(nvml.nvmlDeviceGetHandleByUUID, one.id)
        if handle is None:
            return [None] * len(GPU_COLUMNS)
        values = [self._ask(query, handle) for query in self._queries]
        if all(value is None for value in values):
            del self._handles[one.id]  # it is gone; it may come back under its UUID
        return values

    def _ask(self, query: Callable[[Any], Any], argument: Any) -> Any | None:
        nvml: Any = self._nvml
        try:
            return query(argument)
        except nvml.NVMLError:
            return None

    def _make_queries(self) -> Sequence[Callable[[Any], float]]:
        nvml: Any = self._nvml
        return (
            lambda handle: int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
            lambda handle: int(nvml.nvmlDeviceGetMemoryInfo(handle).used),
            lambda handle: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            lambda handle: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000,
            lambda handle: int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            # Under this name also in drivers that do not know it as "clocks event reasons" yet.
            lambda handle: int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
        )

    def _look_up(self, token: str) -> GpuInfo:
        nvml = self._nvml
        if nvml is None:
            return GpuInfo(f"gpu {token}")
        find = nvml.nvmlDeviceGetHandleByIndex if token.isdigit() else nvml.nvmlDeviceGetHandleByUUID
        handle = self._ask(find, int(token) if token.isdigit() else token)
        if handle is None:
            return GpuInfo(f"gpu {token}")
        uuid, name = self._ask(nvml.nvmlDeviceGetUUID, handle), self._ask(nvml.nvmlDeviceGetName, handle)
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        total = None if memory is None else int(memory.total)
        return GpuInfo(_text(uuid) or f"gpu {token}", _text(name), total)


def _text(value: str | bytes | None) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


@dataclass(frozen=True)
class _Stat:
    """Of one process: its parent, when it began (in ticks, to tell a new one of the same pid), and what it used."""

    parent: int
    began: int
    cpu_s: float
    rss_bytes: int


class ProcessReader:
    """Reads the processes of every device: its keeper and all below it.

    A process of ours whose parent ends goes to its keeper, which adopts orphans, so that one that was once below a
    keeper stays so: each pid is looked into once, and only ours are read again.
    """

    def __init__(self) -> None:
        self._started: deque[tuple[str, int]] = deque()
        self._keepers: dict[int, str] = {}
        self._whose: dict[int, tuple[str | None, int]] = {}  # pid -> device (None: not ours), when it began

    def follow(self, device: str, host: int) -> None:
        """Count the process `host` and what is around it to `device` from now on. May be called from any thread."""
        self._started.append((device, host))

    def read(self) -> dict[str, Reading]:
        """Return a reading of every device that has processes. Never raises."""
        self._find_keepers()
        if not self._keepers:
            return {}
        present = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - only names
        stats: dict[int, _Stat] = {}
        for pid in present:
            whose, began = self._whose.get(pid, ("", 0))
            if whose is not None and (stat := _stat(pid)):
                stats[pid] = stat
                if stat.began != began:
                    self._whose.pop(pid, None)
        self._whose = {pid: known for pid, known in self._whose.items() if pid in present}
        for pid in stats:
            self._classify(pid, stats)
        sums: dict[str, list[float]] = {}
        for pid, stat in stats.items():
            device = self._whose[pid][0]
            if device is not None:
                one = sums.setdefault(device, [0.0, 0, 0])
                one[0] += stat.cpu_s
                one[1] += stat.rss_bytes
                one[2] += 1
        return {device: [round(cpu, 2), rss, count] for device, (cpu, rss, count) in sums.items()}

    def _find_keepers(self) -> None:
        """A host's parent is the keeper of its device."""
        while self._started:
            device, host = self._started.popleft()
            stat = _stat(host)
            if stat and stat.parent not in self._keepers:
                self._keepers = {pid: one for pid, one in self._keepers.items() if one != device}
                self._keepers[stat.parent] = device
                self._whose.clear()  # some were looked at before their keeper was known

    def _classify(self, pid: int, stats: dict[int, _Stat]) -> None:
        """Find whose `pid` is, by its parents."""
        path: list[int] = []
        device: str | None = None
        while pid not in self._whose:
            path.append(pid)
            device = self._keepers.get(pid)
            stat = stats.get(pid)
            if device is not None or stat is None or stat.parent in path:
                break
            pid = stat.parent
        else:
            device = self._whose[pid][0]
        for one in path:
            if one in stats:
                self._whose[one] = (device, stats[one].began)


def _stat(pid: int) -> _Stat | None:
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None  # ended meanwhile
    # The command name in parentheses may hold anything; fields count from its last parenthesis.
    fields = data[data.rindex(b")") + 2 :].split(None, 22)
    ticks = sum(map(int, fields[11:15]))  # its own, and those of children that it has seen end
    return _Stat(int(fields[1]), int(fields[19]), ticks / _TICKS_A_SECOND, int(fields[21]) * _PAGE_BYTES)
