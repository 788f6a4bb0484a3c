"""Keys by the hundred thousand: those of `core.identity`, with what is the same in all of them written once.

The bytes that are hashed are the same; only who writes them differs. What is the same (the identity of an editor or a
judge) is written by `core.identity`, the rest, which is texts and whole numbers, by orjson, and by `core.identity` where
orjson refuses: lone surrogates, numbers beyond 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson

from edit_eval.core.identity import canonical_bytes, edit_key, rubric_hash, sample_seed, verdict_key
from edit_eval.core.types import Rubric, Sample
from edit_eval.judges.prompts import between, prompt_templates

__all__ = ["edit_keys", "seeds", "verdict_keys", "written_prompts"]

_write = partial(orjson.dumps, option=orjson.OPT_SORT_KEYS)


def seeds(base_seed: int) -> Callable[[str, int], int]:
    """Return `sample_seed` for one base seed; it takes the sample's id and the repeat."""

    def seed(sample_id: str, repeat: int) -> int:
        try:
            return sample_seed(base_seed, sample_id, repeat, _write)
        except TypeError:
            return sample_seed(base_seed, sample_id, repeat)

    return seed


def edit_keys(editor: Mapping[str, Any]) -> Callable[..., str]:
    """Return `edit_key` for one editor; it takes the other arguments."""
    fast = partial(edit_key, editor=orjson.Fragment(canonical_bytes(editor)), write=_write)

    def key(**parts: Any) -> str:
        try:
            return fast(**parts)
        except TypeError:
            return edit_key(editor=editor, **parts)

    return key


def written_prompts(rubric: Rubric) -> Callable[[Sample], Any]:
    """Return what writes a sample's prompts for `verdict_keys`: their JSON, of which only the sample's own part is new.

    It raises `TypeError` for what orjson refuses, and `ValueError` where the sample lacks a note that is asked for.
    """
    calls = []
    for call, template in prompt_templates(rubric):
        pieces = [_inside(piece) for piece in template.pieces]
        pieces[0] = b"[" + orjson.dumps(call.name) + b',"' + pieces[0]
        pieces[-1] += b'",' + orjson.dumps(list(call.images)) + b"]"
        calls.append((template, pieces))

    def write(sample: Sample) -> Any:
        texts = [
            b"".join(between(pieces, [_inside(value) for value in template.values(sample)]))
            for template, pieces in calls
        ]
        return orjson.Fragment(b"[" + b",".join(texts) + b"]")

    return write


def _inside(text: str) -> bytes:
    """Return a text as JSON, without its quotes. Raises `TypeError` for lone surrogates."""
    return orjson.dumps(text)[1:-1]


def verdict_keys(judge: Mapping[str, Any], rubric: Rubric) -> Callable[..., str]:
    """Return `verdict_key` for one judge and rubric; it takes the other arguments."""
    rubric_sha256 = rubric_hash(rubric)
    written = orjson.Fragment(canonical_bytes(judge))
    fast = partial(verdict_key, judge=written, rubric=rubric_sha256, write=_write)

    def key(**parts: Any) -> str:
        try:
            return fast(**parts)
        except TypeError:
            return verdict_key(judge=judge, rubric=rubric_sha256, **parts)

    return key
