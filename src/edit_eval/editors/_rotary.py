"""Rotary embedding of Qwen-Image's attention in real numbers, for a denoiser that is compiled.

diffusers turns pairs of channels by a product of complex numbers. torch's compiler writes no code for these: it calls
one kernel for each conversion and product, with the whole of queries and keys in float32 in between. In real numbers
the same products are one expression, which it fuses with the norm before and the copy after. Same result up to rounding.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["as_table", "real_rotary", "rotate"]

_MODULE = "diffusers.models.transformers.transformer_qwenimage"
_FUNCTION = "apply_rotary_emb_qwen"


def real_rotary(denoiser: Any) -> Callable[[], None]:
    """Have a Qwen-Image transformer turn queries and keys in real numbers; other denoisers are left alone.

    Returns:
        A function that takes it back.
    """
    if type(denoiser).__name__ != "QwenImageTransformer2DModel" or not hasattr(denoiser, "pos_embed"):
        return lambda: None
    module, complex_one, either = _functions()
    if complex_one is None:
        return lambda: None
    hook = denoiser.pos_embed.register_forward_hook(_real_output)
    setattr(module, _FUNCTION, either)

    def back() -> None:
        hook.remove()
        setattr(module, _FUNCTION, complex_one)

    return back


@cache
def _functions() -> tuple[Any, Any, Any]:
    """Return diffusers' module, its function, and one that takes real numbers too.

    Always the same one, for compiled code is bound to it.
    """
    module = importlib.import_module(_MODULE)
    complex_one: Any = getattr(module, _FUNCTION, None)

    def either(x: Any, freqs_cis: Any, *arguments: Any, **options: Any) -> Any:
        if hasattr(freqs_cis, "is_complex") and not freqs_cis.is_complex():
            return rotate(x, freqs_cis)
        return complex_one(x, freqs_cis, *arguments, **options)

    return module, complex_one, either


def _real_output(_module: Any, _inputs: Any, output: Any) -> Any:
    return tuple(as_table(one) if one.is_complex() else one for one in output)


def as_table(freqs: Any) -> Any:
    """Return the turns as cosine and signed sine of each channel.

    Args:
        freqs: complex (tokens, channels / 2), of absolute value 1.

    Returns:
        float32 (2, tokens, channels): `out = x * table[0] + neighbour of x * table[1]`, the neighbour being the other
        channel of the pair.
    """
    import torch

    cos, sin = freqs.real, freqs.imag
    return torch.stack([torch.stack([cos, cos], -1), torch.stack([-sin, sin], -1)]).flatten(2).contiguous()


def rotate(x: Any, table: Any) -> Any:
    """Return `x` (batch, tokens, heads, channels), pairs of channels turned as `table` (`as_table`) says, in its dtype.

    (a + ib)(cos + i sin) = (a cos - b sin) + i(b cos + a sin), computed in float32 as diffusers does.
    """
    cos, sin = table[0].unsqueeze(1), table[1].unsqueeze(1)
    neighbour = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return (x.float() * cos + neighbour.float() * sin).type_as(x)
