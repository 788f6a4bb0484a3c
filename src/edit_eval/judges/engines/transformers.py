"""transformers as an engine: a vision-language model on one device, asked in batches.

Knows how such a model is loaded, asked and kept within its memory. torch, transformers and Pillow are imported inside,
from the host's own environment.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import itertools
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edit_eval.core.errors import ModelError
from edit_eval.core.types import HostContext
from edit_eval.judges.engines import Engine, Question, Reply

__all__ = ["TransformersEngine", "library_error"]

_BATCH_SIZE = 4
_LIBRARIES = ("torch", "torchvision", "PIL", "transformers")
_INSTALL = "torch torchvision transformers accelerate pillow"


class TransformersEngine(Engine):
    """A model that transformers loads with `AutoModelForImageTextToText`, dense or mixture of experts.

    Questions form batches of at most `options["batch_size"]` (4 by default), padded on the left. A batch that does not
    fit into memory is halved, and the smaller size is kept; what was answered stays. Replies that are sampled are written
    one at a time, so that each depends on its own seed alone.
    """

    def __init__(self, params: Any, context: HostContext) -> None:
        """Load the model. `params` is a `VisionParams`; raises `ModelError` as `build` does."""
        super().__init__()
        self._params = params
        self._context = context
        self._batch_size = max(1, int(context.options.get("batch_size", _BATCH_SIZE)))
        self.model, self.processor = self.build()
        self._eos = self._prepare()

    @property
    def window(self) -> int:
        """One batch of edits."""
        return self._batch_size

    def facts(self) -> dict[str, Any]:
        """Return the engine's name, and how many questions it asks at once by now."""
        return {"engine": "transformers", "batch_size": self._batch_size}

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        """Return one reply per question, in order; what one batch has answered is kept when a later one has to shrink."""
        replies: list[Reply] = []
        while len(replies) < len(questions):
            batch = self._next_batch(questions[len(replies) :])
            answered = self._answer_if_it_fits(batch)
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

    def _next_batch(self, left: Sequence[Question]) -> Sequence[Question]:
        """Return the first questions that can be answered together: all for a text of one length, or all for levels."""
        first = left[0]
        if first.temperature > 0:
            return left[:1]
        alike = itertools.takewhile(
            lambda one: (
                one.temperature == 0
                and bool(one.choices) == bool(first.choices)
                and one.max_tokens == first.max_tokens
            ),
            left[: self._batch_size],
        )
        return list(alike)

    def _answer_if_it_fits(self, batch: Sequence[Question]) -> list[Reply] | None:
        try:
            return self._weigh(batch) if batch[0].choices else self._generate(batch)
        except RuntimeError as error:
            if len(batch) == 1 or not _is_out_of_memory(error):
                raise
        # Outside of the handler: while it runs, the traceback keeps the batch's tensors alive.
        _free_memory(self._context.device)
        return None

    def _inputs(self, batch: Sequence[Question]) -> Any:
        texts = [self._chat(one) for one in batch]
        images = [part[1] for one in batch for part in one.parts if part[0] == "image"]
        inputs = self.processor(text=texts, images=images or None, padding=True, return_tensors="pt")
        return inputs.to(self._context.device)

    def _chat(self, question: Question) -> str:
        content = [
            {"type": "image"} if kind == "image" else {"type": "text", "text": value}
            for kind, value in question.parts
        ]
        message = {"role": "user", "content": content}
        return str(self.processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True))

    def _generate(self, batch: Sequence[Question]) -> list[Reply]:
        """Return the text of each reply, cut off at `max_tokens` or not."""
        import torch

        inputs, most = self._inputs(batch), batch[0].max_tokens
        asked = inputs["attention_mask"].sum(dim=1).tolist()
        how: dict[str, Any] = {"max_new_tokens": most}
        if batch[0].temperature > 0:
            how |= {"do_sample": True, "temperature": batch[0].temperature, "top_k": 0, "top_p": 1.0}
            torch.manual_seed(batch[0].seed)  # of every device; this process writes one reply at a time now
        with torch.inference_mode():
            output = self.model.generate(
                **inputs, **how, stopping_criteria=[self._token_counter(inputs, most)]
            )
        answers = output[:, inputs["input_ids"].shape[1] :].tolist()
        texts = self.processor.tokenizer.batch_decode(
            answers, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [
            Reply(text, self._cut_off(tokens, most), tokens_in=count, tokens_out=self._written(tokens))
            for text, tokens, count in zip(texts, answers, asked, strict=True)
        ]

    def _weigh(self, batch: Sequence[Question]) -> list[Reply]:
        """Return the probability of each choice to be the first token of the reply: one forward, nothing is written."""
        import torch

        inputs = self._inputs(batch)
        asked = inputs["attention_mask"].sum(dim=1).tolist()
        with torch.inference_mode():
            logits = self.model(**inputs, logits_to_keep=1).logits[:, -1]
        probabilities = torch.softmax(logits.float(), dim=-1)
        return [
            Reply(
                "",
                probabilities={choice: float(row[self._token_of(choice)]) for choice in one.choices},
                tokens_in=count,
            )
            for one, row, count in zip(batch, probabilities.cpu(), asked, strict=True)
        ]

    def _token_of(self, choice: str) -> int:
        tokens = self.processor.tokenizer.encode(choice, add_special_tokens=False)
        if len(tokens) != 1:
            raise ModelError(
                f"judge.params.mode: {self._context.model} writes the level {choice} as {len(tokens)} tokens, so "
                "expected scores cannot be had from it; use mode generate"
            )
        return int(tokens[0])

    def _token_counter(self, inputs: Any, most: int) -> Callable[..., Any]:
        """Return a stopping criterion that never stops, and tells how many tokens have been written."""
        import torch

        before = inputs["input_ids"].shape[1]

        def count(input_ids: Any, _scores: Any, **_: Any) -> Any:
            self.progress(input_ids.shape[1] - before, most)
            return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)

        return count

    def _cut_off(self, tokens: Sequence[int], most: int) -> bool:
        return len(tokens) >= most and self._eos.isdisjoint(tokens)

    def _written(self, tokens: Sequence[int]) -> int:
        """Return how many tokens a reply has; what follows its end is padding."""
        ends = [place for place, token in enumerate(tokens) if token in self._eos]
        return ends[0] + 1 if ends else len(tokens)

    def build(self) -> tuple[Any, Any]:
        """Return the model, on its device, and its processor. All else of the engine is set up from these two.

        Raises:
            ModelError: a library or a weight is missing, or the checkpoint does not load.
        """
        model_path = str(self._context.model)
        _require_libraries()
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        chosen = {
            name: value
            for name in ("experts_implementation", "attn_implementation")
            if (value := getattr(self._params, name)) is not None
        }
        if "experts_implementation" in chosen and _transformers_version() < (5, 0):
            raise ModelError(
                "judge.params.experts_implementation: only transformers 5 and newer can choose it; leave it out, or "
                f"{sys.executable} -m pip install -U transformers"
            )
        device = self._context.device
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
                dtype=getattr(torch, self._params.dtype),
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
        limits = {"shortest_edge": self._params.min_pixels, "longest_edge": self._params.max_pixels}
        image_processor.size = type(image_processor.size)(**limits)
        for name in ("min_pixels", "max_pixels"):  # transformers 4 keeps them beside `size`, and prefers them
            if getattr(image_processor, name, None) is not None:
                setattr(image_processor, name, getattr(self._params, name))
        tokenizer.padding_side = "left"
        ends = _token_ids(self.model.generation_config.eos_token_id) | _token_ids(tokenizer.eos_token_id)
        # A fresh one: the released file asks for sampling with a temperature.
        self.model.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=sorted(ends), pad_token_id=tokenizer.pad_token_id
        )
        return frozenset(ends)


def _token_ids(value: int | Sequence[int] | None) -> set[int]:
    if value is None:
        return set()
    return {value} if isinstance(value, int) else set(value)


def _require_libraries() -> None:
    name = ""
    try:
        for name in _LIBRARIES:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise library_error(f"has no {error.name}", _INSTALL) from error
    except (ImportError, OSError, RuntimeError) as error:  # builds that do not match fail in many ways
        raise library_error(f"cannot import {name} ({_first_line(error)})", _INSTALL) from error
    if _transformers_version() < (4, 57):
        version = importlib.import_module("transformers").__version__
        raise library_error(f"has transformers {version}, which is older than 4.57", _INSTALL)


def _transformers_version() -> tuple[int, ...]:
    version: str = importlib.import_module("transformers").__version__
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def library_error(what: str, packages: str) -> ModelError:
    """Return the error of an interpreter that lacks something, with both mends: another one, or these packages."""
    return ModelError(
        f"{sys.executable} {what}: run setup_qwen3_vl_env.sh and set judge.python to the interpreter that it makes, "
        f"or run {sys.executable} -m pip install -U {packages}"
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
