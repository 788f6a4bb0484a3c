"""Replies held to a JSON schema while they are written, where the interpreter has xgrammar.

At each token, what would leave the schema is made impossible. xgrammar is imported inside.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Grammars", "find_grammars"]


class Grammars:
    """Schemas as grammars over a model's tokens.

    Args:
        tokenizer: of transformers.
        vocabulary: how many logits the model gives; may be more than the tokenizer has tokens.
        ends: tokens that end a reply.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Sequence[int]) -> None:
        import xgrammar

        info = xgrammar.TokenizerInfo.from_huggingface(
            tokenizer, vocab_size=vocabulary, stop_token_ids=list(ends)
        )
        self._compiler = xgrammar.GrammarCompiler(info)

    def processor(self, schemas: Sequence[Mapping[str, Any]]) -> Any:
        """Return a logits processor for one call of `generate`, with one schema for each reply of the batch.

        White space between tokens is fixed: a model may otherwise write line breaks until its limit.
        """
        from xgrammar.contrib.hf import LogitsProcessor

        compiled = [self._compiler.compile_json_schema(dict(one), any_whitespace=False) for one in schemas]
        return LogitsProcessor(compiled)


def find_grammars(tokenizer: Any, vocabulary: int, ends: Sequence[int]) -> Grammars | str:
    """Return what holds replies to schemas; or, where there is no xgrammar or none that works, why."""
    if importlib.util.find_spec("xgrammar") is None:
        return "there is no xgrammar"
    try:
        importlib.import_module("xgrammar.contrib.hf")
        grammars = Grammars(tokenizer, vocabulary, ends)
        _try(grammars, vocabulary)
    except (ImportError, OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        return f"xgrammar fails: {type(error).__name__}: {error}"
    return grammars


def _try(grammars: Grammars, vocabulary: int) -> None:
    """Write two tokens: some releases load, and fail at the second one (0.2.0 takes no tensor for a token)."""
    import torch

    processor = grammars.processor([{"type": "object", "properties": {}, "additionalProperties": False}])
    written = torch.zeros((1, 1), dtype=torch.long)
    for _ in range(2):
        scores = processor(written, torch.zeros((1, vocabulary)))
        written = torch.cat([written, scores.argmax(dim=-1, keepdim=True)], dim=1)
