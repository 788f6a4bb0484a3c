"""Keys by the hundred thousand: those of `core.identity`, with what is the same in all of them written once.

The bytes that are hashed are the same; only who writes them differs. What is the same (the identity of an editor or a
judge, a rubric's prompts) is written by `core.identity` into a template, whose holes are filled by orjson, and by
`core.identity` where orjson refuses: lone surrogates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from edit_eval.core.identity import canonical_bytes, edit_key, rubric_hash, sample_seed, verdict_key
from edit_eval.core.types import Prompt, Rubric, Sample
from edit_eval.judges.prompts import PromptTemplate, prompt_renderer, prompt_templates

__all__ = ["edit_keys", "seeds", "verdict_keys"]

# What `core.identity` hashes; `%b` is filled with JSON.
_SEED = b"[%b,%b,%b]"
_EDIT = b'{"conditioning":%b,"editor":%b,"images":%b,"instruction":%b,"repeat":%b,"seed":%b,"what":"edit"}'
_VERDICT = (
    b'{"edited":%b,"judge":%b,"prompts":%b,"references":%b,"repeat":%b,"rubric":%b,"seed":%b,"sources":%b,'
    b'"what":"verdict"}'
)


def seeds(base_seed: int) -> Callable[[str, int], int]:
    """Return `sample_seed` for one base seed; it takes the sample's id and the repeat."""
    template = _SEED % (canonical_bytes(base_seed), b"%b", b"%d")
    write, sha256 = orjson.dumps, hashlib.sha256

    def seed(sample_id: str, repeat: int) -> int:
        try:
            text = template % (write(sample_id), repeat)
        except TypeError:
            return sample_seed(base_seed, sample_id, repeat)
        return int.from_bytes(sha256(text).digest()[:8], "big") >> 1

    return seed


def edit_keys(editor: Mapping[str, Any]) -> Callable[..., str]:
    """Return `edit_key` for one editor; it takes the other arguments."""
    template = _EDIT % (b"%b", _settled(canonical_bytes(editor)), b"%b", b"%b", b"%d", b"%d")
    write, sha256 = orjson.dumps, hashlib.sha256

    def key(
        *,
        sample: Sample,
        image_sha256: Sequence[str],
        conditioning_sha256: Sequence[str],
        seed: int,
        repeat: int,
    ) -> str:
        try:
            text = template % (
                write(conditioning_sha256),
                write(image_sha256),
                write(sample.editor_instruction),
                repeat,
                seed,
            )
        except TypeError:
            return edit_key(
                editor=editor,
                sample=sample,
                image_sha256=image_sha256,
                conditioning_sha256=conditioning_sha256,
                seed=seed,
                repeat=repeat,
            )
        return sha256(text).hexdigest()

    return key


def verdict_keys(judge: Mapping[str, Any], rubric: Rubric) -> Callable[..., str]:
    """Return `verdict_key` for one judge and rubric; it takes the sample, and of the other arguments those by name.

    `prompts` may be left out: they are what the rubric asks about the sample. Raises `ValueError` where the sample lacks
    a note that is asked for.
    """
    rubric_sha256 = rubric_hash(rubric)
    asked = prompt_templates(rubric)
    prompts_of = prompt_renderer(rubric)
    template = _VERDICT % (
        b"%b",
        _settled(canonical_bytes(judge)),
        b"[" + b",".join(_prompt(call.name, one, call.images) for call, one in asked) + b"]",
        b"%b",
        b"%d",
        canonical_bytes(rubric_sha256),
        b"%d",
        b"%b",
    )
    write, sha256 = orjson.dumps, hashlib.sha256

    def key(
        sample: Sample,
        *,
        edited_sha256: str,
        source_sha256: Sequence[str],
        reference_sha256: Sequence[str],
        seed: int,
        repeat: int,
        prompts: Sequence[Prompt] | None = None,
    ) -> str:
        try:
            if prompts is None:
                text = template % (
                    write(edited_sha256),
                    *[write(value)[1:-1] for _, one in asked for value in one.values(sample)],
                    write(reference_sha256),
                    repeat,
                    seed,
                    write(source_sha256),
                )
                return sha256(text).hexdigest()
        except TypeError:
            pass  # characters that only `core.identity` writes
        return verdict_key(
            judge=judge,
            rubric=rubric_sha256,
            prompts=prompts_of(sample) if prompts is None else prompts,
            edited_sha256=edited_sha256,
            source_sha256=source_sha256,
            reference_sha256=reference_sha256,
            seed=seed,
            repeat=repeat,
        )

    return key


def _prompt(call: str, template: PromptTemplate, images: Sequence[str]) -> bytes:
    """Return what a key says of one prompt, with a hole for everything that a sample fills in."""
    text = b"%b".join(_settled(canonical_bytes(piece))[1:-1] for piece in template.pieces)
    return b'[%b,"%b",%b]' % (
        _settled(canonical_bytes(call)),
        text,
        _settled(canonical_bytes(images)),
    )


def _settled(text: bytes) -> bytes:
    """Return a text as it stands in a template, without being taken for a hole."""
    return text.replace(b"%", b"%%")
