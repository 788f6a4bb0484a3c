"""NVML of a machine that there is not: as many GPUs as wished.

They can be divided (MIG), held by others, refused to us; they can vanish, hang, or lack a counter.
"""

from __future__ import annotations

import time
import types
from dataclasses import dataclass, field


@dataclass
class FakeGpu:
    """One GPU; what is None is not supported."""

    utilisation: int | None = 90
    memory: int | None = 60 << 30
    power_w: float | None = 500.0
    counter: bool = True
    sm_mhz: int | None = 1700
    reasons: int | None = 0
    gone: bool = False
    refused: bool = False
    instances: dict[int, str] | None = None  # place -> MIG id; None: not in MIG mode
    instance_memory: int = 1 << 30
    holders: list[tuple[int, int | None]] | None = field(
        default_factory=list
    )  # pid and bytes; None: not told
    total: int = 80 << 30
    name: str | bytes = b"NVIDIA Fake 80GB"
    began: float = 0.0


class FakeNvml:
    """Stands in for the module `pynvml`."""

    NVML_CLOCK_SM = 1

    class NVMLError(Exception):
        def __init__(self, text: str, value: int = 999) -> None:
            super().__init__(text)
            self.value = value

    def __init__(self, count: int = 1, cuda: int = 13000) -> None:
        self.gpus = [FakeGpu(began=time.monotonic()) for _ in range(count)]
        self.look_ups = 0
        self.hang_s = 0.0
        self.cuda = cuda

    @staticmethod
    def uuid(index: int) -> str:
        return f"GPU-{index:08x}-0000-1111-2222-333344445555"

    def _gpu(self, handle: int | tuple[int, int]) -> FakeGpu:
        """Return the GPU of a handle; one of a MIG instance is (GPU, place)."""
        if self.hang_s:
            time.sleep(self.hang_s)
        gpu = self.gpus[handle[0] if isinstance(handle, tuple) else handle]
        if gpu.gone:
            raise self.NVMLError("GPU is lost", 15)
        return gpu

    def _known(self, value):
        if value is None:
            raise self.NVMLError("Not Supported", 3)
        return value

    def _whole(self, handle: int | tuple[int, int]) -> FakeGpu:
        """As `_gpu`, for what is not told of a MIG instance."""
        if isinstance(handle, tuple):
            raise self.NVMLError("Not Supported", 3)
        return self._gpu(handle)

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.159.04"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        return self.cuda

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if not 0 <= index < len(self.gpus):
            raise self.NVMLError("Invalid Argument", 2)
        if self.gpus[index].refused:
            raise self.NVMLError("Insufficient Permissions", 4)
        self._gpu(index)
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int | tuple[int, int]:  # noqa: N802
        self.look_ups += 1
        for index, gpu in enumerate(self.gpus):
            if gpu.refused:
                continue
            names = {self.uuid(index): index}
            for place, name in (gpu.instances or {}).items():
                names[name] = names[f"MIG-{self.uuid(index)}/{place + 1}/0"] = (index, place)
            if uuid in names:
                self._gpu(index)
                return names[uuid]
        raise self.NVMLError("Not Found", 6)

    def nvmlDeviceGetUUID(self, handle: int | tuple[int, int]) -> str:  # noqa: N802
        gpu = self._gpu(handle)
        return gpu.instances[handle[1]] if isinstance(handle, tuple) else self.uuid(handle)

    def nvmlDeviceGetMigMode(self, handle: int) -> tuple[int, int]:  # noqa: N802
        gpu = self._gpu(handle)
        if handle % 2 and gpu.instances is None:  # as a GPU that knows no MIG says it
            raise self.NVMLError("Not Supported", 3)
        return (0, 0) if gpu.instances is None else (1, 1)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: int) -> int:  # noqa: N802
        return 0 if self._gpu(handle).instances is None else 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: int, place: int) -> tuple[int, int]:  # noqa: N802
        if place not in self._gpu(handle).instances:
            raise self.NVMLError("Not Found", 6)
        return handle, place

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:  # noqa: N802
        return self._gpu(handle).name

    def nvmlDeviceGetMemoryInfo(self, handle: int):  # noqa: N802
        gpu = self._gpu(handle)
        if isinstance(handle, tuple):
            return types.SimpleNamespace(used=gpu.instance_memory, total=gpu.total // 7)
        return types.SimpleNamespace(used=self._known(gpu.memory), total=gpu.total)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list:  # noqa: N802
        held = self._known(self._gpu(handle).holders)
        return [types.SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in held]

    def nvmlDeviceGetUtilizationRates(self, handle: int):  # noqa: N802
        return types.SimpleNamespace(gpu=self._known(self._whole(handle).utilisation), memory=0)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        return int(self._known(self._whole(handle).power_w) * 1000)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        gpu = self._whole(handle)
        if not gpu.counter:
            raise self.NVMLError("Not Supported")
        return int((time.monotonic() - gpu.began) * self._known(gpu.power_w) * 1000) + 10**9

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:  # noqa: N802
        assert kind == self.NVML_CLOCK_SM
        return self._known(self._whole(handle).sm_mhz)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:  # noqa: N802
        return self._known(self._whole(handle).reasons)
