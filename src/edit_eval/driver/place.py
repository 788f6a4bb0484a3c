"""Where a stage runs, and where its model is: on its devices in its interpreter, or at somebody else's endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edit_eval.core.errors import ConfigError
from edit_eval.driver.config import StageConfig
from edit_eval.driver.devices import Device, Gpu, GpuMemory, default_devices, parse_devices
from edit_eval.driver.interpreters import Interpreter
from edit_eval.driver.registry import Found
from edit_eval.driver.scratch import Scratch

__all__ = ["Place", "remote_name", "stage_devices"]


@dataclass(frozen=True)
class Place:
    """Where a stage runs; `scratch` is the run's."""

    devices: Sequence[Device]
    interpreter: Interpreter
    scratch: Scratch
    proxy: str


def remote_name(stage: StageConfig, found: Found, where: str = "judge") -> str | None:
    """Return the name of a stage's model at an endpoint; None for a kind whose model is here. Raises `ConfigError`."""
    if found.cls.remote_model and not stage.model:
        raise ConfigError(f"{where}.model: is missing; give the model's name at the endpoint")
    return stage.model if found.cls.remote_model else None


def stage_devices(where: str, stage: StageConfig, found: Found, gpus: Sequence[Gpu]) -> list[Device]:
    """Return the devices of a stage, defaults included; `auto` is one, free if any is. Raises `DeviceError`."""
    accelerated, devices = found.cls.accelerated, stage.devices
    if found.cls.remote_model and devices in (None, "auto", ["auto"]):
        devices = ["cpu:0"]  # one process holds any number of connections
    if devices is None:
        devices = default_devices(accelerated=accelerated)
    if devices in ("auto", ["auto"]):
        devices = _one_device(gpus) if gpus else ["cuda:0" if accelerated else "cpu:0"]
    return parse_devices(devices, f"{where}.devices", gpus)


def _one_device(gpus: Sequence[Gpu]) -> list[str]:
    """Return the first GPU whose memory nobody else holds; the first of all where every one is held."""
    asks = GpuMemory()
    every = [Device("cuda", (gpu.index,), (gpu.token,)) for gpu in gpus]
    free = [device for device in every if not asks.taken([device])]
    return [f"cuda:{(free or every)[0].indices[0]}"]
