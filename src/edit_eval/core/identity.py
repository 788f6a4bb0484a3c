"""Keys and seeds: what makes two edits, or two verdicts, the same one.

Keys hold intent (what was asked for), never provenance (where and how it ran). Everything here is a pure function
of its arguments except `file_sha256`, which reads the one file it is given. Standard library only.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

from edit_eval.core.types import Prompt, Rubric, Sample

__all__ = [
    "canonical_json",
    "digest",
    "edit_key",
    "edit_keys",
    "file_sha256",
    "identity_params",
    "rubric_hash",
    "sample_seed",
    "verdict_key",
    "verdict_keys",
]

_CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, no escapes but those JSON demands, no NaN.

    Whole floats are written as integers, so that 4 and 4.0 in a config are the same wish.

    Raises:
        ValueError: a number that is not finite.
        TypeError: something that JSON has no word for.
    """
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([canonical_json(item) for item in value]) + "]"
    if value is None or isinstance(value, (bool, int, float)):
        return _constant(value)
    if isinstance(value, (dict, Mapping)):  # dict first: asking the abstract class is slow
        parts = {str(key): canonical_json(item) for key, item in value.items()}
        return _object(parts)
    if isinstance(value, Sequence):
        return canonical_json(list(value))
    raise TypeError(f"{type(value).__name__} cannot be part of an identity")


def _constant(value: float | None) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if not math.isfinite(value):
        raise ValueError(f"{value} is no number that JSON knows, and no part of an identity")
    return int.__repr__(int(value)) if value.is_integer() else float.__repr__(value)


def _object(parts: Mapping[str, str]) -> str:
    """Return the object whose values are written already."""
    return "{" + ",".join([f"{encode_basestring(name)}:{parts[name]}" for name in sorted(parts)]) + "}"


class _Form:
    """The canonical JSON of an object with gaps: what is the same in many keys is written once.

    Args:
        same: what is written already.
        gaps: names of what each key fills in.
    """

    def __init__(self, same: Mapping[str, Any], gaps: Sequence[str]) -> None:
        parts = {name: canonical_json(value).replace("%", "%%") for name, value in same.items()}
        parts |= {name: f"%({name})s" for name in gaps}
        self._text = _object(parts)

    def digest(self, **own: Any) -> str:
        """Return the digest of the whole object."""
        return _sha256(self._text % {name: canonical_json(value) for name, value in own.items()})


def digest(value: Any) -> str:
    """Return the sha256 (64 hex digits) of the canonical JSON of `value`."""
    return _sha256(canonical_json(value))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


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

    A field declared with `metadata={"identity": False}` (simulated time, attention backend ...) is left out.
    """
    return {
        one.name: getattr(params, one.name)
        for one in dataclasses.fields(params)
        if one.metadata.get("identity", True)
    }


def edit_key(
    *,
    editor: Mapping[str, Any],
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
    return edit_keys(editor)(
        sample=sample,
        image_sha256=image_sha256,
        conditioning_sha256=conditioning_sha256,
        seed=seed,
        repeat=repeat,
    )


def edit_keys(editor: Mapping[str, Any]) -> Callable[..., str]:
    """Return `edit_key` for one editor, whose own part is written once and not once a sample."""
    form = _Form(
        {"what": "edit", "editor": editor}, ["instruction", "images", "conditioning", "seed", "repeat"]
    )

    def key(
        *,
        sample: Sample,
        image_sha256: Sequence[str],
        conditioning_sha256: Sequence[str],
        seed: int,
        repeat: int,
    ) -> str:
        return form.digest(
            instruction=sample.editor_instruction,
            images=image_sha256,
            conditioning=conditioning_sha256,
            seed=seed,
            repeat=repeat,
        )

    return key


@functools.lru_cache(maxsize=64)
def rubric_hash(rubric: Rubric) -> str:
    """Return the sha256 of everything a rubric says."""
    return digest(rubric.to_json())


def verdict_key(
    *,
    judge: Mapping[str, Any],
    rubric: Rubric,
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
        rubric: hashed whole.
        prompts: the rendered questions, before the chat template.
        edited_sha256: of the edited image's bytes.
        source_sha256: of each source image's bytes, in order.
        reference_sha256: of each reference's bytes (and an exact target's), in order.
        seed: of this judgement.
        repeat: 0-based.
    """
    return verdict_keys(judge, rubric)(
        prompts=prompts,
        edited_sha256=edited_sha256,
        source_sha256=source_sha256,
        reference_sha256=reference_sha256,
        seed=seed,
        repeat=repeat,
    )


def verdict_keys(judge: Mapping[str, Any], rubric: Rubric) -> Callable[..., str]:
    """Return `verdict_key` for one judge and rubric, whose own parts are written once and not once a verdict."""
    form = _Form(
        {"what": "verdict", "judge": judge, "rubric": rubric_hash(rubric)},
        ["prompts", "edited", "sources", "references", "seed", "repeat"],
    )

    def key(
        *,
        prompts: Sequence[Prompt],
        edited_sha256: str,
        source_sha256: Sequence[str],
        reference_sha256: Sequence[str],
        seed: int,
        repeat: int,
    ) -> str:
        return form.digest(
            prompts=[[one.call, one.text, one.images] for one in prompts],
            edited=edited_sha256,
            sources=source_sha256,
            references=reference_sha256,
            seed=seed,
            repeat=repeat,
        )

    return key
