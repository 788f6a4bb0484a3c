"""A machine with GPUs in a few words, for `monkeypatch.setattr(devices, "_nvml", ...)`."""

from __future__ import annotations

from fake_nvml import FakeNvml

GIB = 1 << 30


class FakeGpus(FakeNvml):
    """As many GPUs as wished; bytes in use and the pid of who holds them, by index."""

    def __init__(
        self,
        count: int,
        total: int = 80 * GIB,
        used: dict[int, int] | None = None,
        holders: dict[int, int] | None = None,
        name: str = "NVIDIA H100 80GB HBM3",
        cuda: int = 13000,
    ):
        super().__init__(count, cuda)
        for index, gpu in enumerate(self.gpus):
            gpu.total, gpu.name = total, name
            gpu.memory = (used or {}).get(index, 300 << 20)
            pid = (holders or {}).get(index)
            gpu.holders = [] if pid is None else [(pid, gpu.memory)]
