"""What keeps a denoising step from its arithmetic floor: kernels by time, and the floor itself, on this card.

FLOP of a step: for each pass and block, matrix products of both streams (queries, keys, values, output and the two of the
MLP: 12 d^2 weights a stream) and attention (4 S^2 d); modulation is left out (it reads weights, one token wide).
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

__all__ = ["Floor", "Shape", "attention_lines", "busy", "floor", "kernel_lines", "kinds_of", "seconds_of"]

_KINDS = (
    ("attention", r"flash|fmha|sdpa|attention"),
    ("convolution", r"conv|implicit|dgrad|wgrad|fprop|winograd"),
    ("matmul", r"gemm|nvjet|cutlass|xmma|cublas|splitk|gemv|wgmma|s\d{4,5}|matmul"),
    ("fused by the compiler", r"^triton_"),
    ("copies", r"memcpy|memset|copy"),
    ("norms", r"norm|reduce"),
)
_OTHER = "other elementwise"


@dataclass(frozen=True)
class Shape:
    """What the denoiser was given: tokens of the image stream, and of the text in each pass of a step."""

    image: int
    texts: tuple[int, ...]
    width: int
    heads: int
    blocks: int

    def matmul_flop(self) -> float:
        """Return FLOP of the matrix products of one step."""
        tokens = sum(self.image + text for text in self.texts)
        return 2.0 * 12 * self.width**2 * tokens * self.blocks

    def attention_flop(self) -> float:
        """Return FLOP of attention in one step."""
        return sum(4.0 * (self.image + text) ** 2 * self.width for text in self.texts) * self.blocks


@dataclass(frozen=True)
class Floor:
    """Seconds that a step cannot fall below on this card.

    Attributes:
        matmul_rate: best FLOP/s of a bfloat16 matrix product of the denoiser's shapes.
        arithmetic_s: all FLOP of a step at that rate.
        matmul_s: the step's matrix products, each measured alone.
        attention_s: the step's attention, measured alone by the fastest kernel here.
    """

    matmul_rate: float
    arithmetic_s: float
    matmul_s: float
    attention_s: float


def seconds_of(work: Callable[[], Any], times: int = 10) -> float:
    """Return the median seconds of `work` on the GPU, of `times` after one that is not counted."""
    import torch

    work()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(times + 1)]
    marks[0].record()
    for mark in marks[1:]:
        work()
        mark.record()
    torch.cuda.synchronize()
    return statistics.median(before.elapsed_time(after) / 1000 for before, after in pairwise(marks))


def floor(shape: Shape, device: str) -> Floor:
    """Measure the floor."""
    import torch

    def linear(tokens: int, wide: int, out: int) -> tuple[float, float]:
        x = torch.randn(tokens, wide, device=device, dtype=torch.bfloat16)
        weight, bias = (
            torch.randn(*size, device=device, dtype=torch.bfloat16) for size in ((out, wide), (out,))
        )
        seconds = seconds_of(lambda: torch.nn.functional.linear(x, weight, bias))
        return seconds, 2.0 * tokens * wide * out / seconds

    d = shape.width
    total, best = 0.0, 0.0
    for tokens in (shape.image, *shape.texts):
        count = len(shape.texts) if tokens == shape.image else 1
        for wide, out, many in ((d, d, 4), (d, 4 * d, 1), (4 * d, d, 1)):
            seconds, rate = linear(tokens, wide, out)
            total += seconds * many * count * shape.blocks
            best = max(best, rate)
    attention = sum(
        min(seconds for _, seconds in _attention_seconds(shape, text, device)) for text in shape.texts
    )
    flop = shape.matmul_flop() + shape.attention_flop()
    return Floor(best, flop / best, total, attention * shape.blocks)


def attention_lines(shape: Shape, device: str) -> list[str]:
    """Return one line for each attention kernel that is here: milliseconds a call, and TFLOP/s."""
    lines = []
    flop = 4.0 * (shape.image + shape.texts[0]) ** 2 * shape.width
    for name, seconds in _attention_seconds(shape, shape.texts[0], device):
        lines.append(f"attention, {name}: {seconds * 1e3:.3f} ms, {flop / seconds / 1e12:.0f} TFLOP/s")
    return lines


def _attention_seconds(shape: Shape, text: int, device: str) -> list[tuple[str, float]]:
    import torch

    tokens, width = shape.image + text, shape.width // shape.heads
    parts = [
        torch.randn(1, tokens, shape.heads, width, device=device, dtype=torch.bfloat16) for _ in range(3)
    ]
    found = []
    for name, work in _attentions(parts):
        try:
            found.append((name, seconds_of(work)))
        except (RuntimeError, ImportError, TypeError) as error:
            print(f"attention, {name}: not here ({' '.join(str(error).split())[:120]})")
    return found


def _attentions(parts: Sequence[Any]) -> Iterable[tuple[str, Callable[[], Any]]]:
    import importlib.util

    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    query, key, value = (one.transpose(1, 2) for one in parts)

    def native() -> Any:
        return torch.nn.functional.scaled_dot_product_attention(query, key, value)

    def by(kind: Any) -> Callable[[], Any]:
        def work() -> Any:
            with sdpa_kernel(kind):
                return native()

        return work

    yield "native", native
    yield "_native_flash", by(SDPBackend.FLASH_ATTENTION)
    yield "_native_cudnn", by(SDPBackend.CUDNN_ATTENTION)
    for module in ("flash_attn_interface", "fa3_fwd_interface", "flash_attn", "flash_attn.cute"):
        if importlib.util.find_spec(module.partition(".")[0]) is not None:
            yield module, lambda module=module: importlib.import_module(module).flash_attn_func(*parts)


# Under the profiler ----------------------------------------------------------------------------------------------


def kinds_of(kernels: Iterable[tuple[str, float]]) -> Counter[str]:
    """Return seconds by kind, of (name, seconds)."""
    found: Counter[str] = Counter()
    for name, seconds in kernels:
        kind = next((kind for kind, pattern in _KINDS if re.search(pattern, name, re.IGNORECASE)), _OTHER)
        found[kind] += seconds
    return found


def kernel_lines(kernels: Sequence[tuple[str, float]], steps: int, top: int = 25) -> list[str]:
    """Return what takes the GPU's time: kinds, then the longest kernels; milliseconds a step."""
    total = sum(seconds for _, seconds in kernels) or 1.0
    lines = [f"GPU time under the profiler: {total / steps * 1e3:.1f} ms a step"]
    for kind, seconds in kinds_of(kernels).most_common():
        lines.append(f"  {seconds / total:6.1%}  {seconds / steps * 1e3:8.2f} ms  {kind}")
    by_name: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for name, seconds in kernels:
        by_name[name] += seconds
        calls[name] += 1
    for name, seconds in by_name.most_common(top):
        lines.append(
            f"  {seconds / total:6.1%}  {seconds / steps * 1e3:8.2f} ms  {calls[name] // steps:5d} x  {name[:110]}"
        )
    return lines


def busy(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return (seconds in which at least one span lasted, seconds from the first to the last)."""
    covered, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    whole = max(end for _, end in spans) - min(begin for begin, _ in spans) if spans else 0.0
    return covered, whole
