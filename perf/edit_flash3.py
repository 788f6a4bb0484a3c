"""FlashAttention 3 out of the vLLM that is installed, without importing vLLM: a kernel for Hopper, exact up to rounding.

Only the library with the kernel is loaded (`vllm/vllm_flash_attn/_vllm_fa3_C.abi3.so`); `EDIT_EVAL_FA3` names it elsewhere.
Its call has grown from release to release, so arguments are filled in by their names in its own schema.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["flash3", "use_flash3"]


@cache
def _library() -> Any:
    """Load the kernel and return its operator. Raises `ImportError` where there is none."""
    import torch

    named = os.environ.get("EDIT_EVAL_FA3")
    found = importlib.util.find_spec("vllm")
    places = [Path(named)] if named else []
    for base in (found.submodule_search_locations or ()) if found else ():
        places += sorted(Path(base, "vllm_flash_attn").glob("_vllm_fa3_C*.so"))
    if not places:
        raise ImportError("no vLLM with FlashAttention 3 is installed")
    torch.ops.load_library(str(places[0]))
    return torch.ops._vllm_fa3_C.fwd


@cache
def _offsets(tokens: int, device: Any) -> Any:
    import torch

    return torch.tensor([0, tokens], dtype=torch.int32, device=device)


@cache
def flash3() -> Callable[[Any, Any, Any], Any]:
    """Return attention of query, key and value (1, tokens, heads, 128) as one operator. Raises `ImportError`."""
    import torch

    forward = _library()
    names = [(one.name, str(one.type)) for one in forward.default._schema.arguments]
    empty = {"bool": False, "int": 0, "float": 0.0}

    @torch.library.custom_op(
        "edit_eval_perf::flash3", mutates_args=(), schema="(Tensor q, Tensor k, Tensor v) -> Tensor"
    )
    def attend(q: Any, k: Any, v: Any) -> Any:
        given: dict[str, Any] = {
            "q": q[0].contiguous(),
            "k": k[0].contiguous(),
            "v": v[0].contiguous(),
            "cu_seqlens_q": _offsets(q.shape[1], q.device),
            "cu_seqlens_k": _offsets(k.shape[1], k.device),
            "max_seqlen_q": q.shape[1],
            "max_seqlen_k": k.shape[1],
            "softmax_scale": q.shape[-1] ** -0.5,
            "window_size_left": -1,
            "window_size_right": -1,
            "num_splits": 1,
            "cp_world_size": 1,
        }
        return forward(*(given.get(name, empty.get(kind)) for name, kind in names))[0][None]

    @attend.register_fake
    def _(q: Any, k: Any, v: Any) -> Any:  # noqa: ARG001
        return torch.empty_like(q)

    return attend


def use_flash3(pipeline: Any) -> Callable[[], None]:
    """Have Qwen-Image's blocks attend by it; returns how that is taken back. Raises `ImportError`."""
    del pipeline
    from diffusers.models.transformers import transformer_qwenimage as module

    attend, plain = flash3(), module.dispatch_attention_fn

    def dispatch(query: Any, key: Any, value: Any, attn_mask: Any = None, **options: Any) -> Any:
        if attn_mask is not None or query.shape[0] != 1:
            return plain(query, key, value, attn_mask=attn_mask, **options)
        return attend(query, key, value)

    module.dispatch_attention_fn = dispatch

    def back() -> None:
        module.dispatch_attention_fn = plain

    return back
