"""Any diffusers pipeline that takes an image and a prompt: FLUX.1-Kontext, FLUX.2, InstructPix2Pix, ...

Knows only what the pipeline's `__call__` declares; everything else that decides an edit is the user's `call`. Code
that a checkpoint brings along is never run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from edit_eval.core.errors import ConfigError, ModelError, did_you_mean
from edit_eval.core.types import EditRequest, HostContext, StepCallback
from edit_eval.editors._approximate import approximation_problems
from edit_eval.editors._pipeline import (
    DTYPES,
    SIZES,
    PipelineEditor,
    choice_problems,
    load_pipeline,
    pipeline_class,
    pipeline_class_name,
    read_index,
    signature_names,
)

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Diffusers", "DiffusersParams"]

_OURS = (
    "image",
    "prompt",
    "generator",
    "output_type",
    "return_dict",
    "num_images_per_prompt",
    "callback_on_step_end",
    "callback_on_step_end_tensor_inputs",
)
_SEVERAL = ("refuse", "list", "first")


@dataclass(frozen=True)
class DiffusersParams:
    """Which pipeline is called, and with what.

    Attributes:
        pipeline: a pipeline class of diffusers; None: the one that the checkpoint names.
        call: arguments of the pipeline's call beside image, prompt and generator (`num_inference_steps`,
            `guidance_scale` ...); what is left out has the pipeline's own default.
        dtype: of weights and arithmetic: bfloat16, float16 or float32.
        size: `model`: the edit as the model returns it; `source`: back at the source's size (Lanczos).
        several_images: a sample with several source images is failed (`refuse`), or the pipeline gets all of them
            as a list (`list`; right only for pipelines that take several references), or the first (`first`).
        attention_backend: diffusers' attention kernel, such as `_native_cudnn`; None: torch's choice.
        compile: whether the denoiser's blocks are compiled: `on`, `off`, or `auto`: on a GPU whose share of the run is at
            least 400 steps. The edits are the same up to rounding.
        approximations: what makes edits faster or smaller, and others: name -> options (`editors._approximate`).
    """

    pipeline: str | None = None
    call: dict[str, Any] = field(default_factory=dict)
    dtype: str = "bfloat16"
    size: str = "model"
    several_images: str = "refuse"
    attention_backend: str | None = field(default=None, metadata={"identity": False})
    compile: Literal["auto", "on", "off"] = field(default="auto", metadata={"identity": False})
    approximations: dict[str, dict[str, Any]] = field(default_factory=dict, metadata={"identity": "given"})


class Diffusers(PipelineEditor):
    """Calls the checkpoint's pipeline (or `params.pipeline`) with image, prompt, generator and `params.call`."""

    Params = DiffusersParams
    version: ClassVar[int] = 1
    params: DiffusersParams

    def __init__(self, params: DiffusersParams, context: HostContext) -> None:
        """Load the checkpoint and hold `params.call` against the pipeline's signature.

        Raises:
            UserError: see `PipelineEditor`; also a pipeline without image or prompt, and arguments it has not.
        """
        super().__init__(params, context)
        self.set_up()

    @classmethod
    def resolve(cls, params: DiffusersParams, model: str | None) -> DiffusersParams:
        """Return `params` with the name of the checkpoint's pipeline filled in.

        Raises:
            ConfigError: values out of range, or arguments that are not the user's to give; names every one.
            ModelError: the checkpoint names no pipeline.
        """
        if problems := _problems(params):
            raise ConfigError(problems)
        index = read_index(model)
        return replace(params, pipeline=params.pipeline or pipeline_class_name(index))

    @classmethod
    def size_policy(cls, params: DiffusersParams) -> str:
        """Say in words what size goes in and what size comes out."""
        back = (
            ", brought to the size of the (first) source image by Lanczos" if params.size == "source" else ""
        )
        return f"in: the source's size (the pipeline may resize it); out: as the pipeline returns it{back}"

    def steps(self) -> int:
        """Return the denoising steps of an edit: the call's, or the pipeline's own."""
        given = self.params.call.get("num_inference_steps")
        return given if isinstance(given, int) else super().steps()

    def build(self) -> Any:
        """Return the pipeline, on the device."""
        name = self.params.pipeline or pipeline_class_name(read_index(self.context.model))
        _check_call(name, self.params.call)
        return load_pipeline(self.context, self.params.dtype, name)

    def edit(self, request: EditRequest, step: StepCallback) -> Image:
        """Return the edit of the request's image, RGB.

        Raises:
            ValueError: several source images, and `several_images` is `refuse`.
        """
        several = len(request.images) > 1
        if several and self.params.several_images == "refuse":
            raise ValueError(
                f"this sample has {len(request.images)} source images; if {type(self.pipeline).__name__} takes "
                "several, set editor.params.several_images to list"
            )
        image: Any = (
            list(request.images) if several and self.params.several_images == "list" else request.images[0]
        )
        arguments = {"image": image, "prompt": request.instruction, **self.params.call}
        return self.run(arguments, request, step, self.params.size)


def _problems(params: DiffusersParams) -> list[str]:
    problems = choice_problems(params, dtype=DTYPES, size=SIZES, several_images=_SEVERAL)
    problems += approximation_problems(params.approximations)
    for name in sorted(set(params.call) & set(_OURS)):
        problems.append(f"editor.params.call.{name} is set by edit-eval for every sample; leave it out")
    try:
        json.dumps(params.call, allow_nan=False)
    except (TypeError, ValueError) as error:
        problems.append(f"editor.params.call holds what json cannot: {error}")
    return problems


def _check_call(pipeline: str, call: Mapping[str, Any]) -> None:
    """Hold `call` against the signature of the pipeline class, before anything is loaded."""
    known = signature_names(pipeline_class(pipeline))
    if lacks := [name for name in ("image", "prompt") if name not in known]:
        raise ModelError(
            f"{pipeline} takes no {' and no '.join(lacks)}, so it cannot edit an image by instruction"
        )
    free = sorted(set(known) - set(_OURS))
    unknown = [
        f"editor.params.call.{name}: {pipeline} has no such argument{did_you_mean(name, free)}; "
        f"it has {', '.join(free)}"
        for name in sorted(set(call) - set(known))
    ]
    if unknown:
        raise ConfigError(unknown)
