"""The questions that a rubric asks about a sample: its templates, filled in.

What a sample says (its instruction, its notes) is data: it cannot end its own section of a prompt, and nothing in it is
taken for a placeholder. Knows no model and no file. Standard library only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import AnyStr

from edit_eval.core.types import IMAGE_MARK, Call, Prompt, Rubric, Sample
from edit_eval.judges.contract import output_format

__all__ = [
    "PromptTemplate",
    "between",
    "instruction_literal",
    "prompt_renderer",
    "prompt_templates",
    "render_prompts",
]

_PLACEHOLDER = re.compile(
    r"\{(instruction|output_format|note:[^{}]+|image:(?:source|edited|reference)(?:/[1-9])?)\}"
)
_MARKUP = re.compile(r"<(?=[|｜/!A-Za-z_])|\[(?=/?(?:[A-Z_]{3,}|[gs]MASK)\])")
"""What may begin a tag or a tokenizer's special token (`<|im_end|>`, `[INST]`) inside an instruction."""

_UNSEEN = re.compile("[\ufffc\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What ends a line or turns the direction of the text that follows it, and which JSON leaves as it is."""


def instruction_literal(instruction: str) -> str:
    r"""Return `instruction` as a JSON string literal that cannot end its own section of a prompt.

    Quotes and line breaks are escaped by JSON. Escaped as well: a `<` or `[` that could begin a tag or a special token
    of a tokenizer (`\u003c`, `\u005b`), Unicode's own line ends and direction overrides, and lone surrogates.
    `json.loads` gives the instruction back.
    """
    literal = json.encoder.encode_basestring(instruction)
    if literal.isascii() and not ("<" in literal or "[" in literal or "\x7f" in literal):  # as nearly all
        return literal
    for pattern in (_MARKUP, _UNSEEN):
        literal = pattern.sub(lambda match: f"\\u{ord(match.group()):04x}", literal)
    return literal.encode("utf-8", "backslashreplace").decode("utf-8")


def render_prompts(rubric: Rubric, sample: Sample) -> tuple[Prompt, ...]:
    """Return the rubric's questions about `sample`, in the order of its calls.

    Placeholders are looked for in the template alone and filled in one pass: what an instruction contains
    (`{output_format}`, `%s`, braces) stays as it is. Raises `ValueError` where the sample lacks a note that is asked for.
    """
    return prompt_renderer(rubric)(sample)


def prompt_renderer(rubric: Rubric) -> Callable[[Sample], tuple[Prompt, ...]]:
    """Return `render_prompts` for one rubric, with what is the same for every sample made once."""
    templates = prompt_templates(rubric)

    def render(sample: Sample) -> tuple[Prompt, ...]:
        return tuple(Prompt(call.name, template.fill(sample), call.images) for call, template in templates)

    return render


def prompt_templates(rubric: Rubric) -> list[tuple[Call, PromptTemplate]]:
    """Return every call with its prompt, in their order."""
    return [(call, PromptTemplate(rubric, call)) for call in rubric.calls]


class PromptTemplate:
    """A call's prompt, taken apart once: `pieces`, and between them what a sample fills in."""

    def __init__(self, rubric: Rubric, call: Call) -> None:
        fixed = {"output_format": output_format(rubric, call)}
        self._ours = not call.fill
        marks = call.fill or {f"{{{name}}}": name for name in _PLACEHOLDER.findall(call.prompt)}
        pieces = re.split("|".join(map(re.escape, marks)), call.prompt) if marks else [call.prompt]
        found = re.findall("|".join(map(re.escape, marks)), call.prompt) if marks else []
        names = [marks[mark] for mark in found]
        self.pieces = [pieces[0].replace(IMAGE_MARK, " ")]
        self._wanted = []
        for name, piece in zip(names, pieces[1:], strict=True):
            text = piece.replace(IMAGE_MARK, " ")
            if name.startswith("image:") or name in fixed:  # the same for every sample
                self.pieces[-1] += fixed.get(name, IMAGE_MARK) + text
            else:
                self._wanted.append(name)
                self.pieces.append(text)
        roles = tuple(name.removeprefix("image:") for name in names if name.startswith("image:"))
        if roles and roles != call.images:
            raise ValueError(f"call {call.name!r} shows {list(call.images)}, but its prompt {list(roles)}")

    def fill(self, sample: Sample) -> str:
        """Return the text for `sample`."""
        return "".join(between(self.pieces, self.values(sample)))

    def values(self, sample: Sample) -> list[str]:
        """Return what stands between the pieces. Raises `ValueError` where `sample` lacks a note that is asked for."""
        return [self._value(name, sample) for name in self._wanted]

    def _value(self, name: str, sample: Sample) -> str:
        if name == "instruction":
            return self._quoted(sample.instruction)
        note = name.removeprefix("note:")
        if note not in sample.notes:
            raise ValueError(f"sample {sample.id!r} has no note {note!r}, which its rubric asks for")
        return self._quoted(sample.notes[note])

    def _quoted(self, text: str) -> str:
        return instruction_literal(text) if self._ours else text.replace(IMAGE_MARK, "\ufffd")


def between(pieces: Sequence[AnyStr], values: Sequence[AnyStr]) -> list[AnyStr]:
    """Return the pieces, which are one more than the values, with these between them."""
    parts = [pieces[0]]
    for value, piece in zip(values, pieces[1:], strict=True):
        parts += [value, piece]
    return parts
