"""How transformers writes one token after another: as it comes, or with a cache of fixed size and a compiled step.

A step of a large mixture is bound by the time that Python takes to start its kernels. A step whose shapes never change is
compiled once and replayed as one CUDA graph.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from edit_eval.worker.compiler import compiler_lacks

__all__ = ["StaticDecoding", "find_static_decoding"]

_Item = TypeVar("_Item")

_BUCKET = 1024
"""Tokens by which the cache grows: every size of the cache is compiled for anew."""

_PAYS_FROM = 150
"""Questions to one device from which compilation pays: it took 93 s and saved 0.93 s a question (`perf/judge.py`, one H200)."""


class StaticDecoding:
    """Arguments of `generate` with which the decoding step keeps its shapes from one batch to the next.

    Args:
        rows: how many questions a full batch has; a smaller one is filled up.

    Attributes:
        works: whether a reply was written so.
    """

    def __init__(self, rows: int) -> None:
        self.works = False
        self._rows = rows
        self._length = 0

    def filled(self, batch: Sequence[_Item]) -> list[_Item]:
        """Return the batch with its last question again until it is full; what is answered twice is dropped later."""
        return [*batch, *[batch[-1]] * (self._rows - len(batch))]

    def shrink(self, rows: int) -> None:
        """Take smaller batches from now on; raises ValueError for less than one row."""
        if rows < 1:
            raise ValueError(f"a batch has at least one row, not {rows}")
        self._rows = rows

    def options(self, length: int) -> Mapping[str, Any]:
        """Return the arguments for prompts and replies of at most `length` tokens together."""
        self._length = max(self._length, -(-length // _BUCKET) * _BUCKET)
        return {"cache_implementation": "static", "max_cache_len": self._length}


def find_static_decoding(model: Any, choice: str, rows: int, questions: int) -> StaticDecoding | None:
    """Return how to decode with a compiled step, or None to decode as it comes; say why if that is not as wished.

    Args:
        model: of transformers.
        choice: `on`, `off`, or `auto`: where it pays, that is on a GPU from 150 questions.
        rows: of a full batch.
        questions: left for this device.
    """
    pays = model.device.type == "cuda" and questions >= _PAYS_FROM
    if choice == "off" or (choice == "auto" and not pays):
        return None
    if obstacle := _obstacle(model):
        print(f"the decoding step is not compiled: {obstacle}", file=sys.stderr, flush=True)
        return None
    return StaticDecoding(rows)


def _obstacle(model: Any) -> str:
    from transformers import GenerationConfig

    if not getattr(model, "_can_compile_fullgraph", False):
        return f"{type(model).__name__} cannot be compiled as a whole"
    if not hasattr(GenerationConfig(), "max_cache_len"):
        return "the installed transformers is too old"
    on_cpu = model.device.type == "cpu"  # where transformers compiles nothing
    lacks = "" if on_cpu else compiler_lacks(model.device.type)
    return f"compiling needs {lacks}" if lacks else ""
