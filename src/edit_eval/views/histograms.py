"""Histograms and bars as geometry; how, see `views/charts.py`. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edit_eval.driver.distributions import Distribution
from edit_eval.views.axes import Tick, nice_step, refuse_many, rounded, short_number

__all__ = ["Bar", "Bars", "Column", "Histogram", "Outline", "bars", "histogram"]

_MOST_TICKS = 6
_PLOT_PX = 120
_SIDE = 12.0
"""Per cent of a histogram's width that the unscored take."""


@dataclass(frozen=True)
class Column:
    """A bar of a histogram: from `x` over `width` per cent, `height` pixels up; `label` stands above it, `said` beside."""

    x: float
    width: float
    height: float
    label: str
    said: str


@dataclass(frozen=True)
class Outline:
    """A run's shares as a line through `points` ("x,y x,y ..."), x of 0..1000 over the bins, y of 0..1000 down."""

    series: int
    points: str


@dataclass(frozen=True)
class Histogram:
    """Scores over their scale.

    Attributes:
        title: of the whole.
        columns: bars, of one run.
        outlines: of several.
        missing: a bar for what has no score, as wide as one of the others; None where everything has one.
        ticks: of the scale.
        width: per cent of the drawing that the scale takes.
        height: pixels above the axis.
        top: what the highest bar means, as text.
        series: names of the runs, and how many have no score; empty for one.
        said: all numbers, for who cannot see it.
    """

    title: str
    columns: tuple[Column, ...]
    outlines: tuple[Outline, ...]
    missing: Column | None
    ticks: tuple[Tick, ...]
    width: float
    height: int
    top: str
    series: tuple[str, ...]
    said: str


@dataclass(frozen=True)
class Bar:
    """A labelled bar: `label` (what, kind), its count and its share of the widest in per cent."""

    label: str
    kind: str
    count: int
    width: float
    tone: str


@dataclass(frozen=True)
class Bars:
    """Counts by kind."""

    title: str
    headings: tuple[str, str]
    rows: tuple[Bar, ...]


def histogram(title: str, runs: Sequence[tuple[str, Distribution]]) -> Histogram:
    """Return a histogram: of one run bars of counts, of several outlines of shares.

    Args:
        title: of the whole.
        runs: name (of one alone: any) and distribution.

    Raises:
        ValueError: no run, more than `axes.MOST_SERIES`, or bins that differ.
    """
    refuse_many([name for name, _ in runs])
    bins = {(one.low, one.high, one.levels, len(one.counts)) for _, one in runs}
    if len(bins) != 1:
        raise ValueError("a histogram needs runs with the same bins")
    first = runs[0][1]
    several = len(runs) > 1
    missing = not several and first.missing > 0
    width = 100 - _SIDE if missing else 100.0
    shares = [[count / (sum(one.counts) or 1) for count in one.counts] for _, one in runs]
    most = max(*(max(part, default=0.0) for part in shares), 0.0)
    columns: tuple[Column, ...] = ()
    beside = None
    if not several:
        highest = max(*first.counts, first.missing, 1)
        columns = _columns(first, highest, width)
        if missing:
            said = f"without a score: {first.missing}"
            height = _PLOT_PX * first.missing / highest
            beside = Column(
                rounded(100 - _SIDE * 0.8), _SIDE * 0.8, rounded(height), str(first.missing), said
            )
    outlines = tuple(Outline(number, _stairs(part, most)) for number, part in enumerate(shares, 1) if several)
    names = tuple(
        f"{name}: {sum(one.counts)} scores, {one.missing} without" if one.missing else name
        for name, one in runs
    )
    top = f"{most:.0%}" if several else str(max(first.counts, default=0))
    said = "; ".join(
        (f"{name}: " if several else "") + ", ".join(f"{first.bin(i)}: {c}" for i, c in enumerate(one.counts))
        for name, one in runs
    )
    if beside:
        said += f"; {beside.said}"
    return Histogram(
        title,
        columns,
        outlines,
        beside,
        _bin_ticks(first, width),
        width,
        _PLOT_PX,
        top,
        names if several else (),
        said,
    )


def bars(title: str, headings: tuple[str, str], rows: Sequence[tuple[str, str, int, str]]) -> Bars:
    """Return labelled bars of counts: what, kind, count, tone (a class of the style sheet; without one there is no bar)."""
    most = max([count for _, _, count, tone in rows if tone], default=0) or 1
    return Bars(
        title,
        headings,
        tuple(
            Bar(what, kind, count, rounded(100 * count / most) if tone else 0.0, tone)
            for what, kind, count, tone in rows
        ),
    )


def _columns(one: Distribution, highest: int, width: float) -> tuple[Column, ...]:
    each = width / len(one.counts)
    gap = each * (0.14 if one.levels else 0.06)
    labelled = len(one.counts) <= 12
    return tuple(
        Column(
            rounded(each * place + gap / 2),
            rounded(each - gap),
            rounded(max(_PLOT_PX * count / highest, 1.0 if count else 0.0)),
            str(count) if labelled and count else "",
            f"{one.bin(place)}: {count}",
        )
        for place, count in enumerate(one.counts)
    )


def _stairs(shares: Sequence[float], most: float) -> str:
    """Return an outline of bins, from the axis and back to it."""
    each = 1000 / len(shares)
    points = ["0,1000"]
    for place, share in enumerate(shares):
        y = rounded(1000 - (980 * share / most if most else 0.0))
        points += [f"{rounded(each * place)},{y}", f"{rounded(each * (place + 1))},{y}"]
    return " ".join([*points, "1000,1000"])


def _bin_ticks(one: Distribution, width: float) -> tuple[Tick, ...]:
    """Return the ticks of the scale: every level in its bar's middle, or round values at the edges of bins."""
    span = one.high - one.low
    if one.levels:
        each = width / len(one.counts)
        every = max(1, math.ceil(len(one.counts) / 12))
        return tuple(
            Tick(rounded(each * (place + 0.5)), short_number(one.low + place))
            for place in range(0, len(one.counts), every)
        )
    step = nice_step(span, _MOST_TICKS - 1)
    first, last = math.ceil(one.low / step - 1e-9), math.floor(one.high / step + 1e-9)
    places = [(number * step - one.low) / span for number in range(first, last + 1)]
    return tuple(Tick(rounded(width * place), short_number(one.low + place * span)) for place in places)
