"""The questions that a rubric asks about a sample: its templates, filled in.

What a sample says (its instruction, its notes) is data: it cannot end its own section of a prompt, and nothing in it is
taken for a placeholder. Knows no model and no file. Standard library only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from edit_eval.core.types import IMAGE_MARK, Call, Prompt, Rubric, Sample
from edit_eval.judges.contract import output_format

__all__ = ["instruction_literal", "prompt_renderer", "render_prompts"]

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
    literal = json.dumps(instruction, ensure_ascii=False)
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
    templates = [(call, _Template(rubric, call)) for call in rubric.calls]

    def render(sample: Sample) -> tuple[Prompt, ...]:
        return tuple(Prompt(call.name, template.fill(sample), call.images) for call, template in templates)

    return render


class _Template:
    """A call's prompt, taken apart once: texts, and between them what a sample fills in."""

    def __init__(self, rubric: Rubric, call: Call) -> None:
        self._fixed = {"output_format": output_format(rubric, call)}
        self._ours = not call.fill
        marks = call.fill or {f"{{{name}}}": name for name in _PLACEHOLDER.findall(call.prompt)}
        pieces = re.split("|".join(map(re.escape, marks)), call.prompt) if marks else [call.prompt]
        found = re.findall("|".join(map(re.escape, marks)), call.prompt) if marks else []
        self._pieces = pieces
        self._wanted = [marks[mark] for mark in found]
        roles = tuple(name.removeprefix("image:") for name in self._wanted if name.startswith("image:"))
        if roles and roles != call.images:
            raise ValueError(f"call {call.name!r} shows {list(call.images)}, but its prompt {list(roles)}")

    def fill(self, sample: Sample) -> str:
        """Return the text for `sample`."""
        parts = [self._pieces[0].replace(IMAGE_MARK, " ")]
        for name, piece in zip(self._wanted, self._pieces[1:], strict=True):
            parts += [self._value(name, sample), piece.replace(IMAGE_MARK, " ")]
        return "".join(parts)

    def _value(self, name: str, sample: Sample) -> str:
        if name.startswith("image:"):
            return IMAGE_MARK
        if name in self._fixed:
            return self._fixed[name]
        note = name.removeprefix("note:")
        if name != "instruction" and note not in sample.notes:
            raise ValueError(f"sample {sample.id!r} has no note {note!r}, which its rubric asks for")
        text = sample.instruction if name == "instruction" else sample.notes[note]
        return instruction_literal(text) if self._ours else text.replace(IMAGE_MARK, "\ufffd")
