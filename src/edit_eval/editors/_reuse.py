"""Results of a pipeline's parts kept for the next call that is given the same: exact, for nothing in them is random.

An edit encodes its sources once for the prompt and once for the negative one; samples that share a source, and repeats
of a sample, share what the VAE and the encoder make of it. What is given is compared by value, never by name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

__all__ = ["Reuse", "reuse_qwen_parts"]

_SOURCES = 4
"""Calls remembered of each part: samples that share a source follow one another, spread over the devices."""


class Reuse:
    """A function that returns what it returned before, where it is given the same.

    Tensors that it returns must not be changed by whoever gets them.
    """

    def __init__(self, function: Callable[..., Any], keep: int) -> None:
        """Keep the results of the `keep` latest different calls of `function`, on whatever device they are."""
        self._function = function
        self._keep = keep
        self._known: list[tuple[Any, Any]] = []

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Return the result. Raises what the function raises, and keeps nothing then."""
        given = (arguments, options)
        for index, (known, result) in enumerate(self._known):
            if _same(known, given):
                self._known.append(self._known.pop(index))
                return _own(result)
        result = self._function(*arguments, **options)
        self._known = [*self._known, (_kept(given), _own(result))][-self._keep :]
        return result


def _own(result: Any) -> Any:
    """Return a copy of a result that has named parts: libraries put others in their places."""
    return copy.copy(result) if isinstance(result, dict) else result


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal: tensors of one device and dtype bit by bit, images by their pixels."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(_same(*both) for both in zip(one, other, strict=True))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if hasattr(one, "is_cuda"):  # a tensor; this module is imported without torch
        import torch

        alike = one.shape == other.shape and one.dtype == other.dtype and one.device == other.device
        return bool(alike and torch.equal(one, other))
    return bool(one == other)


def _kept(value: Any) -> Any:
    """Return a copy of what was given that nobody else changes."""
    if isinstance(value, (list, tuple)):
        return type(value)(_kept(one) for one in value)
    if isinstance(value, dict):
        return {name: _kept(one) for name, one in value.items()}
    if hasattr(value, "is_cuda"):
        return value.clone()
    return value.copy() if hasattr(value, "tobytes") else value


def reuse_qwen_parts(pipeline: Any) -> Callable[[], None]:
    """Have a Qwen-Image-Edit pipeline keep what it made of its latest prompts, sources and pictures.

    Returns:
        A function that takes it back.
    """
    encoder = getattr(pipeline, "text_encoder", None)
    visual = getattr(getattr(encoder, "model", encoder), "visual", None)
    kept = [(pipeline, "encode_prompt", 2 * _SOURCES), (pipeline.vae, "encode", _SOURCES)]
    if visual is not None:
        kept.append((visual, "forward", 1))  # for the prompt, then for the negative one
    for owner, name, keep in kept:
        setattr(owner, name, Reuse(getattr(owner, name), keep))

    def back() -> None:
        for owner, name, _ in kept:
            delattr(owner, name)

    return back
