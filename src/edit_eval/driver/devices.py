"""Devices: from what a config says (`cuda:0`, `all`, `[cuda:0, cuda:1]`, `cpu:1`) to what a host must see.

`cuda:i` is entry i of the *inherited* `CUDA_VISIBLE_DEVICES`, not physical GPU i. Looks through NVML only, never
through torch; a machine without NVML has no GPUs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edit_eval.core.errors import DeviceError, did_you_mean, shown
from edit_eval.driver.machine import cpu_count
from edit_eval.driver.visibility import units, visible

__all__ = [
    "Device",
    "Gpu",
    "GpuMemory",
    "default_devices",
    "gpu_notes",
    "nvml_fault",
    "parse_devices",
    "visible_gpus",
]

_GIB = 1 << 30
_MOST_INDEX = 9999
_FOREIGN_BYTES = 2 * _GIB
"""Memory in use by others from which a GPU counts as taken; a bare CUDA context or a desktop needs less."""


@dataclass(frozen=True)
class Gpu:
    """One GPU that this process may use.

    Attributes:
        index: position in the inherited `CUDA_VISIBLE_DEVICES`; the i of `cuda:i`.
        token: how that variable names it (integer, UUID or MIG id), to be passed on.
    """

    index: int
    token: str


@dataclass(frozen=True)
class Device:
    """What holds one model replica.

    Attributes:
        kind: `cuda` or `cpu`.
        indices: of its GPUs (in the inherited order), or of its CPU slot.
        tokens: of its GPUs, for the host's `CUDA_VISIBLE_DEVICES`; none on another machine, which knows them itself.
        node: the machine of a cluster that it is on, as people know it; empty: this one.
        place: the same, as the backend knows it.
        threads: for its hosts' libraries; 0: a share of this machine's cores.
    """

    kind: str
    indices: tuple[int, ...]
    tokens: tuple[str, ...] = ()
    node: str = ""
    place: str = ""
    threads: int = 0

    @property
    def label(self) -> str:
        """The name people read: `GPU 0`, `GPU 0+1`, `CPU 2`; `a/GPU 0` on the node a of a cluster."""
        own = f"{'GPU' if self.kind == 'cuda' else 'CPU'} {'+'.join(map(str, self.indices))}"
        return f"{self.node}/{own}" if self.node else own

    @property
    def name(self) -> str:
        """The name a config uses, fit for a file name: `cuda-0`, `cuda-0-1`, `cpu-2`."""
        node = [re.sub(r"[^\w.-]", "_", self.node)] if self.node else []
        return "-".join([*node, self.kind, *map(str, self.indices)])

    @property
    def parts(self) -> frozenset[tuple[str, str, int]]:
        """What it occupies; two devices that share a part cannot hold a model at the same time."""
        return frozenset((self.place, self.kind, index) for index in self.indices)

    @property
    def torch_devices(self) -> tuple[str, ...]:
        """Torch's names for its parts inside a host that sees nothing else."""
        if self.kind == "cpu":
            return ("cpu",)
        return tuple(f"cuda:{position}" for position in range(len(self.indices)))

    def environment(self, hosts_here: int) -> dict[str, str | None]:
        """Return what must be set before a host's Python starts. `hosts_here`: hosts sharing this machine's cores."""
        shared = 1 if self.kind == "cpu" else max(1, cpu_count() // max(1, hosts_here))
        threads = self.threads or shared
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
        return {
            **dict.fromkeys(names, str(threads)),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            **self._visible(),
        }

    def _visible(self) -> dict[str, str | None]:
        """Return which GPUs a host sees; on another machine those that its keeper was given there."""
        if self.kind == "cuda" and self.node:
            return {}
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.tokens) if self.kind == "cuda" else ""}


_GONE = {15, 16}
"""NVML's numbers for a GPU that has fallen off the bus, and for one that must be reset."""

_NVML_FAULTS = {
    4: ("no permission", "ask for access to /dev/nvidia*"),
    9: (
        "the driver is not loaded",
        "load the NVIDIA driver; GPUs must be passed into a container (docker run --gpus all)",
    ),
    18: (
        "driver/library version mismatch",
        "the NVIDIA driver was replaced while in use: reboot, or load its kernel modules anew",
    ),
}
"""What NVML's errors mean and what to do, by number."""


class GpuMemory:
    """Asks NVML for the memory in use on a device; answers None where there is no NVML."""

    def __init__(self) -> None:
        self._nvml: Any = _nvml()

    def used_bytes(self, device: Device) -> int | None:
        """Return the bytes in use on all GPUs of `device`, by whomever; None for CPUs and where NVML cannot tell."""
        return self._memory(device, "used")

    def _memory(self, device: Device, what: str) -> int | None:
        if self._nvml is None or not device.tokens:
            return None
        try:
            return sum(
                int(getattr(self._nvml.nvmlDeviceGetMemoryInfo(self._handle(token)), what))
                for token in device.tokens
            )
        except self._nvml.NVMLError:  # shared with the CPU, or not ours to look at
            return None

    def total_bytes(self, device: Device) -> int | None:
        """Return the memory of all GPUs of `device`; None for CPUs and where NVML cannot tell."""
        return self._memory(device, "total")

    def model_name(self, device: Device) -> str | None:
        """Return what the first GPU of `device` is called (`NVIDIA H100 80GB HBM3`); None as above."""
        if self._nvml is None or not device.tokens:
            return None
        try:
            name = self._nvml.nvmlDeviceGetName(self._handle(device.tokens[0]))
        except self._nvml.NVMLError:
            return None
        return name.decode() if isinstance(name, bytes) else str(name)

    def driver(self) -> tuple[str, tuple[int, int]] | None:
        """Return the version of the NVIDIA driver and the newest CUDA (major, minor) that it runs, or None."""
        if self._nvml is None:
            return None
        try:
            version = self._nvml.nvmlSystemGetDriverVersion()
            cuda = int(self._nvml.nvmlSystemGetCudaDriverVersion_v2())
        except self._nvml.NVMLError:
            return None
        text = version.decode() if isinstance(version, bytes) else str(version)
        return text, (cuda // 1000, cuda % 1000 // 10)

    def holders(self, device: Device) -> list[str]:
        """Return `process (pid) GiB` of everyone who holds memory on `device`, as far as NVML tells.

        NVML names no processes of other containers, and not always how much one holds.
        """
        return [who for who, _ in self._processes(device)]

    def _processes(self, device: Device) -> list[tuple[str, int]]:
        """Return the processes on a device as text, each with its bytes (0: unknown)."""
        if self._nvml is None or not device.tokens:
            return []
        found = []
        for token in device.tokens:
            try:
                processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle(token))
            except self._nvml.NVMLError:
                continue
            for process in processes:
                held = int(process.usedGpuMemory or 0)
                much = f"{held / _GIB:.1f} GiB" if held else "an unknown amount"
                found.append((f"{_process_name(process.pid)} (pid {process.pid}) {much}", held))
        return found

    def fault(self, device: Device) -> str:
        """Return why a device cannot be used any more (`GPU 3 is gone: GPU is lost`); empty if nothing is known of it."""
        if self._nvml is None or not device.tokens:
            return ""
        for index, token in zip(device.indices, device.tokens, strict=True):
            try:
                self._nvml.nvmlDeviceGetMemoryInfo(self._handle(token))
            except self._nvml.NVMLError as error:
                if getattr(error, "value", None) in _GONE:
                    return f"GPU {index} is gone (NVML: {error})"
        return ""

    def taken(self, devices: Iterable[Device]) -> dict[Device, str]:
        """Return the devices whose memory others hold, each with the GiB and the processes, or that are gone; for people."""
        found = {}
        for device in devices:
            used = self.used_bytes(device)
            if used is None:
                if fault := self.fault(device):
                    found[device] = fault
            elif used > _FOREIGN_BYTES:
                found[device] = f"{device.label}: {used / _GIB:.1f} GiB held by {self._who(device, used)}"
        return found

    def _who(self, device: Device, used: int) -> str:
        """Return who holds `used` bytes, and how much of it nobody that can be seen here holds."""
        known = self._processes(device)
        if not known:
            return "a process that cannot be seen from here"
        hidden = used - sum(held for _, held in known)
        names = [who for who, _ in known]
        if hidden > _FOREIGN_BYTES and all(held for _, held in known):
            names.append(f"processes that cannot be seen from here {hidden / _GIB:.1f} GiB")
        return ", ".join(names)

    def share(self, device: Device, reserve_bytes: int) -> float | None:
        """Return the part of a device's memory that may be taken: (free - reserve) / total, of its fullest GPU.

        Rounded down to a thousandth and never below 0: what vLLM calls `gpu_memory_utilization`, which it takes of
        the whole memory and not of what is free. None for CPUs and where NVML cannot tell.
        """
        if self._nvml is None or not device.tokens:
            return None
        shares = []
        for token in device.tokens:
            try:
                found = self._nvml.nvmlDeviceGetMemoryInfo(self._handle(token))
            except self._nvml.NVMLError:
                return None
            free = int(found.total) - int(found.used) - reserve_bytes
            shares.append(max(0, free * 1000 // int(found.total)) / 1000)
        return min(shares)

    def numbers(self, device: Device) -> tuple[str, ...]:
        """Return plain integers that name a device's GPUs, for programs that know no UUIDs.

        A MIG instance has none of its own: the number of its GPU stands for the first one.

        Raises:
            DeviceError: there is no such number.
        """
        if self._nvml is None or all(token.isdigit() for token in device.tokens):
            return device.tokens
        every = [one for one in units(self._nvml) if one.permitted]
        found = []
        for token in device.tokens:
            fitting = [
                number
                for number, one in enumerate(every)
                if token in (one.uuid, *one.instances[:1]) or token == str(one.index)
            ]
            if not fitting:
                raise DeviceError(
                    f"{device.label} is {token}, which no number stands for, and this kind takes GPUs by number only; "
                    "give it a whole GPU, or the first MIG instance of one"
                )
            found.append(str(fitting[0]))
        return tuple(found)

    def free(self, devices: Sequence[Device], *, leave_out: bool, where: str) -> list[Device]:
        """Return those of `devices` that are free.

        Raises:
            DeviceError: some are not (unless they may be left out), or none is.
        """
        taken = self.taken(devices)
        if taken and (not leave_out or len(taken) == len(devices)):
            mend = (
                "wait until it is free, or name other devices"
                if leave_out
                else ("wait until it is free, name other devices, or set busy_gpus=leave_out")
            )
            raise DeviceError(f"{where}: {'; '.join(taken.values())}; {mend}")
        return [device for device in devices if device not in taken]

    def _handle(self, token: str) -> Any:
        if token.isdigit():
            return self._nvml.nvmlDeviceGetHandleByIndex(int(token))
        return self._nvml.nvmlDeviceGetHandleByUUID(token)


def _process_name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:  # noqa: PTH123 - not a file in the usual sense
            return file.read().strip()
    except OSError:
        return "unknown"


def _nvml() -> Any | None:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def nvml_fault() -> tuple[str, str]:
    """Return why NVML does not answer, and what to do; both empty where it does, or where there is no driver at all."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            return "", ""
        text, mend = _NVML_FAULTS.get(error.value, (str(error), "ask who looks after this machine"))
        return f"NVML: {text}", mend
    return "", ""


def visible_gpus() -> list[Gpu]:
    """Return the GPUs that this process may use, in the order of the inherited `CUDA_VISIBLE_DEVICES`.

    As CUDA does, the list ends at the first entry that names no GPU. A GPU in MIG mode stands for its instances.

    Raises:
        DeviceError: the variable names something twice.
    """
    nvml = _nvml()
    if nvml is None:
        return []
    tokens = visible(nvml, os.environ.get("CUDA_VISIBLE_DEVICES")).tokens
    return [Gpu(index, token) for index, token in enumerate(tokens)]


def gpu_notes() -> tuple[str, ...]:
    """Return what is there and cannot be used, and why; for people. Raises as `visible_gpus`."""
    nvml = _nvml()
    return visible(nvml, os.environ.get("CUDA_VISIBLE_DEVICES")).notes if nvml is not None else ()


def default_devices(*, accelerated: bool) -> list[str]:
    """Return what `devices` means where the config leaves it out."""
    if accelerated:
        return ["all"]
    return [f"cpu:{index}" for index in range(min(cpu_count(), 8))]


def parse_devices(wanted: Any, where: str, gpus: Sequence[Gpu]) -> list[Device]:
    """Return the devices that a config names.

    Args:
        wanted: `all`, `cpu`, `cuda:0`, 0, or a list of these; an inner list is one device of several GPUs.
        where: the config key, for messages.
        gpus: what `visible_gpus` found.

    Raises:
        DeviceError: unknown or doubled devices, or more GPUs than there are.
    """
    entries = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    if any("ray" in one if isinstance(one, dict) else str(one).partition(":")[0] == "ray" for one in entries):
        raise DeviceError(f"{where}: {shown(wanted)} needs backend: ray; else write all, cuda:0 or cpu:0")
    if not entries:
        raise DeviceError(f"{where}: an empty list; name at least one device, such as cpu:0 or all")
    found: list[Device] = []
    for entry in entries:
        if isinstance(entry, (list, tuple)):
            found.append(_composite(entry, where, gpus))
        elif entry in ("all", "cuda", "gpu"):
            found += _all_gpus(where, gpus)
        else:
            found.append(_single(entry, where))
    _check_counts(found, where, gpus)
    taken: set[tuple[str, str, int]] = set()
    for device in found:
        if device.parts & taken:
            raise DeviceError(f"{where}: {device.label} is named twice")
        taken |= device.parts
    return [_with_tokens(device, where, gpus) for device in found]


def _all_gpus(where: str, gpus: Sequence[Gpu]) -> list[Device]:
    if not gpus:
        raise DeviceError(
            f"{where}: all GPUs are asked for, but {_how_many(gpus)}; run where there are some, or set {where}=[cpu:0]"
        )
    return [Device("cuda", (gpu.index,)) for gpu in gpus]


def _single(entry: Any, where: str) -> Device:
    if isinstance(entry, int) and not isinstance(entry, bool) and 0 <= entry <= _MOST_INDEX:
        return Device("cuda", (entry,))
    if entry == "cpu":
        return Device("cpu", (0,))
    text = entry if isinstance(entry, str) else ""
    match = re.fullmatch(r"(cuda|cpu):(\d{1,4})", text, re.ASCII)
    if not match:
        near = re.sub(r"^(gpu|cuda)[ :_-]?", "cuda:", text.lower())
        hint = did_you_mean(text, ["all", "cpu", "cpu:0", "cuda:0", "cuda:1"])
        if re.fullmatch(r"cuda:\d{1,4}", near, re.ASCII):
            hint = f" (did you mean {near!r}?)"
        raise DeviceError(f"{where}: unknown device {shown(entry)}{hint or '; write cuda:0, cpu:0 or all'}")
    return Device(match[1], (int(match[2]),))


def _composite(entries: Sequence[Any], where: str, gpus: Sequence[Gpu]) -> Device:
    parts = [_single(entry, where) for entry in entries]
    if not parts or any(part.kind != "cuda" for part in parts):
        raise DeviceError(
            f"{where}: one device of several parts must be made of GPUs, such as [cuda:0, cuda:1]"
        )
    indices = tuple(part.indices[0] for part in parts)
    if len(set(indices)) != len(indices):
        raise DeviceError(f"{where}: {shown(list(entries))} names a GPU twice")
    _check_counts(parts, where, gpus)
    return Device("cuda", indices)


def _check_counts(devices: Sequence[Device], where: str, gpus: Sequence[Gpu]) -> None:
    asked = sorted({index for device in devices if device.kind == "cuda" for index in device.indices})
    if asked and asked[-1] >= len(gpus):
        names = ", ".join(f"cuda:{index}" for index in asked)
        cpus = min(len(devices), cpu_count())
        mend = (
            f"set {where}=[{', '.join(f'cuda:{gpu.index}' for gpu in gpus)}]"
            if gpus
            else (
                "run it on a machine with GPUs, or set "
                f"{where}=[{','.join(f'cpu:{index}' for index in range(cpus))}] to use the CPU"
            )
        )
        raise DeviceError(f"{where}: {names} asked for, but {_how_many(gpus)}; {mend}")


def _how_many(gpus: Sequence[Gpu]) -> str:
    masked = os.environ.get("CUDA_VISIBLE_DEVICES")
    note = f" (CUDA_VISIBLE_DEVICES={masked!r})" if masked is not None else ""
    if not gpus:
        why = nvml_fault()[0] if _nvml() is None else "; ".join(gpu_notes())
        return f"there is no GPU here{note}" + (f" ({why})" if why else "")
    return f"there {'is 1 GPU' if len(gpus) == 1 else f'are {len(gpus)} GPUs'} here{note}"


def _with_tokens(device: Device, where: str, gpus: Sequence[Gpu]) -> Device:
    if device.kind == "cpu":
        return device
    tokens = tuple(gpus[index].token for index in device.indices)
    if len(tokens) > 1 and any(token.startswith("MIG-") for token in tokens):
        raise DeviceError(
            f"{where}: {device.label} would hold several MIG instances, and CUDA gives a process one only; name each by "
            "itself"
        )
    return Device("cuda", device.indices, tokens)
