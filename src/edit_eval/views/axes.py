"""What all charts share: ticks, round steps, numbers as text. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "DASH",
    "MOST_SERIES",
    "Tick",
    "nice_step",
    "number_text",
    "refuse_many",
    "rounded",
    "short_number",
]

MOST_SERIES = 6
"""Runs in one chart that can be told apart by colour and form."""
DASH = "–"


@dataclass(frozen=True)
class Tick:
    """A mark of an axis, `at` per cent from the left."""

    at: float
    label: str


def nice_step(span: float, most: int) -> float:
    """Return the least step of 1, 2 or 5 times a power of ten that parts `span` in at most `most`."""
    least = span / most
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(
        factor * power
        for factor in (1.0, 2.0, 5.0, 10.0, 20.0)
        if span / (factor * power) <= most * (1 + 1e-9)
    )


def number_text(value: float | None, decimals: int = 3, *, signed: bool = False) -> str:
    """Return a number with a true minus; a dash for None."""
    if value is None:
        return DASH
    return f"{value:{'+' if signed else ''}.{decimals}f}".replace("-", "\u2212")


def refuse_many(series: Sequence[str]) -> None:
    """Refuse more runs than can be told apart. Raises `ValueError`."""
    if len(series) > MOST_SERIES:
        raise ValueError(f"at most {MOST_SERIES} runs can be told apart in one chart, not {len(series)}")


def rounded(value: float) -> float:
    """Return a place as it is written into a drawing."""
    return round(value, 2)


def short_number(value: float) -> str:
    """Return a number as it stands at a tick, with a true minus."""
    text = f"{value:.6g}"
    return "0" if text == "-0" else text.replace("-", "\u2212")
