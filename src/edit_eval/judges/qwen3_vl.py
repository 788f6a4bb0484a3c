"""Qwen3-VL as a judge: `judges.vision` under the name that its users know."""

from __future__ import annotations

from typing import ClassVar

from edit_eval.judges.vision import VisionJudge

__all__ = ["Qwen3VL"]


class Qwen3VL(VisionJudge):
    """Qwen3-VL, dense or mixture of experts, by transformers or vLLM."""

    label: ClassVar[str] = "Qwen3-VL"
    name: ClassVar[str] = "qwen3_vl"
