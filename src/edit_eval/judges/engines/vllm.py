"""vLLM as an engine: its offline engine within the host, one to a device or to several in tensor parallel.

The host's process holds the engine itself (`VLLM_ENABLE_V1_MULTIPROCESSING=0`), so that its memory is free as soon as
the process has ended. Compiled kernels are kept in `VLLM_CACHE_ROOT`, which the driver sets. vLLM is imported inside.
"""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Sequence
from typing import Any

from edit_eval.core.errors import ModelError
from edit_eval.core.types import HostContext
from edit_eval.judges.engines import Engine, Question, Reply
from edit_eval.judges.engines.transformers import library_error

__all__ = ["VLLMEngine", "import_libraries"]

_SHARE = 0.9
_MOST_IMAGES = 8


def import_libraries(model: str | None) -> None:
    """Import vLLM, and what does its work on a GPU, as far as that can be done without one; `model` makes no difference.

    Raises:
        ImportError: vLLM is missing, or cannot be imported.
        OSError, RuntimeError: it, or a library of its own, does not match this machine.
    """
    del model
    importlib.import_module("vllm.entrypoints.llm")
    importlib.import_module("vllm.sampling_params")
    with contextlib.suppress(ImportError):  # where a later version moves it, loading imports it
        importlib.import_module("vllm.v1.worker.gpu_worker")


class VLLMEngine(Engine):
    """`vllm.LLM` with continuous batching, prefix caching and replies held to a schema.

    Questions are put in their order, those of one edit side by side: what they have in common is read once.
    """

    def __init__(self, params: Any, context: HostContext) -> None:
        """Start the engine. `params` is a `VisionParams`.

        Raises:
            ModelError: no vLLM, or it cannot serve this model here.
        """
        super().__init__()
        self._params = params
        self._context = context
        try:
            from vllm import LLM
        except (ImportError, OSError, RuntimeError) as error:
            raise library_error(f"cannot import vllm ({error})", "vllm") from error
        import torch

        threads = torch.get_num_threads()
        share = context.options.get("memory_share")
        try:
            self.llm = LLM(
                model=str(context.model),
                dtype=params.dtype,
                seed=0,
                trust_remote_code=False,
                load_format=params.load_format,
                enforce_eager=params.enforce_eager,
                max_model_len=params.max_model_len,
                tensor_parallel_size=len(context.devices),
                max_num_seqs=max(self.window, 8),
                gpu_memory_utilization=min(_SHARE, share) if share else _SHARE,
                enable_prefix_caching=True,
                limit_mm_per_prompt={"image": _MOST_IMAGES},
                mm_processor_kwargs=None
                if params.min_pixels is None
                else {"size": {"shortest_edge": params.min_pixels, "longest_edge": params.max_pixels}},
                disable_log_stats=True,
            )
        except (ValueError, RuntimeError, OSError) as error:
            raise ModelError(
                f"{context.model} does not load in vLLM: {type(error).__name__}: {error}"
            ) from error
        # vLLM leaves torch one thread; images are prepared in this process, four times slower with one.
        torch.set_num_threads(threads)

    @property
    def window(self) -> int:
        """As many edits as the config says; at least a full batch."""
        return int(self._params.window)

    def facts(self) -> dict[str, Any]:
        """Return the engine's name and the settings that it was started with."""
        return {
            "engine": "vllm",
            "window": self.window,
            "enforce_eager": self._params.enforce_eager,
            "constrained": self._params.constrained == "auto" and not self._params.ignore_eos,
        }

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        """Return one reply per question, in order."""
        messages = [[{"role": "user", "content": _content(one)}] for one in questions]
        outputs = self.llm.chat(messages, [self._sampling(one) for one in questions], use_tqdm=False)
        return [self._reply(one, output) for one, output in zip(questions, outputs, strict=True)]

    def _sampling(self, question: Question) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        if question.choices:
            wanted = [self._token_of(choice) for choice in question.choices]
            return SamplingParams(temperature=0.0, max_tokens=1, logprob_token_ids=wanted)
        held = StructuredOutputsParams(json=dict(question.schema)) if question.schema else None
        return SamplingParams(
            temperature=question.temperature,
            seed=question.seed if question.temperature > 0 else None,
            max_tokens=question.max_tokens,
            ignore_eos=self._params.ignore_eos,
            structured_outputs=None if self._params.ignore_eos else held,
        )

    def _reply(self, question: Question, output: Any) -> Reply:
        (written,) = output.outputs
        count = len(output.prompt_token_ids or ())
        if question.choices:
            first = {} if not written.logprobs else written.logprobs[0]
            found = {choice: first.get(self._token_of(choice)) for choice in question.choices}
            probabilities = {choice: math.exp(one.logprob) if one else 0.0 for choice, one in found.items()}
            return Reply("", probabilities=probabilities, tokens_in=count, tokens_out=1)
        return Reply(
            written.text,
            truncated=written.finish_reason == "length",
            tokens_in=count,
            tokens_out=len(written.token_ids),
        )

    def _token_of(self, choice: str) -> int:
        tokens = self.llm.get_tokenizer().encode(choice, add_special_tokens=False)
        if len(tokens) != 1:
            raise ModelError(
                f"judge.params.mode: {self._context.model} writes the level {choice} as {len(tokens)} tokens, so "
                "expected scores cannot be had from it; use mode generate"
            )
        return int(tokens[0])


def _content(question: Question) -> list[dict[str, Any]]:
    return [
        {"type": "image_pil", "image_pil": value} if kind == "image" else {"type": "text", "text": value}
        for kind, value in question.parts
    ]
