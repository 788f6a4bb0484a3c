"""NVML of a machine that there is not: as many GPUs as wished, which can vanish, hang, or lack a counter."""

from __future__ import annotations

import time
import types
from dataclasses import dataclass


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
    began: float = 0.0


class FakeNvml:
    """Stands in for the module `pynvml`."""

    NVML_CLOCK_SM = 1

    class NVMLError(Exception):
        pass

    def __init__(self, count: int = 1) -> None:
        self.gpus = [FakeGpu(began=time.monotonic()) for _ in range(count)]
        self.look_ups = 0
        self.hang_s = 0.0

    @staticmethod
    def uuid(index: int) -> str:
        return f"GPU-{index:08x}-0000-1111-2222-333344445555"

    def _gpu(self, handle: int) -> FakeGpu:
        if self.hang_s:
            time.sleep(self.hang_s)
        gpu = self.gpus[handle]
        if gpu.gone:
            raise self.NVMLError("GPU is lost")
        return gpu

    def _known(self, value):
        if value is None:
            raise self.NVMLError("Not Supported")
        return value

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if not 0 <= index < len(self.gpus):
            raise self.NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802
        self.look_ups += 1
        for index, gpu in enumerate(self.gpus):
            if uuid == self.uuid(index) and not gpu.gone:
                return index
        raise self.NVMLError("Not Found")

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return self.uuid(handle)

    def nvmlDeviceGetName(self, handle: int) -> bytes:  # noqa: N802
        return b"NVIDIA Fake 80GB"

    def nvmlDeviceGetMemoryInfo(self, handle: int):  # noqa: N802
        return types.SimpleNamespace(used=self._known(self._gpu(handle).memory), total=80 << 30)

    def nvmlDeviceGetUtilizationRates(self, handle: int):  # noqa: N802
        return types.SimpleNamespace(gpu=self._known(self._gpu(handle).utilisation), memory=0)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        return int(self._known(self._gpu(handle).power_w) * 1000)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        gpu = self._gpu(handle)
        if not gpu.counter:
            raise self.NVMLError("Not Supported")
        return int((time.monotonic() - gpu.began) * self._known(gpu.power_w) * 1000) + 10**9

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:  # noqa: N802
        assert kind == self.NVML_CLOCK_SM
        return self._known(self._gpu(handle).sm_mhz)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:  # noqa: N802
        return self._known(self._gpu(handle).reasons)
