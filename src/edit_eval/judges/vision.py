"""Any vision-language model on this machine's devices as a judge, by the engine that suits: transformers or vLLM.

Knows what a checkpoint must be and which engine to take. Asking and reading are `judges.asking`'s and `judges.contract`'s.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from edit_eval.core.errors import ModelError, UserError
from edit_eval.core.types import HostContext
from edit_eval.judges.asking import AskingJudge, AskingParams
from edit_eval.judges.engines import Engine
from edit_eval.judges.engines.images import cuts_off, has_pixel_limits

__all__ = ["VisionJudge", "VisionParams", "chosen_engine"]

_PAYS_FROM = 250
"""Questions to one device from which vLLM's longer start is taken to pay: 190 s more than transformers with an empty compile
cache, 0.7 s less a question than its compiled step (`perf/judge.py`, H200); with a full cache, from fewer."""


@dataclass(frozen=True)
class VisionParams(AskingParams):
    """Parameters of `VisionJudge`, beside those of every judge that talks.

    Attributes:
        engine: `transformers`, `vllm`, or `auto`: vLLM where the judge's interpreter has it, the device is a GPU, and
            there is enough to judge to pay for its start. What was chosen is recorded, and kept when a run goes on.
        dtype: of weights and arithmetic.
        min_pixels: an image with fewer pixels is enlarged to about this many before the judge sees it.
        max_pixels: an image with more pixels is reduced to at most this many (1,048,576 are 1,024 tokens of Qwen3-VL).
            None, and `min_pixels` too, for a checkpoint whose image processor knows no numbers of pixels: it sizes images
            in its own way. They become None by themselves there.
        experts_implementation: how transformers >= 5 computes the experts of a mixture (`grouped_mm`, `batched_mm`,
            `eager`); None lets it choose.
        attn_implementation: how transformers computes attention (`sdpa`, `flash_attention_2`, `eager`); None lets it
            choose.
        compile: transformers: whether the step that writes a token is compiled, for a cache and batches of fixed size: a
            slow start, then faster. `on`, `off`, or `auto`: on a GPU with 150 questions or more left for it.
        window: vLLM: how many edits it is given at once.
        max_model_len: vLLM: most tokens of a question and its reply; less takes less memory. None: the model's own.
        enforce_eager: vLLM: no compilation and no CUDA graphs: starts sooner, writes more slowly.
        load_format: vLLM: `auto`, or `dummy` for random weights (to measure speed).
        ignore_eos: vLLM: write `max_new_tokens` tokens whatever comes, held to no schema (to measure speed).
    """

    engine: Literal["auto", "transformers", "vllm"] = field(default="auto", metadata={"identity": False})
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    min_pixels: int | None = 256 * 256
    max_pixels: int | None = 1024 * 1024
    experts_implementation: str | None = field(default=None, metadata={"identity": False})
    attn_implementation: str | None = field(default=None, metadata={"identity": False})
    compile: Literal["auto", "on", "off"] = field(default="auto", metadata={"identity": False})
    window: int = field(default=64, metadata={"identity": False})
    max_model_len: int | None = field(default=None, metadata={"identity": False})
    enforce_eager: bool = field(default=False, metadata={"identity": False})
    load_format: Literal["auto", "dummy"] = "auto"
    ignore_eos: bool = False


class VisionJudge(AskingJudge):
    """A vision-language model that transformers loads with `AutoModelForImageTextToText`, or that vLLM serves.

    There is no system prompt: a question is its images and its text, in the rubric's order, as one user message in the
    checkpoint's chat template. Decoding is greedy unless `temperature` says otherwise.
    """

    Params: ClassVar[type[Any]] = VisionParams
    version: ClassVar[int] = 2
    model_file: ClassVar[str] = "config.json"
    accelerated: ClassVar[bool] = True
    engine: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("torch", "torchvision", "PIL", "transformers>=4.57")
    label: ClassVar[str] = "VLM"
    model_files: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("preprocessor_config.json", "processor_config.json"),
        ("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json"),
    )
    name: ClassVar[str] = "vlm"
    prepares: ClassVar[bool] = True

    def open_engine(self) -> Engine:
        """Load the model with the engine that the config names, or that suits."""
        if self.context.model is None:
            raise _no_model(self.name)
        chosen = chosen_engine(self.params.engine, self.context.device, self.context.options)
        if chosen == "vllm":
            from edit_eval.judges.engines.vllm import VLLMEngine

            return VLLMEngine(self.params, self.context)
        from edit_eval.judges.engines.transformers import TransformersEngine

        return TransformersEngine(self.params, self.context)

    @classmethod
    def prepare(cls, params: Any, context: HostContext) -> None:
        """Import the engine that `open_engine` will take, with its libraries."""
        if chosen_engine(params.engine, context.device, context.options) == "vllm":
            from edit_eval.judges.engines.vllm import import_libraries
        else:
            from edit_eval.judges.engines.transformers import import_libraries
        import_libraries(context.model)

    @classmethod
    def resolve(cls, params: Any, model: str | None) -> Any:
        """Return `params` if they make sense and `model` is the folder of a vision-language model.

        They are unchanged but for the limits in pixels, see `VisionParams.max_pixels`.

        Raises:
            UserError: a parameter out of its range, or a checkpoint without eyes (`ModelError`).
        """
        params.check()
        least, most = params.min_pixels, params.max_pixels
        if (least is None) != (most is None):
            raise UserError("judge.params: min_pixels and max_pixels are both numbers, or both null")
        if least is not None and not 1 <= least <= most:
            raise UserError(
                f"judge.params: 1 <= min_pixels <= max_pixels must hold, they are {params.min_pixels} and {params.max_pixels}"
            )
        for name in ("window", "max_model_len"):
            value = getattr(params, name)
            if value is not None and value < 1:
                raise UserError(f"judge.params.{name}: must be at least 1, is {value}")
        config = _read_config(cls.name, model)
        if not isinstance(config.get("vision_config"), dict):
            raise ModelError(
                f"{model}: model type {config.get('model_type')!r} has no vision_config, so it cannot see images; "
                "a judge must be a vision-language model such as Qwen/Qwen3-VL-30B-A3B-Instruct"
            )
        return _with_own_sizes(params, str(model))

    @classmethod
    def size_policy(cls, params: Any) -> str:
        """Say in words at what size the judge sees an image; recorded in the run."""
        if params.max_pixels is None:
            return "each image as the checkpoint's own image processor sizes it; no end of it is cut off"
        return (
            "each image alone: sides rounded to whole visual tokens (32 px for Qwen3-VL), reduced to at most "
            f"{params.max_pixels} pixels or enlarged to at least {params.min_pixels}, aspect ratio kept, but no side "
            "below one token, bicubic (the checkpoint's own image processor)"
        )


def _with_own_sizes(params: Any, model: str) -> Any:
    """Return `params` with limits in pixels only if the image processor of `model` has such limits.

    Raises:
        ModelError: it cuts off ends of images.
        UserError: limits are asked for that it has not.
    """
    settings = _image_settings(Path(model))
    if cuts_off(settings):
        raise ModelError(
            f"{model}: its image processor ({settings.get('image_processor_type')}) cuts off the ends of images that are no "
            "squares, and a judge must see all of an edit; use another model"
        )
    if not settings or has_pixel_limits(settings) or params.max_pixels is None:
        return params
    usual = VisionParams()
    if (params.min_pixels, params.max_pixels) != (usual.min_pixels, usual.max_pixels):
        raise UserError(
            f"judge.params.max_pixels: the image processor of {model} ({settings.get('image_processor_type')}) sizes images "
            "in its own way and knows no numbers of pixels; leave out min_pixels and max_pixels"
        )
    return replace(params, min_pixels=None, max_pixels=None)


def _image_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a checkpoint's image processor, from either file that may hold them; empty if there is none."""
    for name, key in (("processor_config.json", "image_processor"), ("preprocessor_config.json", None)):
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder / name} cannot be read: {error}") from error
        settings = found.get(key) if key and isinstance(found, dict) else found
        if isinstance(settings, dict):
            return settings
    return {}


def chosen_engine(wanted: str, device: str, options: Mapping[str, Any]) -> str:
    """Return the engine that a host takes.

    Args:
        wanted: of the config: `auto` or a name.
        device: torch's name of the host's device.
        options: `engine`: what an earlier start of this run took; `questions`: how many are left for each device.
    """
    if wanted != "auto":
        return wanted
    if earlier := options.get("engine"):
        return str(earlier)
    pays = options.get("questions", 0) >= _PAYS_FROM
    return (
        "vllm" if pays and device.startswith("cuda") and importlib.util.find_spec("vllm") else "transformers"
    )


def _no_model(kind: str) -> ModelError:
    return ModelError(f"{kind} needs judge.model: the folder or hub id of a vision-language model")


def _read_config(kind: str, model: str | None) -> dict[str, Any]:
    if model is None:
        raise _no_model(kind)
    path = Path(model) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} is no model configuration")
    return config
