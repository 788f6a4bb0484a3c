"""Where a stage runs, and where its model is: on its devices in its interpreter, or at somebody else's endpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import edit_eval
from edit_eval.core.errors import ConfigError
from edit_eval.driver.backends import Backend, DevicesAsked
from edit_eval.driver.backends.local import LocalBackend
from edit_eval.driver.config import BackendConfig, EditorConfig, JudgeConfig, StageConfig
from edit_eval.driver.devices import Device, Gpu, GpuMemory
from edit_eval.driver.events import StageName
from edit_eval.driver.interpreters import Interpreter
from edit_eval.driver.registry import Found
from edit_eval.driver.scratch import Scratch
from edit_eval.driver.stage import Deadlines, StageSpec

__all__ = ["Place", "open_backend", "remote_name", "stage_devices", "stage_spec"]


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


def open_backend(config: BackendConfig, temporary: Path | None = None, gpus: Sequence[Gpu] = ()) -> Backend:
    """Return what finds devices and starts keepers; whatever it holds, it takes when it is first asked for something.

    Args:
        config: `backend` of the config.
        temporary: folder for temporary files, where not that of every program.
        gpus: of this machine.
    """
    if config.type == "local":
        return LocalBackend(temporary, gpus)
    from edit_eval.driver.backends.ray import RayBackend

    return RayBackend(config)


def stage_devices(
    where: Literal["editor", "judge"], stage: StageConfig, found: Found, backend: Backend
) -> list[Device]:
    """Return the devices of a stage, defaults included. Raises `DeviceError`."""
    return backend.devices(DevicesAsked(where, stage.devices, found.cls.accelerated, found.cls.remote_model))


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
        numbers={one: asks.numbers(one) for one in place.devices if not one.node} if asks else {},
        shares_memory=found.cls.engine,
        proxy=place.proxy,
        prepares=found.cls.prepares if name == "judge" else False,
    )


def _env(config: StageConfig, place: Place) -> dict[str, str]:
    """Return the variables of a stage's hosts: what the config says is above where caches go."""
    said = {key: str(value) for key, value in config.env.items()}
    interpreter = {key: value for key, value in place.interpreter.env.items() if value is not None}
    return {**place.scratch.environment({**os.environ, **interpreter, **said}), **said}
