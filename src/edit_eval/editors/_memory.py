"""Models larger than their device: what of a pipeline waits in main memory, and comes to the device when it is used.

Exact: the arithmetic is the same, it only waits for weights. Storing weights in float8 is an approximation, and stands
there (`_approximate`). diffusers' whole-model offloading is not used: it moves the denoiser to pageable memory and back
for every edit (48.9 s for 54 GiB, measured), where layers that come from pinned memory overlap with arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["MEMORY", "breaks_blocks", "is_denoiser", "offload", "stays"]

MEMORY: Sequence[str] = ("full", "encoder_offload", "group_offload")
"""full: everything on the device. encoder_offload: layers of the encoders come when they are used, twice an edit.
group_offload: blocks of the denoiser too, in every step."""

_DENOISERS = ("transformer", "transformer_2", "unet")


def is_denoiser(component: str) -> bool:
    """Whether a component of a pipeline is what runs in every step."""
    return component in _DENOISERS


def stays(component: str, memory: str) -> bool:
    """Whether a component of a pipeline is on the device all the time; `memory`: one of `MEMORY`."""
    if memory == "full":
        return True
    if "encoder" in component:
        return False
    return memory == "encoder_offload" or not is_denoiser(component)


def breaks_blocks(memory: str) -> bool:
    """Whether the denoiser's blocks get hooks, so that one is no longer one graph."""
    return memory == "group_offload"


def offload(pipeline: Any, memory: str, device: str) -> None:
    """Put what does not stay into main memory, and have it come to the device when it is used.

    On a GPU the next layers come while these ones compute, out of pinned memory: as much main memory as they are large.
    """
    import torch
    from diffusers.hooks import apply_group_offloading

    on_gpu = device.startswith("cuda")
    for name, component in pipeline.components.items():
        if not isinstance(component, torch.nn.Module):
            continue
        if stays(name, memory):
            component.to(device)
            continue
        by_block = {"offload_type": "block_level", "num_blocks_per_group": 1}
        how: dict[str, Any] = by_block if is_denoiser(name) else {"offload_type": "leaf_level"}
        apply_group_offloading(
            component,
            onload_device=torch.device(device),
            offload_device=torch.device("cpu"),
            use_stream=on_gpu,
            non_blocking=on_gpu,
            **how,
        )
