"""Where a stage runs, and where its model is: on its devices in its interpreter, or at somebody else's endpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edit_eval
from edit_eval.core.errors import ConfigError
from edit_eval.driver.config import EditorConfig, JudgeConfig, StageConfig
from edit_eval.driver.devices import Device, Gpu, GpuMemory, default_devices, parse_devices
from edit_eval.driver.events import StageName
from edit_eval.driver.interpreters import Interpreter
from edit_eval.driver.registry import Found
from edit_eval.driver.scratch import Scratch
from edit_eval.driver.stage import Deadlines, StageSpec

__all__ = ["Place", "remote_name", "stage_devices", "stage_spec"]


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


def stage_spec(
    name: StageName,
    config: EditorConfig | JudgeConfig,
    found: Found,
    place: Place,
    message: Mapping[str, Any],
) -> StageSpec:
    """Return what a pool must know of a stage, whose hosts are loaded with `message`."""
    package, location = found.package
    packages = {"edit_eval": Path(edit_eval.__file__).resolve().parent}
    packages.setdefault(package if location.is_dir() else f"{package}.py", location)
    asks = GpuMemory() if found.cls.engine else None
    return StageSpec(
        name=name,
        devices=place.devices,
        interpreter=place.interpreter,
        env=_env(config, place),
        packages=packages,
        message=message,
        deadlines=Deadlines(**config.deadlines.model_dump()),
        max_attempts=config.max_attempts,
        numbers={device: asks.numbers(device) for device in place.devices} if asks else {},
        shares_memory=found.cls.engine,
        proxy=place.proxy,
        prepares=found.cls.prepares if name == "judge" else False,
    )


def _env(config: StageConfig, place: Place) -> dict[str, str]:
    """Return the variables of a stage's hosts: what the config says is above where caches go."""
    said = {key: str(value) for key, value in config.env.items()}
    interpreter = {key: value for key, value in place.interpreter.env.items() if value is not None}
    return {**place.scratch.environment({**os.environ, **interpreter, **said}), **said}
