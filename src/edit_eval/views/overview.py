"""The upper part of the report page: how good, where, how surely, what is missing, what it took, and how it was made.

Pure: from a summary, and what is known beside it, to what `templates/overview.html` shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edit_eval.driver.provenance import Provenance
from edit_eval.driver.summary import Estimate, Summary
from edit_eval.driver.usage import Usage
from edit_eval.views.cards import short, visible
from edit_eval.views.charts import Forest, Point, forest
from edit_eval.views.deviations import standing_of
from edit_eval.views.histograms import Bars, Histogram, bars, histogram
from edit_eval.views.page import percent_text
from edit_eval.views.timeline_chart import Timeline, time_text

__all__ = ["FEW_CLUSTERS", "Background", "overview", "point_of"]

FEW_CLUSTERS = 20
"""Under so many clusters an interval rests on its assumptions more than on the data."""
_LONGEST_CELL = 60
_LONGEST_FACT = 400


@dataclass(frozen=True)
class Background:
    """What the page shows of a run beside its numbers: what the devices did, and how it was made."""

    timeline: Timeline | None = None
    provenance: Provenance | None = None


def overview(summary: Summary, usage: Usage | None, background: Background) -> dict[str, Any]:
    """Return what the overview shows, by the names that its template knows."""
    standing = standing_of(summary)
    return {
        "standing": {
            "benchmark": visible(standing.benchmark),
            "official": standing.official,
            "deviations": [(short(one.name), short(one.meaning)) for one in standing.deviations],
        },
        "few": summary.headline.clusters if 0 < summary.headline.clusters < FEW_CLUSTERS else None,
        "forests": _forests(summary),
        "histograms": _histograms(summary),
        "failure_bars": _failures(summary),
        "costs": _costs(usage),
        "timeline": background.timeline,
        "provenance": _provenance(background.provenance),
    }


def point_of(one: Estimate) -> Point:
    """Return an estimate as a chart takes it."""
    return Point(one.mean, one.low, one.high, one.n)


def _forests(summary: Summary) -> list[Forest]:
    """Return a forest plot of the dimensions, and one of each tag with its best group first."""
    found = []
    if summary.dimensions:
        rows = [(short(name, _LONGEST_CELL), [point_of(one)]) for name, one in summary.dimensions.items()]
        found.append(
            forest("Scores by dimension", "Dimension", rows, within=_scale(summary, dimensions=True))
        )
    for tag, estimates in summary.tags.items():
        shares = summary.tag_coverage.get(tag, {}) if summary.coverage < 1 else {}
        ordered = sorted(estimates, key=lambda name: _place(name, estimates[name]))
        found.append(
            forest(
                short(f"By {tag}", _LONGEST_CELL),
                short(tag, _LONGEST_CELL),
                [(short(name, _LONGEST_CELL), [point_of(estimates[name])]) for name in ordered],
                overall=[summary.headline.mean],
                within=_scale(summary),
                more=[("coverage", [percent_text(shares[name]) for name in ordered])] if shares else [],
            )
        )
    return [one for one in found if one.rows]


def _place(name: str, one: Estimate) -> tuple[bool, float, str]:
    return one.mean is None, -(one.mean or 0.0), name


def _scale(summary: Summary, *, dimensions: bool = False) -> tuple[float, float] | None:
    """Return the ends of an axis: of the overall score's scale, or of all dimensions' scales."""
    if not dimensions:
        return summary.scale if summary.scale[1] > summary.scale[0] else None
    known = [(one.low, one.high) for one in summary.distributions.values()]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def _histograms(summary: Summary) -> list[Histogram]:
    """Return the histogram of the overall score, and of each dimension where there are several."""
    known = [("Overall score", summary.distribution)] if summary.distribution else []
    if len(summary.distributions) > 1 or not known:
        known += [(short(name, _LONGEST_CELL), one) for name, one in summary.distributions.items()]
    return [histogram(name, [("", one)]) for name, one in known if any(one.counts)]


def _failures(summary: Summary) -> Bars | None:
    """Return what is missing, by kind; None where nothing is."""
    rows = [
        ("Edit failed", visible(kind), count, "failed")
        for kind, count in sorted(summary.edit_failed.items(), key=_most_first)
        if count
    ]
    rows += [
        ("Unscored", visible(kind), count, "missing")
        for kind, count in sorted(summary.unscored.items(), key=_most_first)
        if count
    ]
    if summary.waiting > 0 and summary.judge is not None:
        rows.append(("Not done yet", "", summary.waiting, ""))
    return bars("Without a score", ("What", "Kind"), rows) if rows else None


def _most_first(one: tuple[str, int]) -> tuple[int, str]:
    return -one[1], one[0]


def _costs(usage: Usage | None) -> list[tuple[str, str, str]]:
    """Return what a run took, in a few large numbers: label, value, and what else belongs to it."""
    if usage is None:
        return []
    starts = f"in {usage.starts} starts" if usage.starts > 1 else ""
    found = [("Time", time_text(usage.wall_s), starts)]
    unit, seconds = ("GPU", usage.gpu_s) if usage.gpu_s > 0 else ("device", usage.device_s)
    found.append((f"{unit} time", time_text(seconds), f"on {len(usage.devices)} devices"))
    if usage.energy_wh is not None:
        large = usage.energy_wh >= 1000
        value = f"{usage.energy_wh / 1000:.2f} kWh" if large else f"{usage.energy_wh:.1f} Wh"
        found.append(("Energy of the GPUs", value, ""))
    if usage.cost is not None and usage.price is not None:
        found.append(("Cost", f"{usage.cost:.2f}", f"at {usage.price:g} a GPU hour"))
    return found


def _provenance(one: Provenance | None) -> Mapping[str, Any] | None:
    if one is None:
        return None
    return {
        "facts": [(short(label), short(text, _LONGEST_FACT)) for label, text in one.facts.items()],
        "command": visible(one.command),
        "config": visible(one.config),
    }
