"""What a run says so far: one row per sample and repeat, and the numbers with their error bars.

Reads a run directory's ledgers through `driver.store`; decides nothing about showing them. Every view, the exit code
and the canonical export start from here, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edit_eval.core.types import Sample, Verdict

__all__ = ["Estimate", "Row", "Summary"]


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes:
        n: samples scored (repeats of one sample count once).
        clusters: groups of dependent samples among them.
        mean: None if n is 0.
        standard_error: clustered; None under two clusters.
        low, high: the interval; None under two clusters.
        minimum, maximum: over samples; None if n is 0.
    """

    n: int
    clusters: int
    mean: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True)
class Row:
    """One sample and repeat, as far as it got.

    Attributes:
        index: 0-based position in the benchmark (times repeats).
        sample: the sample.
        repeat: 0-based.
        edit_key: 64 hex digits.
        edited: True, False (failed), or None (not done yet).
        edit_failure: kind and message where `edited` is False.
        edit: the ledger's record of the edit: `sha256`, `width`, `height`, `seconds`, `device` ...
        image: path of the edit, relative to the run directory; None if there is none.
        thumbnail: likewise, of its thumbnail.
        source_thumbnail: likewise, of the first source image's thumbnail; None if it was not written.
        verdict_key: 64 hex digits; None before the edit exists.
        verdict: None if not judged yet.
    """

    index: int
    sample: Sample
    repeat: int
    edit_key: str
    edited: bool | None
    edit_failure: tuple[str, str] | None
    edit: Mapping[str, Any]
    image: str | None
    thumbnail: str | None
    source_thumbnail: str | None
    verdict_key: str | None
    verdict: Verdict | None


@dataclass(frozen=True)
class Summary:
    """The numbers of a run.

    Attributes:
        run: name of the run directory.
        protocol: protocol id, e.g. `scenes/v1+reference-v1`.
        editor, judge: as people know them (type and model); judge is None for a run without judging.
        scale: smallest and largest possible overall score.
        wanted: samples times repeats.
        edited: how many have an edit.
        edit_failed: how many failed, by kind.
        scored: how many verdicts have scores.
        unscored: how many have none, by kind.
        coverage: scored / wanted, 0..1.
        min_coverage: below it the run counts as partial (exit code 3).
        headline: the overall score.
        bounds: at coverage < 1, the mean if everything missing had the lowest, or the highest, score.
        dimensions: estimate by dimension.
        tags: tag name -> tag value -> estimate of the overall score.
        facts: lines of provenance for people: size policies, versions, device names ... (label -> text).
    """

    run: str
    protocol: str
    editor: str
    judge: str | None
    scale: tuple[float, float]
    wanted: int
    edited: int
    edit_failed: Mapping[str, int]
    scored: int
    unscored: Mapping[str, int]
    coverage: float
    min_coverage: float
    headline: Estimate
    bounds: tuple[float, float] | None
    dimensions: Mapping[str, Estimate]
    tags: Mapping[str, Mapping[str, Estimate]]
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether coverage reaches `min_coverage`."""
        return self.coverage >= self.min_coverage


def rows_by_index(rows: Sequence[Row]) -> list[Row]:
    """Return `rows` in the benchmark's order."""
    return sorted(rows, key=lambda row: row.index)
