"""Numbers in replies that are no JSON: lines with labels, a final score, a number alone; and where thoughts end.

Reads for `judges.contract`, as strictly as that does: a number that something else stands beside on its line (a range, a
fraction of another scale, a per cent sign) is not read. Every function takes time linear in the length of its text.
Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = [
    "THOUGHTS",
    "final_numbers",
    "labelled_numbers",
    "number_alone",
    "without_last_line",
    "without_thoughts",
]

THOUGHTS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "◁think▷": "◁/think▷",
    "[THINK]": "[/THINK]",
}
"""Marks that models put around what they think before they answer: opening, closing."""

_TAG = re.compile("|".join(re.escape(tag) for pair in THOUGHTS.items() for tag in pair))
_NUMBER = r"[+-]?[0-9]+(?:\.[0-9]+)?"
_NUMBERS = re.compile(rf"{_NUMBER}(?:[ \t]*[,，][ \t]*{_NUMBER})*")
_FINAL = re.compile(r"\bFinal\s{1,3}Scores?\b", re.IGNORECASE)
_REMARK = re.compile(r"\([^()]*\)|（[^（）]*）")
_LINE_END = re.compile(r"\r\n?")


def without_thoughts(text: str) -> str | None:
    """Return `text` without its thoughts and what precedes a lone closing tag; None if a thought does not end."""
    parts: list[str] = []
    position = 0
    while match := _TAG.search(text, position):
        closing = THOUGHTS.get(match.group())
        if closing is None:
            parts.clear()
            position = match.end()
            continue
        parts.append(text[position : match.start()])
        closed = text.find(closing, match.end())
        if closed < 0:
            return None
        position = closed + len(closing)
    return "\n".join([*parts, text[position:]])


def without_last_line(text: str) -> str:
    """Return `text` without its last line, of which one cannot know how it would have gone on."""
    return text[: max(text.rfind("\n"), text.rfind("\r")) + 1]


def number_alone(text: str) -> list[float] | None:
    """Return the number that `text` is, white space aside; None if it is anything else."""
    plain = text.strip()
    return [float(plain)] if re.fullmatch(_NUMBER, plain) else None


def labelled_numbers(text: str, labels: Sequence[str], tops: Sequence[float]) -> list[float] | None:
    """Return the number on the line `LABEL: number` of each label, bold or as a list item or not.

    Args:
        text: the reply.
        labels: what each line begins with; upper and lower case are the same.
        tops: of each label: N of a `/N` that may follow the number.

    Returns:
        One number per label, in order; empty if a label is there twice or badly; None if one is missing.
    """
    plain = _LINE_END.sub("\n", text).replace("*", " ")
    numbers: list[float] = []
    missing = False
    for label, top in zip(labels, tops, strict=True):
        line = rf"^[ \t]*(?:[-•][ \t]+)?{re.escape(label)}[ \t]*[:：](.*)$"
        values = [value.strip() for value in re.findall(line, plain, re.MULTILINE | re.IGNORECASE)]
        if not values:
            missing = True
            continue
        number = re.fullmatch(
            rf"({_NUMBER})(?:[ \t]*/[ \t]*{re.escape(f'{top:g}')})?", values[0].rstrip(" \t.")
        )
        if len(values) > 1 or number is None:
            return []
        numbers.append(float(number[1]))
    return None if missing else numbers


def final_numbers(text: str, count: int) -> list[float] | None:
    """Return the `count` numbers of `Final Score: number` or `Final Scores: number, number`, on a line of their own.

    The number may be bold, stand on the next line, and be followed by a remark in parentheses that has no number in it.

    Returns:
        The numbers; empty if there are more or fewer, or two final scores, or something else beside; None if there is
        no final score.
    """
    found = list(_FINAL.finditer(text))
    if len(found) != 1:
        return [] if found else None
    rest = text[found[0].end() :].replace("*", " ").lstrip()
    rest = rest[1:].lstrip() if rest.startswith((":", "：")) else rest
    line = re.split(r"[\r\n]", rest, maxsplit=1)[0].strip()
    match = _NUMBERS.match(line)
    if match is None:
        return []
    tail = line[match.end() :].strip(" \t.。")
    if (tail and not _REMARK.fullmatch(tail)) or any(one.isnumeric() for one in tail):
        return []
    numbers = [float(one) for one in re.findall(_NUMBER, match.group())]
    return numbers if len(numbers) == count else []
