"""The model that `perf/edit.py` measures, what it is asked for, and what is found."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from random_weights import FullSizeEditor, tiny_checkpoint

from edit_eval.core.types import HostContext
from edit_eval.editors import qwen_image_edit
from edit_eval.editors.qwen_image_edit import QwenImageEdit, QwenImageEditParams
from edit_eval.worker.images import open_rgb

__all__ = ["INSTRUCTION", "STEPS", "Bench", "Call", "difference", "set_up", "where"]

STEPS = 40
INSTRUCTION = "Make the door blue."
STARTED = time.monotonic()


@dataclass
class Call:
    """One call of the pipeline: its image, seconds of each step but the first, and of everything."""

    image: Any
    steps_s: list[float]
    whole_s: float


@dataclass
class Bench:
    """The model, what it is asked for, and what was found."""

    arguments: argparse.Namespace
    editor: QwenImageEdit
    sources: list[Path]
    folder: Path
    backend: dict[str, Any]
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def pipeline(self) -> Any:
        """The pipeline of diffusers."""
        return self.editor.pipeline

    @property
    def cuda(self) -> bool:
        """Whether this is a GPU."""
        return bool(self.editor.context.device.startswith("cuda"))

    def left_s(self) -> float:
        """Return seconds until the budget is spent."""
        return float(self.arguments.budget - (time.monotonic() - STARTED))

    def say(self, name: str, value: Any, text: str) -> None:
        """Note a finding, and print it with the time."""
        self.found[name] = value
        print(f"[{time.monotonic() - STARTED:5.0f} s] {text}", flush=True)

    def sync(self) -> None:
        """Wait for the GPU."""
        import torch

        if self.cuda:
            torch.cuda.synchronize()

    def call(self, steps: int, source: Path | None = None, seed: int = 0) -> Call:
        """Edit as a plain loop of diffusers does."""
        import torch

        marks: list[Any] = []

        def mark(_pipeline: Any, _index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if self.cuda:
                marks.append(torch.cuda.Event(enable_timing=True))
                marks[-1].record()
            else:
                marks.append(time.monotonic())
            return tensors

        params = self.editor.params
        began = time.monotonic()
        image = self.pipeline(
            image=open_rgb(source or self.sources[0]),
            prompt=INSTRUCTION,
            negative_prompt=params.negative_prompt,
            true_cfg_scale=params.true_cfg_scale,
            num_inference_steps=steps,
            height=params.height,
            width=params.width,
            generator=torch.Generator("cpu").manual_seed(seed),
            callback_on_step_end=mark,
        ).images[0]
        self.sync()
        whole = time.monotonic() - began
        pairs = list(pairwise(marks))
        if self.cuda:
            return Call(image, [one.elapsed_time(other) / 1000 for one, other in pairs], whole)
        return Call(image, [other - one for one, other in pairs], whole)

    @contextmanager
    def peak(self) -> Iterator[dict[str, float]]:
        """Yield a dict that gets the peak memory in GiB of what is done within."""
        import torch

        result: dict[str, float] = {}
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        yield result
        if self.cuda:
            result["allocated"] = torch.cuda.max_memory_allocated() / 2**30
            result["reserved"] = torch.cuda.max_memory_reserved() / 2**30


# Setting up ------------------------------------------------------------------------------------------------------


def set_up(arguments: argparse.Namespace, folder: Path) -> Bench:
    """Make the model and the sources."""
    from PIL import Image

    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
    model = str(tiny_checkpoint("qwen-image-edit-plus", folder))
    params = QwenImageEditParams(
        num_inference_steps=arguments.steps, height=arguments.size, width=arguments.size, compile="off"
    )
    if arguments.tiny:
        _look_at_less()
        params = QwenImageEditParams(
            num_inference_steps=arguments.steps, height=64, width=64, dtype="float32", compile="off"
        )
    qwen_image_edit.reuse_qwen_parts = lambda _pipeline: None  # ours alone has it (`our_beside`)
    kind = QwenImageEdit if arguments.tiny else FullSizeEditor
    editor = kind(params, HostContext((arguments.device,), model))
    sources = []
    for number in range(4):
        ramp = Image.linear_gradient("L").resize((arguments.size, arguments.size))
        parts = (ramp, ramp.rotate(90), Image.effect_noise(ramp.size, 20 + number))
        Image.merge("RGB", parts).save(folder / f"{number}.png")
        sources.append(folder / f"{number}.png")
    return Bench(arguments, editor, sources, folder, {"backend": "eager"} if arguments.tiny else {})


def _look_at_less() -> None:
    """Have the pipeline look at 64 x 64 pixels of a source, not at 1024 x 1024."""
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as module

    module.VAE_IMAGE_SIZE, module.CONDITION_IMAGE_SIZE = 64 * 64, 56 * 56


def where(bench: Bench) -> None:
    """Say what this was measured on."""
    import diffusers
    import torch
    import transformers

    libraries = {one.__name__: one.__version__ for one in (torch, diffusers, transformers)}
    gpu = torch.cuda.get_device_name(0) if bench.cuda else "CPU"
    facts = {"device": gpu, "python": sys.version.split()[0], **libraries}
    bench.say("where", facts, ", ".join(f"{name} {value}" for name, value in facts.items()))


def difference(one: Any, other: Any) -> float:
    """Return the mean absolute difference of two images, 0..255."""
    from PIL import ImageChops, ImageStat

    return float(sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3)
