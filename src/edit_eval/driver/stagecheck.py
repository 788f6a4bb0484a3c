"""The doctor's look at one stage: its interpreter and libraries, its model, its devices, and whether they fit.

Loads nothing. Where there are GPUs (or with `deep`), the stage's interpreter imports torch and times a Conv3d.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from edit_eval.core.errors import ModelError, UserError
from edit_eval.driver.backends import Backend
from edit_eval.driver.checkpoints import Checkpoint, inspect_checkpoint, memory_need, refuse_cut_off
from edit_eval.driver.config import StageConfig
from edit_eval.driver.devices import Device, GpuMemory
from edit_eval.driver.environments import Environment, TorchFacts, older, probe_environment
from edit_eval.driver.findings import Finding, bad, from_error, ok, warn
from edit_eval.driver.hubcache import FETCH, HubCache
from edit_eval.driver.interpreters import Interpreter, resolve_interpreter
from edit_eval.driver.machine import memory, size_text
from edit_eval.driver.models import find_lora, find_model, is_local
from edit_eval.driver.place import stage_devices
from edit_eval.driver.registry import Found
from edit_eval.editors._memory import MEMORY
from edit_eval.editors._pipeline import first_release

__all__ = ["Measured", "StageCheck"]

Measured = dict[tuple[str, Device | None, tuple[tuple[str, str], ...]], TorchFacts | None]
"""What torch said, by interpreter, device and environment: two stages that share these are asked once."""

_SHOWN = ("torch", "diffusers", "transformers", "PIL", "accelerate")
_SLOW_FACTOR = 20.0
_SLOW_S = 0.02
"""A Conv3d patch embedding counts as slow from 20 times the equal Linear's time, if it takes over 20 ms: sound builds
are within a few times of it, slow ones 100 to 50,000 times above (pytorch#174051, pytorch#166122)."""

_MAIN_MEMORY_BYTES = 4 << 30
"""Main memory of a process beside its GPU: libraries, CUDA's context, images; weights go through the page cache."""

_WRONG = 0.05
"""Largest difference to the Linear, as a share of its largest value, that rounding can explain (bfloat16: 0.4 % a
value). Some builds compute wrong values (pytorch#163539)."""


class StageCheck:
    """One stage of a config.

    Args:
        kind: `editor` or `judge`.
        config: its section.
        found: its class.
        params: its parameters, checked.
        measured: by earlier checks; added to.
        cache: where models of a hub are looked for.
        backend: finds the devices.
        leave_out: whether GPUs that others hold may be left out.
        deep: whether to import torch also where there is no GPU.
    """

    def __init__(
        self,
        kind: Literal["editor", "judge"],
        config: StageConfig,
        found: Found,
        params: Any,
        measured: Measured,
        cache: HubCache,
        backend: Backend,
        *,
        leave_out: bool,
        deep: bool,
    ) -> None:
        self._kind = kind
        self._config = config
        self._found = found
        self._params = params
        self._measured = measured
        self._cache = cache
        self._backend = backend
        self._leave_out = leave_out
        self._deep = deep
        self._memory = GpuMemory()
        self._devices: Sequence[Device] = ()
        self._checkpoint: Checkpoint | None = None

    def findings(self) -> Iterator[Finding]:
        """Yield everything that was found about this stage."""
        yield from self._look_at_devices()
        yield from self._look_at_model()
        yield from self._look_at_lora()
        yield from self._fit()
        yield from self._look_at_interpreter()

    def before_editing(self) -> Iterator[Finding]:
        """Yield what was found about a model that is loaded only later: its files, and its interpreter's libraries."""
        yield from self._look_at_model()
        yield from self._look_at_interpreter()

    def _key(self, name: str) -> str:
        return f"{self._kind}.{name}"

    # Devices

    def _look_at_devices(self) -> Iterator[Finding]:
        what = self._key("devices")
        try:
            self._devices = stage_devices(self._kind, self._config, self._found, self._backend)
        except UserError as error:
            yield from from_error(what, error, f"correct {what}")
            return
        taken = self._memory.taken(self._devices)
        if free := [one.label for one in self._devices if one not in taken]:
            yield ok(what, ", ".join(free))
        may_go_on = self._leave_out and len(taken) < len(self._devices)
        for device, line in taken.items():
            gone = bool(self._memory.fault(device))
            if may_go_on:
                mend = (
                    "reset it (nvidia-smi -r), or reboot" if gone else "wait until it is free to use it too"
                )
                yield warn(what, f"left out: {line}", mend)
            elif gone:
                more = "" if self._leave_out else ", or set busy_gpus=leave_out"
                yield bad(what, line, f"reset it (nvidia-smi -r) or reboot, name other devices{more}")
            else:
                more = "" if self._leave_out else ", or set busy_gpus=leave_out"
                yield bad(what, line, f"wait until it is free, name other devices{more}")

    # Model

    def _look_at_model(self) -> Iterator[Finding]:
        what, name, cls = self._key("model"), self._config.model, self._found.cls
        if cls.remote_model:
            if name:
                yield from self._suits(name)
            else:
                yield bad(what, "is missing", "give the model's name at the endpoint")
            return
        if not cls.model_file:
            if name:
                yield bad(what, f"{self._found.name} takes no model", f"leave {what} out")
            if given := getattr(self._config, "components", {}):
                text = f"{self._found.name} has no components, such as {next(iter(given))}"
                yield bad(self._key("components"), text, "leave them out")
            yield from self._suits(None)
            return
        if not name:
            yield bad(what, "is missing", "give a local folder or a hub id such as owner/name")
            return
        again = "copy or download it again" if is_local(name) else FETCH
        try:
            folder = find_model(what, name, cls.model_file, self._cache)
            yield from self._suits(folder)
            parts = self._components()
        except (UserError, OSError) as error:
            offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
            note = " (with HF_HUB_OFFLINE unset, which is set here)" if offline else ""
            for one in from_error(what, error, again):
                yield replace(one, mend=f"{one.mend}{note}")
            return
        for names in getattr(cls, "model_files", ()):
            if not any((folder / one).is_file() for one in names):
                yield bad(what, f"{name}: {' or '.join(names)} is missing", again)
        dtype = getattr(self._params, "dtype", None)
        self._checkpoint = found = inspect_checkpoint(folder, dtype, parts)
        for fault in found.faults:
            yield bad(what, f"{name}: {fault}", again)
        if not found.faults:
            yield ok(
                what,
                f"{name}, whole: {size_text(found.weights_bytes)} in {dtype or 'its own dtype'}, at {folder}",
            )

    def _suits(self, folder: Path | str | None) -> Iterator[Finding]:
        """Ask the class whether the checkpoint (or the model of that name elsewhere) and the parameters are of its kind."""
        found, components = self._found, getattr(self._config, "components", {})
        try:
            if isinstance(folder, Path) and hasattr(found.cls, "check"):
                found.check(str(folder), components)
            self._params = found.resolve(self._params, str(folder) if folder else None)
        except UserError as error:
            if isinstance(error, ModelError):
                mend = f"use another {self._kind}.type, or another model"
                yield from from_error(self._key("model"), error, mend)
            else:
                yield from from_error(self._key("params"), error, f"correct {self._kind}.params")

    def _components(self) -> dict[str, Path]:
        given = getattr(self._config, "components", {})
        return {
            name: find_model(f"editor.components.{name}", path, "", self._cache)
            for name, path in given.items()
        }

    def _look_at_lora(self) -> Iterator[Finding]:
        """Look for the editor's LoRA; its few weights are added to those of the model."""
        lora, what = getattr(self._config, "lora", None), self._key("lora")
        if lora is None:
            return
        if not self._found.cls.takes_lora:
            yield bad(what, f"{self._found.name} takes no LoRA", f"leave {what} out")
            return
        try:
            path = find_lora(what, lora.model, self._cache)
            refuse_cut_off(what, lora.model, path)
            size = path.stat().st_size
        except (UserError, OSError) as error:
            yield from from_error(what, error, "give a .safetensors file, or a hub id of one")
            return
        if self._checkpoint:
            total = self._checkpoint.weights_bytes + size
            self._checkpoint = replace(self._checkpoint, weights_bytes=total)
        yield ok(what, f"{lora.model}, {size_text(size)}, scale {lora.scale:g}, at {path}")

    # Do they fit?

    @property
    def _here(self) -> list[Device]:
        """The devices of this machine: of another one's memory, driver and GPUs nothing is known."""
        return [one for one in self._devices if not one.node]

    def _fit(self) -> Iterator[Finding]:
        if self._checkpoint is None:
            return
        weights = self._checkpoint.on_device(getattr(self._params, "memory", "full"))
        need = memory_need(weights)
        text = f"{size_text(need)} a device ({size_text(weights)} of weights, the rest is margin)"
        what = f"{self._kind} memory"
        gpus = [one for one in self._here if one.kind == "cuda"]
        slots = len(self._here) - len(gpus)
        if not self._devices:
            yield ok(what, f"needs {text}")
        if elsewhere := len(self._devices) - len(self._here):
            whose = f"{elsewhere} device{'' if elsewhere == 1 else 's'} of other nodes"
            yield ok(what, f"needs {text}; that of {whose} is not known here")
        for device in gpus:
            total = self._memory.total_bytes(device)
            if total is None:
                yield warn(what, f"{device.label}: NVML does not tell its memory; needs {text}")
                continue
            line = f"{device.label} has {size_text(total)}, needs {text}"
            yield self._fits(what, line, weights, need, total, len(device.indices))
        there = memory()
        if slots and there:
            each = (
                f"{slots} CPU slots need {size_text(need)} each" if slots > 1 else f"needs {size_text(need)}"
            )
            line = (
                f"{each} ({size_text(weights)} of weights, the rest is margin); {size_text(there.free)} free"
            )
            yield self._fits(what, line, slots * weights, slots * need, there.free, gpus=0)
        if gpus and there and len(gpus) * _MAIN_MEMORY_BYTES > there.total:
            text = (
                f"{len(gpus)} processes take about {size_text(_MAIN_MEMORY_BYTES)} each; there are "
                f"{size_text(there.total)}{' (cgroup)' if there.limited else ''}"
            )
            yield warn(
                f"{self._kind} main memory",
                text,
                "ask for more (sbatch --mem, docker run -m), or use fewer devices",
            )

    def _main_memory(self, mend: str) -> Iterator[Finding]:
        """Compare what GPUs that load through main memory, all at once, need of it with what is free."""
        count = sum(one.kind == "cuda" for one in self._here)
        there = memory()
        if self._checkpoint is None or there is None:
            return
        need = count * self._checkpoint.weights_bytes
        if need > there.free:
            text = f"{count} loads at once put {size_text(need)} there; {size_text(there.free)} are free"
            yield bad(f"{self._kind} main memory", text, f"{mend}, or use fewer devices")

    def _fits(self, what: str, text: str, weights: int, need: int, there: int, gpus: int) -> Finding:
        offloading = self._offloading(there) if gpus == 1 else ""
        if weights > there:
            larger = (
                f"several GPUs for each ({self._kind}.devices: [[cuda:0, cuda:1]])"
                if gpus
                else "fewer devices"
            )
            smaller = f"use {larger}, a smaller model, or a smaller {self._kind}.params.dtype"
            return bad(what, text, offloading or smaller)
        if need > there:
            less = "smaller images or a smaller batch_size, if memory runs out"
            return warn(what, f"tight: {text}", offloading or less)
        return ok(what, text)

    def _offloading(self, there: int) -> str:
        """Return how a model that does not fit a GPU of so many bytes would fit; empty if it cannot."""
        found, mode = self._checkpoint, getattr(self._params, "memory", None)
        if found is None or not found.parts or mode not in MEMORY:
            return ""
        for less in MEMORY[MEMORY.index(mode) + 1 :]:
            if memory_need(found.on_device(less)) <= there:
                return f"set {self._kind}.params.memory to {less}: the rest waits in main memory"
        return ""

    # Interpreter

    def _look_at_interpreter(self) -> Iterator[Finding]:
        what = self._key("python")
        try:
            interpreter = resolve_interpreter(self._kind, self._config.python, self._config.conda)
        except UserError as error:
            if self._config.conda:
                what = self._key("conda")
            yield from from_error(
                what, error, "give the path of a Python 3.10 or newer; ./setup_qwen3_vl_env.sh makes one"
            )
            return
        lora = ("peft",) if getattr(self._config, "lora", None) and self._found.cls.takes_lora else ()
        needs = dict(_name_and_version(one) for one in (*self._found.cls.needs, *lora))
        try:
            found = self._probe(interpreter, needs)
        except UserError as error:
            yield from from_error(what, error, f"give another interpreter as {what}")
            return
        yield from self._libraries(what, interpreter, needs, found)
        if "torch" in needs and found.packages.get("torch"):
            yield from self._cuda(found)
            yield from self._torch(found.torch)

    def _probe(self, interpreter: Interpreter, needs: Mapping[str, str]) -> Environment:
        device = self._device_to_probe()
        env = {name: str(value) for name, value in self._config.env.items()}
        key = (interpreter.python, device, tuple(sorted(env.items())))
        wanted = "torch" in needs and (self._deep or (device is not None and device.kind == "cuda"))
        found = probe_environment(
            interpreter,
            env,
            [*dict.fromkeys([*needs, *(_SHOWN if self._found.cls.model_file else ())])],
            device=device,
            pipelines=self._pipelines(),
            model_types=self._checkpoint.model_types if self._checkpoint else (),
            torch=wanted and key not in self._measured,
        )
        if wanted:
            found = replace(found, torch=self._measured.setdefault(key, found.torch))
        return found

    def _device_to_probe(self) -> Device | None:
        """Return the first device here that is free; None if there is none."""
        taken = self._memory.taken(self._here)
        return next((one for one in self._here if one not in taken), None)

    def _pipelines(self) -> tuple[str, ...]:
        named = getattr(self._params, "pipeline", None) or (self._checkpoint and self._checkpoint.pipeline)
        return (named,) if named and self._found.cls.model_file == "model_index.json" else ()

    def _libraries(
        self, what: str, interpreter: Interpreter, needs: Mapping[str, str], found: Environment
    ) -> Iterator[Finding]:
        lacking = [name for name in needs if found.packages.get(name) is None]
        old = [
            f"{name} {version} (older than {least})"
            for name, least in needs.items()
            if (version := found.packages.get(name)) and least and older(version, least)
        ]
        makes = "run ./setup_qwen3_vl_env.sh, or " if self._kind == "judge" else ""
        packages = " ".join({"PIL": "pillow"}.get(name, name) for name in needs)
        mend = f"{makes}{interpreter.python} -m pip install -U {packages}, or set {what} to one that has them"
        have = [f"{name} {version}" for name, version in found.packages.items() if version]
        text = f"Python {found.python} at {interpreter.python}: {', '.join(have) or 'no library of ours'}"
        if lacking or old:
            lacks = [f"has no {', '.join(lacking)}"] if lacking else []
            yield bad(
                what, f"{interpreter.python} {'; '.join([*lacks, *(f'has {one}' for one in old)])}", mend
            )
        else:
            yield ok(what, text)
        on_gpu = any(one.kind == "cuda" for one in self._devices)
        if (
            on_gpu
            and "torch" in needs
            and "accelerate" in found.packages
            and not found.packages["accelerate"]
        ):
            text = "has no accelerate: every load puts all weights into main memory first"
            yield warn(what, text, f"{interpreter.python} -m pip install accelerate")
            yield from self._main_memory(f"{interpreter.python} -m pip install accelerate")
        for name in found.unknown:
            if name in self._pipelines():
                since = first_release(name)
                text = f"the installed diffusers has no {name}" + (
                    f", which needs {since} or newer" if since else ""
                )
                yield bad(what, text, mend)
            else:
                yield warn(what, f"the installed transformers does not know the model type {name!r}", mend)

    def _cuda(self, found: Environment) -> Iterator[Finding]:
        """Compare the driver with the CUDA that torch was built for, where a GPU is to be used."""
        driver = self._memory.driver()
        if driver is None or not any(one.kind == "cuda" for one in self._here):
            return
        what = f"{self._kind} CUDA"
        runs = f"the driver {driver[0]} runs CUDA up to {driver[1][0]}.{driver[1][1]}"
        mend = "install a build of torch for this driver (./setup_qwen3_vl_env.sh chooses one), or a newer driver"
        built = found.torch_cuda
        if built is None:
            yield bad(what, f"torch {found.packages['torch']} was built without CUDA; {runs}", mend)
        elif built[0] > driver[1][0]:
            yield bad(what, f"torch was built for CUDA {built[0]}.{built[1]}; {runs}", mend)
        else:
            yield ok(what, f"torch was built for CUDA {built[0]}.{built[1]}; {runs}")

    def _torch(self, facts: TorchFacts | None) -> Iterator[Finding]:
        if facts is None:
            return
        on_gpu = any(one.kind == "cuda" for one in self._here)
        if facts.error and (on_gpu or facts.conv_s is None):
            mend = "install a build of torch that suits this machine (./setup_qwen3_vl_env.sh chooses one)"
            yield bad(f"{self._kind} torch", facts.error, mend)
        if facts.conv_s is None or facts.linear_s is None or facts.difference is None:
            return
        what = f"{self._kind} Conv3d"
        ratio = facts.conv_s / facts.linear_s
        text = f"{facts.conv_s * 1000:.1f} ms, the equal Linear {facts.linear_s * 1000:.1f} ms ({facts.conditions})"
        mend = "use another build of torch or cuDNN (2.9 is known for it); ./setup_qwen3_vl_env.sh installs a good one"
        if facts.difference > _WRONG:
            yield bad(what, f"computes wrong values: off by {facts.difference:.0%} of the largest", mend)
        elif ratio > _SLOW_FACTOR and facts.conv_s > _SLOW_S:
            yield warn(what, f"{ratio:,.0f} times slower than it should be: {text}", mend)
        else:
            yield ok(what, text)


def _name_and_version(need: str) -> tuple[str, str]:
    """Split `transformers>=4.57`."""
    name, _, least = need.partition(">=")
    return name, least
