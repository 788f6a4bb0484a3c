"""Ways to run Qwen-Image's denoiser that `perf/edit.py` compares: each changes a pipeline, and can be taken back.

All of them are exact up to rounding. What proves faster there moves into `edit_eval.editors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from edit_eval.editors._compile import compile_blocks

__all__ = ["OURS", "PARTS", "WAYS", "Switch", "Way", "encoder_compiled", "vae_channels_last", "vae_compiled"]

Back = Callable[[], None]


@dataclass(frozen=True)
class Way:
    """One way.

    Attributes:
        name: for the command line and the table.
        what: in words.
        options: of `compile_blocks`.
        real_rotary: whether queries and keys are turned in real numbers.
        before: what else is changed before compiling; returns how it is taken back.
        slow: whether it is only measured when it is named: it takes minutes.
    """

    name: str
    what: str
    options: Mapping[str, Any] = field(default_factory=dict)
    real_rotary: bool = True
    before: Callable[[Any], Back] | None = None
    slow: bool = False

    def apply(self, pipeline: Any, backend: Mapping[str, Any]) -> Back:
        """Change the pipeline; `backend`: further options of torch.compile. The old state is not that of others."""
        import torch

        torch._dynamo.reset()
        backs = [self.before(pipeline)] if self.before else []

        def back() -> None:
            for one in reversed(backs):
                one()

        compiled = compile_blocks if self.real_rotary else _as_diffusers
        try:
            backs.append(compiled(pipeline.transformer, **{**self.options, **backend}))
        except BaseException:
            back()
            raise
        return back


class Switch:
    """A way that was applied and compiled, to be turned off and on again without compiling."""

    def __init__(self, pipeline: Any, back: Back) -> None:
        from edit_eval.editors._rotary import real_rotary

        self._denoiser, self._back, self._rotary = pipeline.transformer, back, real_rotary
        self._compiled = {
            module: module._compiled_call_impl for module in self._denoiser.modules() if _is_compiled(module)
        }

    def off(self) -> None:
        """Have the pipeline run as diffusers made it."""
        self._back()

    def on(self) -> None:
        """Have it run compiled again."""
        self._back = self._with_rotary(self._rotary(self._denoiser))
        for module, compiled in self._compiled.items():
            module._compiled_call_impl = compiled

    def _with_rotary(self, rotary_back: Back) -> Back:
        def back() -> None:
            rotary_back()
            for module in self._compiled:
                module._compiled_call_impl = None

        return back


def _is_compiled(module: Any) -> bool:
    return getattr(module, "_compiled_call_impl", None) is not None


def _as_diffusers(denoiser: Any, **options: Any) -> Back:
    """Compile the blocks as they are."""
    denoiser.compile_repeated_blocks(**{"fullgraph": True, "dynamic": True, **options})

    def back() -> None:
        for module in denoiser.modules():
            if _is_compiled(module):
                module._compiled_call_impl = None

    return back


def _fused_gelu(pipeline: Any) -> Back:
    """Have the matrix product in front of a GELU (tanh) apply it: cuBLASLt's epilogue, on sums in float32."""
    del pipeline
    from diffusers.models import activations

    plain = activations.GELU.forward
    linear_gelu = _linear_gelu()

    def forward(self: Any, hidden_states: Any) -> Any:
        if self.approximate != "tanh" or not hidden_states.is_cuda:
            return plain(self, hidden_states)
        return linear_gelu(hidden_states, self.proj.weight, self.proj.bias)

    activations.GELU.forward = forward

    def back() -> None:
        activations.GELU.forward = plain

    return back


@cache
def _linear_gelu() -> Any:
    """Return an operator that torch's compiler does not take apart."""
    import torch

    schema = "(Tensor x, Tensor weight, Tensor bias) -> Tensor"

    @torch.library.custom_op("edit_eval_perf::linear_gelu", mutates_args=(), schema=schema)
    def linear_gelu(x: Any, weight: Any, bias: Any) -> Any:
        flat = torch._addmm_activation(bias, x.flatten(0, -2), weight.t(), use_gelu=True)
        return flat.view(*x.shape[:-1], weight.shape[0])

    @linear_gelu.register_fake
    def _(x: Any, weight: Any, bias: Any) -> Any:  # noqa: ARG001
        return x.new_empty(*x.shape[:-1], weight.shape[0])

    return linear_gelu


def _fused_qkv(pipeline: Any) -> Back:
    """Have queries, keys and values of a stream come out of one matrix product (as much memory again as they take)."""
    import torch

    attentions = [block.attn for block in pipeline.transformer.transformer_blocks]
    before = [one.processor for one in attentions]
    processor = _fused_processor()
    with torch.no_grad():
        for one in attentions:
            one.fuse_projections()
            one.processor = processor()

    def back() -> None:
        for one, old in zip(attentions, before, strict=True):
            one.processor = old
            del one.to_qkv, one.to_added_qkv
            one.fused_projections = False

    return back


@cache
def _fused_processor() -> Any:
    """Return a class of processors that need `to_qkv` and `to_added_qkv`."""
    import torch
    from diffusers.models.attention_dispatch import dispatch_attention_fn
    from diffusers.models.transformers import transformer_qwenimage as module

    class Fused(module.QwenDoubleStreamAttnProcessor2_0):  # type: ignore[misc]
        def __call__(
            self,
            attn: Any,
            hidden_states: Any,
            encoder_hidden_states: Any = None,
            encoder_hidden_states_mask: Any = None,
            attention_mask: Any = None,
            image_rotary_emb: Any = None,
        ) -> Any:
            if encoder_hidden_states_mask is not None or attention_mask is not None:
                raise ValueError("a mask was not foreseen")
            width = attn.inner_dim // attn.heads
            streams = []
            for x, project, norms, turns in (
                (
                    encoder_hidden_states,
                    attn.to_added_qkv,
                    (attn.norm_added_q, attn.norm_added_k),
                    image_rotary_emb[1],
                ),
                (hidden_states, attn.to_qkv, (attn.norm_q, attn.norm_k), image_rotary_emb[0]),
            ):
                query, key, value = project(x).unflatten(-1, (3, -1, width)).unbind(2)
                turned = [
                    module.apply_rotary_emb_qwen(norm(one), turns, use_real=False)
                    for norm, one in zip(norms, (query, key), strict=True)
                ]
                streams.append((*turned, value))
            query, key, value = (torch.cat(both, 1) for both in zip(*streams, strict=True))
            out = dispatch_attention_fn(query, key, value, backend=self._attention_backend).flatten(2, 3)
            texts = encoder_hidden_states.shape[1]
            return attn.to_out[0](out[:, texts:].contiguous()), attn.to_add_out(out[:, :texts].contiguous())

    return Fused


def _cublaslt(pipeline: Any) -> Back:
    """Prefer cuBLASLt for matrix products."""
    del pipeline
    import torch

    before = torch.backends.cuda.preferred_blas_library()
    torch.backends.cuda.preferred_blas_library("cublaslt")

    def back() -> None:
        torch.backends.cuda.preferred_blas_library(before)

    return back


OURS = Way("ours", "regional compile, rotary in real numbers")
_TUNED = {"coordinate_descent_tuning": True}
WAYS = {
    way.name: way
    for way in (
        Way("gelu", "ours, GELU as an epilogue of the matrix product", before=_fused_gelu),
        Way("complex-rotary", "regional compile of diffusers' blocks as they are", real_rotary=False),
        Way("cublaslt", "ours, cuBLASLt preferred", before=_cublaslt),
        Way("static", "ours, sizes dynamic only where they were seen to vary", {"dynamic": None}),
        Way("qkv", "ours, queries, keys and values from one product", before=_fused_qkv),
        Way("tuned", "ours, fused kernels tuned by coordinate descent", {"options": _TUNED}),
        Way("graphs", "ours, mode reduce-overhead (CUDA graphs)", {"mode": "reduce-overhead"}, slow=True),
        Way("autotune", "ours, mode max-autotune-no-cudagraphs", {"mode": "max-autotune-no-cudagraphs"}, slow=True),
    )
}  # fmt: skip


# Parts beside the denoiser ---------------------------------------------------------------------------------------


@contextmanager
def vae_channels_last(pipeline: Any) -> Iterator[None]:
    """Have the VAE's convolutions see channels last."""
    import torch

    def put(last: bool) -> None:
        for module in pipeline.vae.modules():
            weight = getattr(module, "weight", None)
            if weight is not None and weight.ndim in (4, 5):
                wanted = {4: torch.channels_last, 5: torch.channels_last_3d}[weight.ndim]
                weight.data = weight.data.contiguous(
                    memory_format=wanted if last else torch.contiguous_format
                )

    put(last=True)
    try:
        yield
    finally:
        put(last=False)


@contextmanager
def vae_compiled(pipeline: Any) -> Iterator[None]:
    """Have the VAE's decoder compiled."""
    with _compiled(pipeline.vae.decoder):
        yield


@contextmanager
def encoder_compiled(pipeline: Any) -> Iterator[None]:
    """Have the text encoder compiled."""
    with _compiled(pipeline.text_encoder):
        yield


@contextmanager
def _compiled(module: Any) -> Iterator[None]:
    module.compile(dynamic=True)
    try:
        yield
    finally:
        module._compiled_call_impl = None


PARTS = {
    "vae-channels-last": vae_channels_last,
    "vae-compiled": vae_compiled,
    "encoder-compiled": encoder_compiled,
}
