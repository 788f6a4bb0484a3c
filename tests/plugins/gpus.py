"""A machine with GPUs, seen through the few NVML calls that there are: for `monkeypatch.setattr(devices, "_nvml", ...)`."""

from __future__ import annotations

import types

GIB = 1 << 30


class FakeGpus:
    class NVMLError(Exception):
        pass

    def __init__(
        self,
        count: int,
        total: int = 80 * GIB,
        used: dict[int, int] | None = None,
        holders: dict[int, int] | None = None,
        name: str = "NVIDIA H100 80GB HBM3",
        cuda: int = 13000,
    ):
        self._count, self._total, self._used, self._holders = count, total, used or {}, holders or {}
        self._name, self._cuda = name, cuda

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self._count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> types.SimpleNamespace:  # noqa: N802
        return types.SimpleNamespace(used=self._used.get(handle, 300 << 20), total=self._total)

    def nvmlDeviceGetName(self, _handle: int) -> str:  # noqa: N802
        return self._name

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.159.04"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        return self._cuda

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[types.SimpleNamespace]:  # noqa: N802
        pid = self._holders.get(handle)
        return [] if pid is None else [types.SimpleNamespace(pid=pid, usedGpuMemory=self._used[handle])]
