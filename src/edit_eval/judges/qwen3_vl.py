"""Qwen3-VL, and its relatives of transformers, as a judge: images and a question in, a reply out, in greedy batches.

Knows how such a model is loaded, asked and kept within its memory. What is asked and how a reply is read belongs to
`judges.contract`. torch, transformers and Pillow are imported inside, from the host's own environment.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from edit_eval.core.errors import ModelError, UserError
from edit_eval.core.types import HostContext, JudgeRequest, Prompt, Rubric, Verdict
from edit_eval.judges import Judge
from edit_eval.judges.contract import combine, parse_reply

__all__ = ["Qwen3VL", "Qwen3VLParams"]

_BATCH_SIZE = 4
_LIBRARIES = ("torch", "torchvision", "PIL", "transformers")
_INSTALL = "torch torchvision transformers accelerate pillow"

_Asked = tuple[JudgeRequest, Prompt]


@dataclass(frozen=True)
class Qwen3VLParams:
    """Parameters of `Qwen3VL`.

    Attributes:
        max_new_tokens: most tokens of one reply; a reply that needs more is *truncated*.
        dtype: of weights and arithmetic.
        min_pixels: an image with fewer pixels is enlarged to about this many before the judge sees it.
        max_pixels: an image with more pixels is reduced to at most this many (1,048,576 are 1,024 tokens).
        experts_implementation: how transformers >= 5 computes the experts of a mixture (`grouped_mm`, `batched_mm`,
            `eager`); None lets it choose.
        attn_implementation: how transformers computes attention (`sdpa`, `flash_attention_2`, `eager`); None lets it
            choose.
    """

    max_new_tokens: int = 512
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    min_pixels: int = 256 * 256
    max_pixels: int = 1024 * 1024
    experts_implementation: str | None = field(default=None, metadata={"identity": False})
    attn_implementation: str | None = field(default=None, metadata={"identity": False})


class Qwen3VL(Judge):
    """A vision-language model that transformers loads with `AutoModelForImageTextToText`, dense or mixture of experts.

    Decoding is greedy and there is no system prompt: a question is its images, in order, then its text, as one
    user message in the checkpoint's chat template. All questions of all requests form batches of at most
    `options["batch_size"]` (4 by default), padded on the left. A batch that does not fit into memory is halved, and the
    smaller size is kept.
    """

    Params: ClassVar[type[Any]] = Qwen3VLParams
    version: ClassVar[int] = 1
    model_file: ClassVar[str] = "config.json"
    accelerated: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("torch", "torchvision", "PIL", "transformers>=4.57")
    label: ClassVar[str] = "Qwen3-VL"

    def __init__(self, params: Any, context: HostContext, rubrics: Sequence[Rubric]) -> None:
        super().__init__(params, context, rubrics)
        if len(context.devices) > 1:
            raise UserError(
                f"qwen3_vl puts one whole judge on one device, not one on {', '.join(context.devices)}; "
                "list the devices singly to have a judge on each"
            )
        for rubric in rubrics:
            if not rubric.calls:
                raise UserError(
                    f"rubric {rubric.name!r} asks nothing, so qwen3_vl cannot answer it; use general-v1"
                )
        self._batch_size = max(1, int(context.options.get("batch_size", _BATCH_SIZE)))
        self.model, self.processor = self.build()
        self._eos = self._prepare()

    @classmethod
    def resolve(cls, params: Any, model: str | None) -> Any:
        """Return `params` unchanged if they make sense and `model` is the folder of a vision-language model.

        Raises:
            UserError: a parameter out of its range, or a checkpoint without eyes (`ModelError`).
        """
        if params.max_new_tokens < 1:
            raise UserError(f"judge.params.max_new_tokens: must be at least 1, is {params.max_new_tokens}")
        if not 1 <= params.min_pixels <= params.max_pixels:
            raise UserError(
                f"judge.params: 1 <= min_pixels <= max_pixels must hold, they are {params.min_pixels} and {params.max_pixels}"
            )
        config = _read_config(model)
        if not isinstance(config.get("vision_config"), dict):
            raise ModelError(
                f"{model}: model type {config.get('model_type')!r} has no vision_config, so it cannot see images; "
                "a judge must be a vision-language model such as Qwen/Qwen3-VL-30B-A3B-Instruct"
            )
        return params

    @classmethod
    def size_policy(cls, params: Any) -> str:
        """Say in words at what size the judge sees an image; recorded in the run."""
        return (
            "each image alone: sides rounded to whole visual tokens (32 px for Qwen3-VL), reduced to at most "
            f"{params.max_pixels} pixels or enlarged to at least {params.min_pixels}, aspect ratio kept, but no side "
            "below one token, bicubic (the checkpoint's own image processor)"
        )

    @property
    def window(self) -> int:
        """One batch of requests."""
        return self._batch_size

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """Return one verdict per request, in order.

        Raises:
            RuntimeError: out of memory with a single question, or any other fault of the model's code.
        """
        replies = iter(self._ask([(request, prompt) for request in requests for prompt in request.prompts]))
        return [_verdict(request, [next(replies) for _ in request.prompts]) for request in requests]

    def _ask(self, asked: Sequence[_Asked]) -> list[tuple[str, bool]]:
        """Return the reply to each question; what one batch has answered is kept when a later one has to shrink."""
        replies: list[tuple[str, bool]] = []
        while len(replies) < len(asked):
            batch = asked[len(replies) : len(replies) + self._batch_size]
            answered = self._generate_if_it_fits(batch)
            if answered is None:
                self._batch_size = len(batch) // 2
                print(
                    f"out of memory with {len(batch)} questions at once; going on with {self._batch_size}",
                    file=sys.stderr,
                    flush=True,
                )
            else:
                replies.extend(answered)
        return replies

    def _generate_if_it_fits(self, batch: Sequence[_Asked]) -> list[tuple[str, bool]] | None:
        try:
            return self._generate(batch)
        except RuntimeError as error:
            if len(batch) == 1 or not _is_out_of_memory(error):
                raise
        # Outside of the handler: while it runs, the traceback keeps the batch's tensors alive.
        _free_memory(self.context.device)
        return None

    def _generate(self, batch: Sequence[_Asked]) -> list[tuple[str, bool]]:
        """Return for each question the reply's text and whether it was cut off at `max_new_tokens`."""
        import torch

        texts = [self._chat(request, prompt) for request, prompt in batch]
        images = [image for request, prompt in batch for image in request.images_of(prompt)]
        inputs = self.processor(text=texts, images=images or None, padding=True, return_tensors="pt")
        inputs = inputs.to(self.context.device)
        with torch.inference_mode():
            output = self.model.generate(**inputs, stopping_criteria=[self._token_counter(inputs)])
        answers = output[:, inputs["input_ids"].shape[1] :].tolist()
        decoded = self.processor.tokenizer.batch_decode(
            answers, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [(text, self._cut_off(tokens)) for text, tokens in zip(decoded, answers, strict=True)]

    def _token_counter(self, inputs: Any) -> Callable[..., Any]:
        """Return a stopping criterion that never stops, and tells how many tokens have been written."""
        import torch

        before = inputs["input_ids"].shape[1]

        def count(input_ids: Any, _scores: Any, **_: Any) -> Any:
            self.progress(input_ids.shape[1] - before, self.params.max_new_tokens)
            return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)

        return count

    def _chat(self, request: JudgeRequest, prompt: Prompt) -> str:
        content: list[dict[str, str]] = []
        for kind, value in prompt.parts():
            if kind == "text":
                content.append({"type": "text", "text": value})
            else:
                content += [{"type": "image"} for _ in request.images_as(value)]
        message = {"role": "user", "content": content}
        return str(self.processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True))

    def _cut_off(self, tokens: Sequence[int]) -> bool:
        return len(tokens) >= self.params.max_new_tokens and self._eos.isdisjoint(tokens)

    def build(self) -> tuple[Any, Any]:
        """Return the model, on its device, and its processor. All else of the judge is set up from these two.

        Raises:
            ModelError: a library or a weight is missing, or the checkpoint does not load.
        """
        model_path = self.context.model
        if model_path is None:
            raise _no_model()
        _require_libraries()
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        chosen = {
            name: value
            for name in ("experts_implementation", "attn_implementation")
            if (value := getattr(self.params, name)) is not None
        }
        if "experts_implementation" in chosen and _transformers_version() < (5, 0):
            raise ModelError(
                "judge.params.experts_implementation: only transformers 5 and newer can choose it; leave it out, or "
                f"{sys.executable} -m pip install -U transformers"
            )
        device = self.context.device
        if device != "cpu" and importlib.util.find_spec("accelerate"):
            chosen["device_map"] = {
                "": device
            }  # straight onto the device, with no copy of all weights in host memory
        if any(Path(model_path).glob("*.safetensors")):
            chosen["use_safetensors"] = True  # else transformers reads a .bin, as weights only
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            processor = AutoProcessor.from_pretrained(model_path, **local)
            model, report = AutoModelForImageTextToText.from_pretrained(
                model_path,
                dtype=getattr(torch, self.params.dtype),
                output_loading_info=True,
                **local,
                **chosen,
            )
            model = model.to(device)
        except Exception as error:
            raise ModelError(
                f"{model_path} does not load as a judge: {type(error).__name__}: {_first_line(error)}"
            ) from error
        if missing := sorted(report["missing_keys"]):
            raise ModelError(
                f"{model_path} lacks {len(missing)} weights ({missing[0]} ...); is the download complete?"
            )
        return model, processor

    def _prepare(self) -> frozenset[int]:
        """Fix how images are resized, texts padded and replies decoded; return the tokens that end a reply."""
        from transformers import GenerationConfig

        image_processor, tokenizer = self.processor.image_processor, self.processor.tokenizer
        limits = {"shortest_edge": self.params.min_pixels, "longest_edge": self.params.max_pixels}
        image_processor.size = type(image_processor.size)(**limits)
        for name in ("min_pixels", "max_pixels"):  # transformers 4 keeps them beside `size`, and prefers them
            if getattr(image_processor, name, None) is not None:
                setattr(image_processor, name, getattr(self.params, name))
        tokenizer.padding_side = "left"
        ends = _token_ids(self.model.generation_config.eos_token_id) | _token_ids(tokenizer.eos_token_id)
        # A fresh one: the released file asks for sampling with a temperature.
        self.model.generation_config = GenerationConfig(
            do_sample=False,
            max_new_tokens=self.params.max_new_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=tokenizer.pad_token_id,
        )
        return frozenset(ends)


def _verdict(request: JudgeRequest, replies: Sequence[tuple[str, bool]]) -> Verdict:
    calls = {call.name: call for call in request.rubric.calls}
    read = [
        parse_reply(text, request.rubric, calls[prompt.call], truncated=truncated)
        for prompt, (text, truncated) in zip(request.prompts, replies, strict=True)
    ]
    return combine(request.rubric, read, [text for text, _ in replies])


def _token_ids(value: int | Sequence[int] | None) -> set[int]:
    if value is None:
        return set()
    return {value} if isinstance(value, int) else set(value)


def _no_model() -> ModelError:
    return ModelError("qwen3_vl needs judge.model: the folder or hub id of a vision-language model")


def _read_config(model: str | None) -> dict[str, Any]:
    if model is None:
        raise _no_model()
    path = Path(model) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {_first_line(error)}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} is no model configuration")
    return config


def _require_libraries() -> None:
    name = ""
    try:
        for name in _LIBRARIES:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise _library_error(f"has no {error.name}") from error
    except (ImportError, OSError, RuntimeError) as error:  # builds that do not match fail in many ways
        raise _library_error(f"cannot import {name} ({_first_line(error)})") from error
    if _transformers_version() < (4, 57):
        version = importlib.import_module("transformers").__version__
        raise _library_error(f"has transformers {version}, which is older than 4.57")


def _transformers_version() -> tuple[int, ...]:
    version: str = importlib.import_module("transformers").__version__
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _library_error(what: str) -> ModelError:
    return ModelError(
        f"{sys.executable} {what}: run setup_qwen3_vl_env.sh and set judge.python to the interpreter that it makes, "
        f"or run {sys.executable} -m pip install -U {_INSTALL}"
    )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def _is_out_of_memory(error: RuntimeError) -> bool:
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error).lower()


def _free_memory(device: str) -> None:
    """Give back what the failed batch held, so that the smaller one finds room."""
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
