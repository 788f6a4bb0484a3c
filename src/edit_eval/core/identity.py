"""Keys and seeds: what makes two edits, or two verdicts, the same one.

Keys hold intent (what was asked for), never provenance (where and how it ran). Everything here is a pure function
of its arguments except `file_sha256`, which reads the one file it is given. Standard library only.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edit_eval.core.types import Prompt, Rubric, Sample

__all__ = [
    "canonical_bytes",
    "canonical_json",
    "digest",
    "edit_key",
    "file_sha256",
    "identity_params",
    "rubric_hash",
    "sample_seed",
    "verdict_key",
]

_CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, no escapes, no NaN.

    Raises:
        ValueError: a number that is not finite.
        TypeError: something that JSON has no word for.
    """
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _plain(value: Any) -> Any:
    """Whole floats become integers, so that 4 and 4.0 in a config are the same wish."""
    if value is None or isinstance(value, (str, int)):  # bool is an int
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() else value
    if isinstance(value, (dict, Mapping)):  # dict first: asking the abstract class is slow
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, Sequence)):
        return [_plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} cannot be part of an identity")


def canonical_bytes(value: Any) -> bytes:
    """Return the canonical JSON of `value` in UTF-8; a lone surrogate is three bytes. Raises what `canonical_json` does."""
    return canonical_json(value).encode("utf-8", "surrogatepass")


def digest(value: Any) -> str:
    """Return the sha256 (64 hex digits) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()


def file_sha256(path: str | Path) -> str:
    """Return the sha256 (64 hex digits) of a file's bytes. Raises `OSError`."""
    hasher = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


def sample_seed(base_seed: int, sample_id: str, repeat: int) -> int:
    """Return the 63-bit seed of one sample: a hash of what it is, never of where or in which order it runs."""
    return int(digest([base_seed, sample_id, repeat])[:16], 16) >> 1


def identity_params(params: Any) -> dict[str, Any]:
    """Return the fields of a `Params` dataclass that belong to the identity.

    A field declared with `metadata={"identity": False}` (simulated time, attention backend ...) is left out; one with
    `metadata={"identity": "given"}` where it is empty, so that keys made before there was such a field stay.
    """
    kept = {}
    for one in dataclasses.fields(params):
        value, belongs = getattr(params, one.name), one.metadata.get("identity", True)
        if value if belongs == "given" else belongs:
            kept[one.name] = value
    return kept


def edit_key(
    *,
    editor: Any,
    sample: Sample,
    image_sha256: Sequence[str],
    conditioning_sha256: Sequence[str],
    seed: int,
    repeat: int,
) -> str:
    """Return the key of one edit.

    Args:
        editor: the editor's identity: name, version, model, components, params, approximations.
        sample: gives the instruction that the editor reads.
        image_sha256: of each source image's bytes, in order.
        conditioning_sha256: of other files whose bytes decide the edit (`Editor.conditioning`).
        seed: of this sample and repeat.
        repeat: 0-based.
    """
    return digest(
        {
            "what": "edit",
            "editor": editor,
            "instruction": sample.editor_instruction,
            "images": image_sha256,
            "conditioning": conditioning_sha256,
            "seed": seed,
            "repeat": repeat,
        }
    )


@functools.lru_cache(maxsize=64)
def rubric_hash(rubric: Rubric) -> str:
    """Return the sha256 of everything a rubric says."""
    return digest(rubric.to_json())


def verdict_key(
    *,
    judge: Any,
    rubric: Rubric | str,
    prompts: Sequence[Prompt],
    edited_sha256: str,
    source_sha256: Sequence[str],
    reference_sha256: Sequence[str],
    seed: int,
    repeat: int,
) -> str:
    """Return the key of one verdict.

    Args:
        judge: the judge's identity: name, version, model, mode, sampling, image encoding and size limits.
        rubric: hashed whole; or its hash.
        prompts: the rendered questions, before the chat template; of each the call, the text and which images it shows count.
        edited_sha256: of the edited image's bytes.
        source_sha256: of each source image's bytes, in order.
        reference_sha256: of each reference's bytes (and an exact target's), in order.
        seed: of this judgement.
        repeat: 0-based.
    """
    return digest(
        {
            "what": "verdict",
            "judge": judge,
            "rubric": rubric if isinstance(rubric, str) else rubric_hash(rubric),
            "prompts": [[one.call, one.text, one.images] for one in prompts],
            "edited": edited_sha256,
            "sources": source_sha256,
            "references": reference_sha256,
            "seed": seed,
            "repeat": repeat,
        }
    )
