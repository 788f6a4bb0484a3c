"""What `core.stats` says of a difference, as a comparison of runs holds it; and families of them, corrected. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from edit_eval.core.headlines import Headline, HeadlineDifference, Scored, difference
from edit_eval.core.stats import PairedComparison, StratumComparison, benjamini_hochberg, holm
from edit_eval.driver.comparison import Correction, Difference, OverallDifference

__all__ = ["corrected", "difference_of", "headline_of", "overall_of"]

_HOLM_UP_TO = 10
_D = TypeVar("_D", bound=Difference)


def difference_of(name: str, found: PairedComparison | StratumComparison, span: float) -> Difference:
    """Return a difference; its interval is cut where no difference on a scale of that span can be."""
    return Difference(
        **_numbers(name, found, span),
        wins=found.wins,
        ties=found.ties,
        losses=found.losses,
        smallest=found.smallest if isinstance(found, PairedComparison) else None,
    )


def overall_of(found: PairedComparison, span: float) -> OverallDifference:
    """Return the difference of the mean overall score, on a scale of that span."""
    plain = asdict(difference_of("overall", found, span))
    return OverallDifference(**plain, exact=found.exact, spread=found.spread)


def headline_of(headline: Headline, a: Sequence[Scored], b: Sequence[Scored]) -> Difference:
    """Return the difference of one of the benchmark's own numbers.

    Raises:
        ValueError: a sample weighs otherwise in the other run, or lacks a score that the headline is made of.
    """
    found = difference(headline, a, b)
    lacking = ""
    if found.lacking:
        lacking = f"no sample that both scored of {headline.group or 'it'}"
        lacking += f": {', '.join(filter(None, found.lacking))}" if any(found.lacking) else ""
    numbers = _numbers(headline.name, found, headline.high - headline.low)
    return Difference(**numbers, smallest=found.smallest, why_undefined=lacking)


def _numbers(
    name: str, found: PairedComparison | StratumComparison | HeadlineDifference, span: float
) -> dict[str, Any]:
    """Return what every kind of difference has."""
    return {
        "name": name,
        "n": found.n,
        "clusters": found.clusters,
        "base": found.mean_a,
        "other": found.mean_b,
        "difference": found.difference,
        "standard_error": found.standard_error,
        "low": None if found.low is None else max(found.low, -span),
        "high": None if found.high is None else min(found.high, span),
        "p": found.p,
    }


def corrected(found: Sequence[_D]) -> tuple[list[_D], Correction | None]:
    """Return differences with p corrected for one another: Holm up to ten, above Benjamini-Hochberg; one needs none."""
    if len(found) < 2:
        return list(found), None
    few = len(found) <= _HOLM_UP_TO
    adjusted = (holm if few else benjamini_hochberg)([one.p for one in found])
    return [
        replace(one, adjusted_p=p) for one, p in zip(found, adjusted, strict=True)
    ], "holm" if few else "benjamini-hochberg"
