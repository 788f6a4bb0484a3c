"""One pipeline over several devices: each model whole on one of them, and one that fits on none split by its blocks.

accelerate's hooks carry what passes from device to device. The arithmetic is the same, done in more than one place and not
faster: it is for models that fit on no single device.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edit_eval.core.errors import ModelError
from edit_eval.editors._memory import is_denoiser

__all__ = ["Place", "connect", "index_of", "is_split", "places", "room", "weights_bytes"]

Place = str | Mapping[str, int]
"""The device of a whole model; for one that is split how many bytes of it each device may hold."""

_SPLIT = "split"
_RESERVE_BYTES = 6 << 30
"""Kept free on every device for what is computed: Qwen-Image-Edit at 1024 x 1024 with guidance held 58.0 GiB at most on one
device (`perf/edit.py`), 53.8 GiB of it weights."""


def room(devices: Sequence[str]) -> dict[str, int]:
    """Return how many bytes of weights each device has room for.

    Raises:
        ModelError: accelerate is not installed.
    """
    if importlib.util.find_spec("accelerate") is None:
        raise ModelError(
            "editor.devices: one editor over several devices needs accelerate: pip install accelerate"
        )
    import torch

    return {one: max(0, torch.cuda.mem_get_info(one)[0] - _RESERVE_BYTES) for one in devices}


def places(sizes: Mapping[str, int], free: Mapping[str, int]) -> dict[str, Place]:
    """Say where each model goes: the largest first, each whole where most room is left, else split over all of it.

    Args:
        sizes: of the models, in bytes.
        free: device -> bytes of weights that it has room for.

    Raises:
        ModelError: together they are too large.
    """
    left = dict(free)
    found: dict[str, Place] = {}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        most = max(left, key=left.__getitem__)
        if size <= left[most]:
            found[name] = most
            left[most] -= size
            continue
        total = sum(left.values())
        if size > total:
            raise ModelError(
                f"editor.devices: {sum(sizes.values()) / 2**30:.1f} GiB of weights do not fit on "
                f"{', '.join(free)}, which have room for {sum(free.values()) / 2**30:.1f} GiB; give each editor more "
                "devices, or see 'memory' in docs/models.md"
            )
        found[name] = dict(left)
        left = {device: bytes_ * (total - size) // total for device, bytes_ in left.items()}
        left[most] += total - size - sum(left.values())
    return found


def weights_bytes(place: Path, dtype: str) -> int:
    """Return how large a component is once it is loaded: a folder, or one file. `dtype`: torch's name."""
    import torch
    from safetensors import safe_open

    width = torch.empty((), dtype=getattr(torch, dtype)).element_size()
    count = 0
    for path in [place] if place.is_file() else place.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            count += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return count * width or sum(path.stat().st_size for path in place.glob("*.bin"))


def index_of(device: str) -> int:
    """Return the number in torch's name of a device."""
    return int(device.partition(":")[2] or 0)


def is_split(pipeline: Any, model: Any) -> bool:
    """Whether a model of a pipeline lies on several devices, with hooks on its parts."""
    where = getattr(pipeline, "hf_device_map", None) or {}
    return any(where.get(name) == _SPLIT for name, one in pipeline.components.items() if one is model)


def connect(pipeline: Any, where: Mapping[str, Place]) -> None:
    """Have every model of a pipeline take its inputs from wherever they are.

    Args:
        pipeline: its models lie where `where` says.
        where: as of `places`.
    """
    import torch
    from accelerate import dispatch_model
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    for name, component in pipeline.components.items():
        place = where.get(name)
        if not isinstance(component, torch.nn.Module) or not isinstance(place, str):
            continue  # who is split has its hooks already
        if is_denoiser(name):  # is called as a whole; with hooks within, its blocks could not be compiled
            add_hook_to_module(component, AlignDevicesHook(execution_device=place, io_same_device=True))
        else:  # parts of it may be called: the decoder of a VAE
            dispatch_model(component, {"": place}, force_hooks=True)
    # By this name diffusers knows that the models have their devices, and leaves their hooks alone.
    pipeline.hf_device_map = {
        name: place if isinstance(place, str) else _SPLIT for name, place in where.items()
    }
