"""How views write text: cut to columns, numbers, clocks, bars and index ranges.

Pure functions of their arguments. Knows terminal columns (through `rich.cells`); knows no event and no stream but for
what its encoding can hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len, set_cell_size

from edit_eval.views.harmless import clean, harmless

__all__ = [
    "Ink",
    "clean",
    "clock",
    "fit",
    "harmless",
    "kinds",
    "number",
    "pad",
    "per_second",
    "ranges",
    "wrapped",
]

UNDEFINED = "-"
"""What stands where a number is undefined. Never 0."""

_BLOCKS = " ▏▎▍▌▋▊▉█"


def fit(text: str, columns: int, ellipsis: str = "…") -> str:
    """Return `text`, cut to at most `columns` terminal columns; what is cut ends in `ellipsis`."""
    if len(text) <= columns and text.isascii():
        return text
    if cell_len(text) <= columns:
        return text
    room = columns - cell_len(ellipsis)
    if room <= 0:
        return set_cell_size(text, max(columns, 0)).rstrip()
    return set_cell_size(text[: columns + 1], room).rstrip() + ellipsis


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """Return `text` filled with spaces to `columns` terminal columns; `right` puts the text at the right."""
    space = " " * max(0, columns - cell_len(text))
    return space + text if right else text + space


def wrapped(text: str, columns: int) -> list[str]:
    """Return `text` in lines of at most `columns` terminal columns, broken at spaces where there are any."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= columns:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if cell_len(lines[-1] + character) > columns:
                lines.append("")
            lines[-1] += character
    return lines


def number(value: float | None, decimals: int = 3) -> str:
    """Return `value` with `decimals` decimals, or a dash where it is undefined."""
    return UNDEFINED if value is None else f"{value:.{decimals}f}"


def clock(seconds: float | None) -> str:
    """Return `seconds` as `MM:SS` or `H:MM:SS`, rounded down; `??:??` where unknown."""
    if seconds is None:
        return "??:??"
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def per_second(rate: float | None, unit: str = "it") -> str:
    """Return a rate as `1.8 it/s`, or as `2.4 s/it` where it is below one."""
    if not rate:
        return f"? {unit}/s"
    return f"{rate:.1f} {unit}/s" if rate >= 1 else f"{1 / rate:.1f} s/{unit}"


def kinds(counts: Mapping[str, int]) -> str:
    """Return `3 (2 refused, 1 unparsable)`, most frequent kind first; `0` for none."""
    shown = sorted(
        ((count, kind) for kind, count in counts.items() if count), key=lambda one: (-one[0], one[1])
    )
    if not shown:
        return "0"
    total = sum(count for count, _ in shown)
    return f"{total} ({', '.join(f'{count} {clean(kind)}' for count, kind in shown)})"


def ranges(indices: Iterable[int]) -> str:
    """Return indices compressed into ranges: `0-3, 7`."""
    runs: list[list[int]] = []
    for index in sorted(set(indices)):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


@dataclass(frozen=True)
class Ink:
    """What a stream can show.

    Attributes:
        encoding: of the stream.
        blocks: from empty to full, the characters of a bar.
        ellipsis: ends what was cut.
        plus_minus: stands before a standard error.
    """

    encoding: str = "utf-8"
    blocks: str = _BLOCKS
    ellipsis: str = "…"
    plus_minus: str = "±"

    @classmethod
    def of(cls, stream: TextIO) -> Ink:
        """Return what `stream` can show: block characters where its encoding has them, else `#`."""
        encoding = getattr(stream, "encoding", None) or "utf-8"
        try:
            (_BLOCKS + "…±").encode(encoding)
        except (UnicodeEncodeError, LookupError):
            return cls(encoding, " #", "...", "+-")
        return cls(encoding)

    def safe(self, text: str) -> str:
        """Return `text` as one line that a terminal only shows; what the encoding lacks as backslash escapes."""
        text = harmless(text)
        if text.isascii():
            return text
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def bar(self, done: int, total: int, columns: int) -> str:
        """Return a bar of `columns` columns, filled by `done` of `total`."""
        steps = len(self.blocks) - 1
        filled = columns * steps if total <= 0 else min(done, total) * columns * steps // total
        whole, part = divmod(filled, steps)
        text = self.blocks[-1] * whole + (self.blocks[part] if part else "")
        return text + " " * (columns - len(text))
