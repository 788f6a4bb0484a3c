"""Replies held to a JSON schema while they are written, where the interpreter has xgrammar.

At each token, what would leave the schema is made impossible. xgrammar is imported inside.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
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


def find_grammars(tokenizer: Any, vocabulary: int, ends: Sequence[int]) -> Grammars | None:
    """Return what holds replies to schemas; None where there is no xgrammar, or none that works, which is then said."""
    if importlib.util.find_spec("xgrammar") is None:
        return None
    try:
        importlib.import_module("xgrammar.contrib.hf")
        return Grammars(tokenizer, vocabulary, ends)
    except (ImportError, OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        print(
            f"replies are held to no schema: xgrammar: {type(error).__name__}: {error}",
            file=sys.stderr,
            flush=True,
        )
        return None
