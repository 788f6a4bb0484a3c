"""What a job of many edits would take, by arithmetic from measured parts. Nothing here is a measurement.

Pure. Each term keeps its name and its sum, so that the arithmetic can be printed beside its result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["DESCRIBED_S", "Composed", "Described", "Ours", "described", "ours"]

DESCRIBED_S = 5.5 * 3600
"""What the described system was said to take for 900 edits on 6 GPUs of 80 GB."""


@dataclass(frozen=True)
class Ours:
    """Measured parts of our design, in seconds.

    Attributes:
        load: from the order to start an editor to its being ready, all devices at once.
        first: how much longer its first edit takes (compilation).
        step: of denoising.
        around: an edit less its steps: decoding, encoding, VAE, saving, waiting for the next.
        unload: from the order to end an editor to its memory being free.
        judge_start: from the last edit to the first verdict, less `unload` and the judging itself.
        verdict: of one device, once it has begun.
    """

    load: float
    first: float
    step: float
    around: float
    unload: float
    judge_start: float
    verdict: float


@dataclass(frozen=True)
class Described:
    """Measured parts of the described design, in seconds; `unload` is `.to("cpu")` of one editor."""

    load: float
    step: float
    around: float
    unload: float
    judge_start: float
    verdict: float


@dataclass(frozen=True)
class Composed:
    """A job by arithmetic: `terms` are (what, how it was computed, seconds)."""

    name: str
    terms: Sequence[tuple[str, str, float]]

    @property
    def seconds(self) -> float:
        """The sum."""
        return math.fsum(one[2] for one in self.terms)

    def lines(self) -> list[str]:
        """Return it in words, a line for each term."""
        rows = [f"{self.name}: {self.seconds:.0f} s = {self.seconds / 3600:.2f} h, by arithmetic"]
        return rows + [
            f"  {seconds:>9.1f} s  {what}{f' = {how}' if how else ''}" for what, how, seconds in self.terms
        ]


def _editing(count: int, devices: int, steps: int, step: float, around: float) -> tuple[str, str, float]:
    share = math.ceil(count / devices)
    how = f"{share} x ({steps} x {step:.3f} + {around:.2f})"
    return "editing", how, share * (steps * step + around)


def ours(parts: Ours, edits: int, devices: int, steps: int) -> Composed:
    """Return a job of ours: every device edits its share, goes over to judging, and judges its share."""
    share = math.ceil(edits / devices)
    terms = [
        ("load, all at once", "", parts.load),
        ("first edit's compilation", "", parts.first),
        _editing(edits, devices, steps, parts.step, parts.around),
        ("unload, all at once", "", parts.unload),
        ("judge's start", "", parts.judge_start),
        ("judging", f"{share} x {parts.verdict:.3f}", share * parts.verdict),
    ]
    return Composed(f"ours, {edits} edits of {steps} steps on {devices} GPUs", terms)


def described(parts: Described, edits: int, devices: int, steps: int, judges: int) -> Composed:
    """Return the described job: a fixed share for each device, a barrier, editors unloaded one after another, judging."""
    share = math.ceil(edits / judges)
    terms = [
        ("load", "", parts.load),
        _editing(edits, devices, steps, parts.step, parts.around),
        ("unload, one after another", f"{devices} x {parts.unload:.1f}", devices * parts.unload),
        ("judge's start", "", parts.judge_start),
        ("judging", f"{share} x {parts.verdict:.3f}", share * parts.verdict),
    ]
    return Composed(f"described, {edits} edits of {steps} steps on {devices} GPUs, {judges} judging", terms)
