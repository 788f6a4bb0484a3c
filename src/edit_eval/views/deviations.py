"""What a protocol id says, in words: whether it is official, and if not, each thing that is not as its authors have it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from edit_eval.driver.summary import Summary

__all__ = ["Deviation", "Standing", "standing_of"]


@dataclass(frozen=True)
class Deviation:
    """A part of the id that says what differs, and what it means; the meaning is empty where we have no words for it."""

    name: str
    meaning: str


@dataclass(frozen=True)
class Standing:
    """How a run's protocol relates to the official one of its benchmark.

    Attributes:
        benchmark: name and version, `gedit/v1`.
        official: True, False, or None where the benchmark has no published numbers of its own.
        deviations: why it is not official; of a benchmark without an official protocol, what was chosen.
    """

    benchmark: str
    official: bool | None
    deviations: tuple[Deviation, ...]


_MEANINGS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (
        r"own-prompts",
        lambda _: "the judge is asked with our own prompts, not those of the benchmark's authors",
    ),
    (r"prompts-([0-9a-f]{8})", lambda _: "the prompts are not those that the benchmark's authors published"),
    (r"judge-(.+)", lambda found: f"the judge is {found[1]}, not the one of the benchmark's authors"),
    (r"limit-(\d+)", lambda found: f"only {found[1]} samples were taken"),
    (r"samples-(\d+)-of-(\d+)", lambda found: f"{found[1]} of the benchmark's {found[2]} samples are there"),
    (r"partial", lambda _: "not every sample has a score"),
    (r"subset-intersection", lambda _: "only the samples that every model of the paper's table could edit"),
    (r"subset-single", lambda _: "only the subsets with one input image"),
    (r"edited-small", lambda _: "the editor was given the smaller copies of the sources"),
    (
        r"anomalies-explained",
        lambda _: "the judge is shown what is odd in a source, which the official code omits",
    ),
    (r"against-(.+)", lambda found: f"edits are compared with those of run {found[1]}"),
    (r"pairwise", lambda _: "two edits are compared; none is scored by itself"),
    (r"mean-of-(\d+)", lambda found: f"each score is the mean of {found[1]} readings"),
)


def standing_of(summary: Summary) -> Standing:
    """Return what the protocol id of a run says."""
    benchmark, *parts = summary.protocol.split("+")
    if parts == ["official"]:
        return Standing(benchmark, official=True, deviations=())
    deviations = tuple(Deviation(part, _meaning(part)) for part in parts if part)
    return Standing(benchmark, False if summary.headlines else None, deviations)


def _meaning(part: str) -> str:
    for pattern, say in _MEANINGS:
        if found := re.fullmatch(pattern, part):
            return say(found)
    return ""
