"""vLLM as an engine: its asynchronous engine, one to a device or to several in tensor parallel.

Images are prepared by threads of the host while vLLM's own process, a child of the host, computes: it is never idle for
want of an image that is still to be resized. Compiled kernels are kept in `VLLM_CACHE_ROOT`, which the driver sets. vLLM
is imported inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import math
import os
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

from edit_eval.core.errors import ModelError
from edit_eval.core.types import HostContext
from edit_eval.judges.engines import Engine, Question, Reply
from edit_eval.judges.engines.transformers import library_error

__all__ = ["VLLMEngine", "import_libraries"]

_SHARE = 0.9
_MOST = {"image": 8, "video": 0, "audio": 0}
"""Of each kind in a prompt. A model that knows films too is tried with the longest at its start, unless it gets none."""
_IMAGE_THREADS = 16
"""That prepare images: more than one engine can use. The same everywhere, for it is part of the compile cache's key."""


def import_libraries(model: str | None) -> None:
    """Import vLLM, and what does its work on a GPU, as far as that can be done without one; `model` makes no difference.

    Raises:
        ImportError: vLLM is missing, or cannot be imported.
        OSError, RuntimeError: it, or a library of its own, does not match this machine.
    """
    del model
    importlib.import_module("vllm.v1.engine.async_llm")
    importlib.import_module("vllm.sampling_params")
    with contextlib.suppress(ImportError):  # where a later version moves it, loading imports it
        importlib.import_module("vllm.v1.worker.gpu_worker")


class VLLMEngine(Engine):
    """`AsyncLLM` with continuous batching, prefix caching and replies held to a schema.

    Edits are judged as they come, `window` of them under way at once; questions about one edit are put side by side, so
    that what they have in common is read once.
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
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.renderers import ChatParams
            from vllm.usage.usage_lib import UsageContext
            from vllm.v1.engine.async_llm import AsyncLLM
        except (ImportError, OSError, RuntimeError) as error:
            raise library_error(f"cannot import vllm 0.22 or newer ({error})", "vllm") from error

        self._chat = ChatParams(
            chat_template_kwargs={"add_generation_prompt": True, "continue_final_message": False}
        )
        # Many images at once are faster than many threads to one image; vLLM asks this variable how many it may take.
        os.environ["OMP_NUM_THREADS"] = "1"
        os.environ.setdefault("VLLM_RPC_BASE_PATH", _socket_folder())
        try:
            # The settings of vLLM's own class for much work at once: more tokens to a step than a server takes.
            self.llm = AsyncLLM.from_engine_args(
                AsyncEngineArgs(**self._arguments()), usage_context=UsageContext.LLM_CLASS
            )
        except (ValueError, RuntimeError, OSError) as error:
            raise ModelError(
                f"{context.model} does not load in vLLM: {type(error).__name__}: {error}"
            ) from error
        self._numbers = itertools.count()
        self._room = asyncio.Semaphore(self._under_way)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True).start()

    def _arguments(self) -> dict[str, Any]:
        """Return what vLLM is started with."""
        params, context = self._params, self._context
        share = context.options.get("memory_share")
        return {
            "model": str(context.model),
            "dtype": params.dtype,
            "seed": 0,
            "trust_remote_code": False,
            "load_format": params.load_format,
            "enforce_eager": params.enforce_eager,
            "max_model_len": params.max_model_len,
            "tensor_parallel_size": len(context.devices),
            "max_num_seqs": self._under_way,
            "cudagraph_capture_sizes": _graph_sizes(self._under_way),
            "gpu_memory_utilization": min(_SHARE, share) if share else _SHARE,
            "enable_prefix_caching": True,
            "limit_mm_per_prompt": dict(_MOST),
            "mm_processor_kwargs": None
            if params.min_pixels is None
            else {"size": {"shortest_edge": params.min_pixels, "longest_edge": params.max_pixels}},
            "renderer_num_workers": _IMAGE_THREADS,
            "mm_processor_cache_gb": 0,  # of prepared images, which vLLM has for a single thread only
            "disable_log_stats": True,
        }

    @property
    def _under_way(self) -> int:
        return max(self.window, 8)

    @property
    def window(self) -> int:
        """As many edits as the config says; at least a full batch."""
        return int(self._params.window)

    @property
    def threads(self) -> int:
        """One for each edit of the window: each reads its images and waits for its own replies alone."""
        return self.window

    def facts(self) -> dict[str, Any]:
        """Return the engine's name and the settings that it was started with."""
        return {
            "engine": "vllm",
            "window": self.window,
            "enforce_eager": self._params.enforce_eager,
            "constrained": self._params.constrained == "auto" and not self._params.ignore_eos,
        }

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        """Return one reply per question, in order.

        Raises:
            ValueError: vLLM does not take a question (it is too long).
            RuntimeError: any other fault of the model's code.
        """
        return asyncio.run_coroutine_threadsafe(self._answers(questions), self._loop).result()

    async def _answers(self, questions: Sequence[Question]) -> list[Reply]:
        found = await asyncio.gather(*map(self._answer, questions), return_exceptions=True)
        replies = []
        for one in found:
            if isinstance(one, BaseException):
                raise one
            replies.append(one)
        return replies

    async def _answer(self, question: Question) -> Reply:
        async with self._room:
            message = {"role": "user", "content": _content(question)}
            _, (prompt,) = await self.llm.renderer.render_chat_async([[message]], self._chat)
            asked = self.llm.generate(prompt, self._sampling(question), str(next(self._numbers)))
            outputs = [one async for one in asked]
        if not outputs:
            raise RuntimeError("vLLM ended a request without a word")
        return self._reply(question, outputs[-1])

    def _sampling(self, question: Question) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        once = RequestOutputKind.FINAL_ONLY
        if question.choices:
            wanted = [self._token_of(choice) for choice in question.choices]
            return SamplingParams(temperature=0.0, max_tokens=1, logprob_token_ids=wanted, output_kind=once)
        held = StructuredOutputsParams(json=dict(question.schema)) if question.schema else None
        return SamplingParams(
            temperature=question.temperature,
            seed=question.seed if question.temperature > 0 else None,
            max_tokens=question.max_tokens,
            ignore_eos=self._params.ignore_eos,
            structured_outputs=None if self._params.ignore_eos else held,
            output_kind=once,
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
        tokens: list[int] = self.llm.renderer.get_tokenizer().encode(choice, add_special_tokens=False)
        if len(tokens) != 1:
            raise ModelError(
                f"judge.params.mode: {self._context.model} writes the level {choice} as {len(tokens)} tokens, so "
                "expected scores cannot be had from it; use mode generate"
            )
        return tokens[0]


def _socket_folder() -> str:
    """Return a name of the folder for temporary files that is short enough for sockets in it.

    A socket's name has 107 bytes at most, and vLLM's ends with a slash and 36 more. A folder that this process holds open
    has a short name too, which its children can use as long as it lives.
    """
    folder = tempfile.gettempdir()
    if len(os.fsencode(folder)) + 37 <= 107:
        return folder
    return f"/proc/{os.getpid()}/fd/{os.open(folder, os.O_PATH | os.O_DIRECTORY)}"


def _graph_sizes(most: int) -> list[int]:
    """Return the numbers of tokens for which vLLM is to capture CUDA graphs: few, for each is waited for at the start.

    Steps of other sizes are filled up to the next one, by less than half from 16 on: a step that writes a token for each
    request waits for the weights, not for arithmetic.

    Args:
        most: requests under way.
    """
    sizes, size = [1, 2, 4, 8], 16
    while size <= 2 * most:
        sizes += [size, size * 3 // 2]
        size *= 2
    return [one for one in sizes if one <= 2 * most]


def _content(question: Question) -> list[dict[str, Any]]:
    return [
        {"type": "image_pil", "image_pil": value} if kind == "image" else {"type": "text", "text": value}
        for kind, value in question.parts
    ]
