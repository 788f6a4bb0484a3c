"""Qwen-Image-Edit, -2509 and -2511 through diffusers: the released settings, one image or several.

Knows the two pipelines of that family, their defaults (model cards) and how they choose sizes. How a pipeline is
loaded and called is in `_pipeline`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from edit_eval.core.errors import ConfigError, ModelError
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
from edit_eval.editors._reuse import reuse_qwen_parts

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["QwenImageEdit", "QwenImageEditParams"]

_EDIT = "QwenImageEditPipeline"
_PLUS = "QwenImageEditPlusPipeline"
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    _EDIT: {"num_inference_steps": 50},
    _PLUS: {"num_inference_steps": 40, "guidance_scale": 1.0},
}
"""Model cards of Qwen/Qwen-Image-Edit and Qwen/Qwen-Image-Edit-2509 (both also: true CFG 4.0, negative prompt " ")."""

_SIDE_MULTIPLE_PX = 16
_AREA_PX = 1024 * 1024
_LONGEST_TEXT = 1024


@dataclass(frozen=True)
class QwenImageEditParams:
    """How an edit is made; the defaults are those of the checkpoint's model card.

    Attributes:
        num_inference_steps: denoising steps; None: 50 for Qwen-Image-Edit, 40 for -2509 and -2511.
        true_cfg_scale: guidance; above 1 every step costs two passes of the transformer.
        negative_prompt: what guidance leads away from; always passed, or guidance would silently be off.
        guidance_scale: for guidance-distilled checkpoints only; None: 1.0 where the model card gives it.
        height: of the edit in pixels, a multiple of 16; None: 1024 x 1024 in area, aspect of the source.
        width: likewise.
        max_sequence_length: longest prompt in tokens, 1..1024.
        dtype: of weights and arithmetic: bfloat16, float16 or float32.
        size: `model`: the edit as the model returns it; `source`: back at the source's size (Lanczos).
        attention_backend: diffusers' attention kernel, such as `_native_cudnn`; None: torch's choice.
        compile: whether the transformer's blocks are compiled: `on`, `off`, or `auto`: on a GPU whose share of the run is
            at least 400 steps. The edits are the same up to rounding.
        approximations: what makes edits faster or smaller, and others: name -> options (`editors._approximate`).
    """

    num_inference_steps: int | None = None
    true_cfg_scale: float = 4.0
    negative_prompt: str = " "
    guidance_scale: float | None = None
    height: int | None = None
    width: int | None = None
    max_sequence_length: int = 512
    dtype: str = "bfloat16"
    size: str = "model"
    attention_backend: str | None = field(default=None, metadata={"identity": False})
    compile: Literal["auto", "on", "off"] = field(default="auto", metadata={"identity": False})
    approximations: dict[str, dict[str, Any]] = field(default_factory=dict, metadata={"identity": "given"})


class QwenImageEdit(PipelineEditor):
    """Edits with `QwenImageEditPipeline` or `QwenImageEditPlusPipeline`, as the checkpoint says."""

    Params = QwenImageEditParams
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("torch", "diffusers>=0.35.1", "transformers>=4.57", "PIL")
    params: QwenImageEditParams

    def __init__(self, params: QwenImageEditParams, context: HostContext) -> None:
        """Load the checkpoint.

        Raises:
            UserError: see `PipelineEditor`; also a single step where the scheduler cannot do one.
        """
        super().__init__(params, context)
        self._kind = type(self.pipeline).__name__
        self.params = _with_defaults(params, self._kind)
        if self.params.num_inference_steps == 1 and self.pipeline.scheduler.config.get("shift_terminal"):
            raise ConfigError(
                "editor.params.num_inference_steps is 1; this checkpoint's scheduler needs 2 or more"
            )
        reuse_qwen_parts(self.pipeline)
        self.set_up()

    @classmethod
    def resolve(cls, params: QwenImageEditParams, model: str | None) -> QwenImageEditParams:
        """Return `params` with the model card's defaults of the checkpoint's pipeline filled in.

        Raises:
            ConfigError: values out of range; names every one.
            ModelError: the checkpoint is of another pipeline.
        """
        if problems := _problems(params):
            raise ConfigError(problems)
        return _with_defaults(params, _pipeline_of(model))

    @classmethod
    def check(cls, model: str, components: Mapping[str, str]) -> None:
        """Raise `UserError` if the model is of another family or has no such `components`."""
        _pipeline_of(model)
        super().check(model, components)

    @classmethod
    def size_policy(cls, params: QwenImageEditParams) -> str:
        """Say in words what size goes in and what size comes out."""
        fixed = f"{params.width or 'by aspect'} x {params.height or 'by aspect'} px (width x height)"
        made = fixed if params.height or params.width else "1024 x 1024 px in area, sides multiples of 32"
        back = (
            ", brought to the size of the (first) source image by Lanczos" if params.size == "source" else ""
        )
        return f"in: sources resized to 1024 x 1024 px in area, aspect kept; out: {made}{back}"

    def edit_size(self, request: EditRequest) -> tuple[int, int]:
        """Return the source's size, or the one that the pipeline chooses by the aspect of the last source."""
        if self.params.size == "source":
            return request.images[0].size
        width, height = request.images[-1].size
        side = math.sqrt(_AREA_PX * width / height)
        chosen = _near_32(side), _near_32(side * height / width)
        return self.params.width or chosen[0], self.params.height or chosen[1]

    def steps(self) -> int:
        """Return the denoising steps of an edit."""
        return self.params.num_inference_steps or 0

    def build(self) -> Any:
        """Return the checkpoint's own pipeline, on the device."""
        kind = _pipeline_of(self.context.model)
        _refuse_ignored_size(pipeline_class(kind))
        pipeline = load_pipeline(self.context, self.params.dtype, kind)
        _refuse_ignored_settings(pipeline.transformer)
        return pipeline

    def edit(self, request: EditRequest, step: StepCallback) -> Image:
        """Return the edit of the request's images, RGB.

        Raises:
            ValueError: several source images, and the checkpoint takes one.
        """
        several = len(request.images) > 1
        if several and self._kind != _PLUS:
            raise ValueError(
                f"this sample has {len(request.images)} source images, and {_EDIT} takes one; use a checkpoint of "
                "Qwen-Image-Edit-2509 or later"
            )
        arguments: dict[str, Any] = {
            "image": list(request.images) if several else request.images[0],
            "prompt": request.instruction,
            "negative_prompt": self.params.negative_prompt,
            "true_cfg_scale": self.params.true_cfg_scale,
            "num_inference_steps": self.params.num_inference_steps,
            "max_sequence_length": self.params.max_sequence_length,
            **_canvas(self.params, request),
        }
        if (
            self.pipeline.transformer.config.guidance_embeds
        ):  # the others ignore it, with a warning for every edit
            arguments["guidance_scale"] = self.params.guidance_scale
        return self.run(arguments, request, step, self.params.size)


def _canvas(params: QwenImageEditParams, request: EditRequest) -> dict[str, int]:
    """Return height and width where they are not to be the pipeline's own choice.

    That choice has the aspect of the *last* image; an edit that goes back to the size of the first one needs the
    aspect of the first, or it would be distorted.
    """
    size = {"height": params.height, "width": params.width}
    if params.size == "source" and len(request.images) > 1 and not any(size.values()):
        width, height = request.images[0].size
        side = math.sqrt(_AREA_PX * width / height)
        size = {"height": _near_32(side * height / width), "width": _near_32(side)}
    return {name: value for name, value in size.items() if value is not None}


def _near_32(side: float) -> int:
    return max(32, round(side / 32) * 32)


def _pipeline_of(model: str | None) -> str:
    """Return which of the two pipelines the checkpoint is of."""
    name = pipeline_class_name(read_index(model))
    if name not in _DEFAULTS:
        raise ModelError(
            f"editor.model: {model} is a {name}, and qwen_image_edit runs {' or '.join(_DEFAULTS)}; "
            "use `type: diffusers` for any other pipeline"
        )
    return name


def _refuse_ignored_size(pipeline: Any) -> None:
    """Raise `ModelError` for the pipeline of diffusers 0.35.0, which makes every edit in its source's own size.

    It overwrites height and width, also the default ones; only that release has the argument `_auto_resize`.
    """
    if "_auto_resize" in signature_names(pipeline):
        raise ModelError(
            f"editor.model: diffusers 0.35.0 of {sys.executable} ignores the size that an edit is to have; 0.35.1 or "
            f"newer is needed: {sys.executable} -m pip install -U diffusers"
        )


def _refuse_ignored_settings(transformer: Any) -> None:
    """Raise `ModelError` if the checkpoint is a -2511 and the installed diffusers is too old to treat it as one.

    Old releases keep the setting in their config and ignore it with a mere log line; edits come out worse.
    """
    if transformer.config.get("zero_cond_t") and "zero_cond_t" not in signature_names(
        type(transformer), "__init__"
    ):
        raise ModelError(
            "editor.model: the installed diffusers ignores this checkpoint's `zero_cond_t`; upgrade it"
        )


def _with_defaults(params: QwenImageEditParams, kind: str) -> QwenImageEditParams:
    unset = {name: value for name, value in _DEFAULTS[kind].items() if getattr(params, name) is None}
    return replace(params, **unset)


def _problems(params: QwenImageEditParams) -> list[str]:
    problems = choice_problems(params, dtype=DTYPES, size=SIZES)
    problems += approximation_problems(params.approximations)
    if params.num_inference_steps is not None and params.num_inference_steps < 1:
        problems.append(f"editor.params.num_inference_steps is {params.num_inference_steps}; give 1 or more")
    if not 1 <= params.max_sequence_length <= _LONGEST_TEXT:
        problems.append(
            f"editor.params.max_sequence_length is {params.max_sequence_length}; give 1 to {_LONGEST_TEXT}"
        )
    for name in ("height", "width"):
        side = getattr(params, name)
        if side is not None and (side < _SIDE_MULTIPLE_PX or side % _SIDE_MULTIPLE_PX):
            problems.append(
                f"editor.params.{name} is {side}; give a multiple of {_SIDE_MULTIPLE_PX}, such as 1024"
            )
    return problems
