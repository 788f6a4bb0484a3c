"""GELU as a part of the matrix product in front of it, for a denoiser that is compiled.

cuBLASLt applies bias and GELU (tanh) to its sums in float32 before they are rounded and written. torch's compiler leaves
the product to the library and the GELU to a kernel of its own, which reads and writes the widest tensor of a block once
more. Same result up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["fused_gelu", "linear_gelu"]

_DTYPES = ("torch.bfloat16", "torch.float16")


def fused_gelu(denoiser: Any) -> Callable[[], None]:
    """Have a denoiser's MLPs apply GELU within the matrix product, where that is the same.

    Left alone: a denoiser on a CPU or in float32, and one whose layers are not as they were made (a LoRA, float8
    weights, offloading), for the product would pass these by.

    Returns:
        A function that takes it back.
    """
    from diffusers.models import activations

    ours = [one for one in denoiser.modules() if type(one) is activations.GELU and one.approximate == "tanh"]
    if not ours or not all(_is_plain(one.proj) for one in ours):
        return lambda: None
    for one in ours:
        one.__class__ = _fused_class()

    def back() -> None:
        for one in ours:
            one.__class__ = activations.GELU

    return back


def _is_plain(linear: Any) -> bool:
    import torch

    if type(linear) is not torch.nn.Linear or linear.bias is None:
        return False
    weight = linear.weight
    unhooked = not (linear._forward_hooks or linear._forward_pre_hooks or "forward" in vars(linear))  # noqa: SLF001
    as_made = type(weight) is torch.nn.Parameter and type(weight.data) is torch.Tensor
    return bool(unhooked and as_made and weight.is_cuda and str(weight.dtype) in _DTYPES)


@cache
def _fused_class() -> Any:
    """Return diffusers' GELU, fused on a GPU: a class, so that one compiled graph serves all of a denoiser's blocks."""
    from diffusers.models import activations

    product = linear_gelu()

    class FusedGELU(activations.GELU):  # type: ignore[misc]
        def forward(self, hidden_states: Any) -> Any:
            if not hidden_states.is_cuda:
                return super().forward(hidden_states)
            return product(hidden_states, self.proj.weight, self.proj.bias)

    return FusedGELU


@cache
def linear_gelu() -> Any:
    """Return GELU(x weight^T + bias) by tanh as one operator, which torch's compiler does not take apart.

    Its arguments: x (..., in), weight (out, in), bias (out); it returns (..., out).
    """
    import torch

    schema = "(Tensor x, Tensor weight, Tensor bias) -> Tensor"

    @torch.library.custom_op("edit_eval::linear_gelu", mutates_args=(), schema=schema)  # type: ignore[untyped-decorator]
    def product(x: Any, weight: Any, bias: Any) -> Any:
        flat = torch._addmm_activation(bias, x.flatten(0, -2), weight.t(), use_gelu=True)  # noqa: SLF001
        return flat.view(*x.shape[:-1], weight.shape[0])

    @product.register_fake  # type: ignore[untyped-decorator]
    def _(x: Any, weight: Any, bias: Any) -> Any:  # noqa: ARG001
        return x.new_empty(*x.shape[:-1], weight.shape[0])

    return product
