"""Charts as geometry: what stands where, so that the templates only have to draw it. Pure, and no markup.

Places along the x axis are per cent of the drawing's width, heights are pixels: a drawing is as wide as its place on
the page and its text keeps its size, on a telephone as on a wide screen. The macros of `templates/charts.html` draw
what is made here, each next to its numbers in a table:

| made by | drawn by | shows |
|---|---|---|
| `forest` | `forest(chart)` | estimates of one run or of several, group by group, with a line at each overall mean |
| `differences` | `forest(chart)` | differences with their intervals, around a line at 0 |
| `histogram` | `histogram(chart)` | one run as bars, several as outlines of shares; the unscored beside it |
| `bars` | `bars(chart)` | counts by kind |

A number that is not known is None: there is no mark for it, and a dash in the table. Series (runs) differ by colour,
by the form of their mark and by the dashes of their outline; there are at most `MOST_SERIES`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edit_eval.driver.distributions import Distribution

__all__ = [
    "MOST_SERIES",
    "Axis",
    "Bar",
    "Bars",
    "Change",
    "Column",
    "Forest",
    "ForestLine",
    "ForestRow",
    "Histogram",
    "Mark",
    "Outline",
    "Point",
    "Reference",
    "Tick",
    "bars",
    "differences",
    "forest",
    "histogram",
    "nice_step",
]

MOST_SERIES = 6
"""Runs in one chart that can be told apart by colour and form."""
DASH = "–"
_MOST_TICKS = 6
_PLOT_PX = 120
_SIDE = 12.0
"""Per cent of a histogram's width that the unscored take."""


@dataclass(frozen=True)
class Point:
    """An estimate to be drawn.

    Attributes:
        value: None where there is none.
        low, high: its interval; None where it has none.
        n: samples.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True)
class Tick:
    """A mark of an axis, `at` per cent from the left."""

    at: float
    label: str


@dataclass(frozen=True)
class Axis:
    """The values from `low` at 0 % to `high` at 100 %."""

    low: float
    high: float
    ticks: tuple[Tick, ...]

    def place(self, value: float) -> float:
        """Return where a value stands, 0..100; what lies outside stands at the end."""
        return _round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))))


@dataclass(frozen=True)
class Mark:
    """A point of a forest plot.

    Attributes:
        series: 1-based.
        at: of its value.
        low, high: of its interval; None where it has none.
        said: the same in words.
    """

    series: int
    at: float
    low: float | None
    high: float | None
    said: str


@dataclass(frozen=True)
class ForestLine:
    """One series of a group: its number from 1, its name (empty where there is but one), its cells, and its mark."""

    series: int
    name: str
    cells: tuple[str, ...]
    mark: Mark | None


@dataclass(frozen=True)
class ForestRow:
    """A group: its name, and a line for each series."""

    name: str
    lines: tuple[ForestLine, ...]


@dataclass(frozen=True)
class Reference:
    """A line through all rows; `series` 0 is nobody's."""

    series: int
    at: float
    label: str


@dataclass(frozen=True)
class Forest:
    """A forest plot beside its table.

    Attributes:
        title: of the whole.
        heading: over the names.
        columns: over the cells.
        rows: in the order to be shown.
        axis: of all marks.
        references: lines.
        several: whether there is more than one series.
        said: what is drawn, in a sentence, for who cannot see it.
    """

    title: str
    heading: str
    columns: tuple[str, ...]
    rows: tuple[ForestRow, ...]
    axis: Axis
    references: tuple[Reference, ...]
    several: bool
    said: str


@dataclass(frozen=True)
class Change:
    """A difference to be drawn: `point` with its interval, p corrected for how many were asked (None: unknown)."""

    name: str
    point: Point
    p: float | None = None


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


def forest(
    title: str,
    heading: str,
    rows: Sequence[tuple[str, Sequence[Point]]],
    *,
    overall: Sequence[float | None] = (),
    series: Sequence[str] = (),
    within: tuple[float, float] | None = None,
    more: Sequence[tuple[str, Sequence[str]]] = (),
    decimals: int = 3,
) -> Forest:
    """Return a forest plot of groups.

    Args:
        title: of the whole.
        heading: over the groups' names.
        rows: name and one point for each series, in the order to be shown.
        overall: the mean of each series over all groups, as a line; None where there is none.
        series: names of the runs; empty for a single one.
        within: the ends of the scale, beyond which the axis does not go.
        more: further columns of text, with a cell for each row.
        decimals: of the numbers in the table.

    Raises:
        ValueError: more than `MOST_SERIES`.
    """
    _refuse_many(series)
    several = len(series) > 1
    known = [
        one
        for _, many in rows
        for point in many
        for one in (point.value, point.low, point.high)
        if one is not None
    ]
    axis = _axis([*known, *(one for one in overall if one is not None)], within)
    lines = tuple(
        Reference(
            number if several else 0,
            axis.place(one),
            (f"{series[number - 1]}: " if several else "") + f"overall {number_text(one, decimals)}",
        )
        for number, one in enumerate(overall, 1)
        if one is not None
    )
    drawn = tuple(
        ForestRow(
            name,
            tuple(
                ForestLine(
                    number,
                    series[number - 1] if several else "",
                    (*_cells(point, decimals), *(texts[place] if number == 1 else "" for _, texts in more)),
                    _mark(number, point, axis, decimals),
                )
                for number, point in enumerate(many, 1)
            ),
        )
        for place, (name, many) in enumerate(rows)
    )
    said = f"{heading}: mean and 95 % interval of each of {len(rows)} groups"
    if several:
        said += f" in each of {len(series)} runs"
    if lines:
        said += "; lines at the overall mean"
    columns = ("mean", "95 % interval", "n", *(name for name, _ in more))
    return Forest(title, heading, columns, drawn, axis, lines, several, said)


def differences(
    title: str, heading: str, changes: Sequence[Change], *, corrected: str = "", decimals: int = 3
) -> Forest:
    """Return a forest plot of differences around 0; the axis reaches as far to one side as to the other.

    Args:
        title: of the whole.
        heading: over the names.
        changes: in the order to be shown.
        corrected: how p was corrected (`Holm`); stands in the head of its column.
        decimals: of the numbers in the table.
    """
    known = [
        abs(one)
        for change in changes
        for one in (change.point.value, change.point.low, change.point.high)
        if one is not None
    ]
    far = max(known, default=0.0) or 1.0
    axis = _axis([-far, far], None)
    drawn = []
    for change in changes:
        difference, interval, n = _cells(change.point, decimals, signed=True)
        p = DASH if change.p is None else "< 0.001" if change.p < 0.001 else f"{change.p:.3f}"
        mark = _mark(1, change.point, axis, decimals, signed=True)
        line = ForestLine(1, "", (difference, interval, n, p), mark)
        drawn.append(ForestRow(change.name, (line,)))
    return Forest(
        title,
        heading,
        ("difference", "95 % interval", "n", f"p ({corrected})" if corrected else "p"),
        tuple(drawn),
        axis,
        (Reference(0, axis.place(0.0), "0: no difference"),),
        False,
        f"{heading}: difference and 95 % interval of each of {len(changes)}, around a line at 0",
    )


def histogram(title: str, runs: Sequence[tuple[str, Distribution]]) -> Histogram:
    """Return a histogram: of one run bars of counts, of several outlines of shares.

    Args:
        title: of the whole.
        runs: name (of one alone: any) and distribution.

    Raises:
        ValueError: no run, more than `MOST_SERIES`, or bins that differ.
    """
    _refuse_many([name for name, _ in runs])
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
            beside = Column(_round(100 - _SIDE * 0.8), _SIDE * 0.8, _round(height), str(first.missing), said)
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
            Bar(what, kind, count, _round(100 * count / most) if tone else 0.0, tone)
            for what, kind, count, tone in rows
        ),
    )


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


def _refuse_many(series: Sequence[str]) -> None:
    if len(series) > MOST_SERIES:
        raise ValueError(f"at most {MOST_SERIES} runs can be told apart in one chart, not {len(series)}")


def _round(value: float) -> float:
    return round(value, 2)


def _axis(values: Sequence[float], within: tuple[float, float] | None) -> Axis:
    """Return an axis that holds all values, from tick to tick, within the scale."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if within is not None and not values:
        low, high = within
    if not high > low:
        low, high = low - 0.5, high + 0.5
    step = nice_step(high - low, _MOST_TICKS - 1)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    if within is not None and within[1] > within[0]:
        low, high = max(low, within[0]), min(high, within[1])
    bare = Axis(low, high, ())
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = [
        Tick(bare.place(number * step), _short_number(number * step)) for number in range(first, last + 1)
    ]
    return Axis(low, high, tuple(ticks))


def _short_number(value: float) -> str:
    text = f"{value:.6g}"
    return "0" if text == "-0" else text.replace("-", "\u2212")


def _cells(point: Point, decimals: int, *, signed: bool = False) -> tuple[str, str, str]:
    interval = DASH
    if point.low is not None and point.high is not None:
        ends = (number_text(end, decimals, signed=signed) for end in (point.low, point.high))
        interval = " to ".join(ends)
    return number_text(point.value, decimals, signed=signed), interval, str(point.n)


def _mark(series: int, point: Point, axis: Axis, decimals: int, *, signed: bool = False) -> Mark | None:
    if point.value is None:
        return None
    value, interval, n = _cells(point, decimals, signed=signed)
    at = axis.place(point.value)
    if point.low is None or point.high is None:
        return Mark(series, at, None, None, f"{value}, no interval, n {n}")
    return Mark(series, at, axis.place(point.low), axis.place(point.high), f"{value}, 95 % {interval}, n {n}")


def _columns(one: Distribution, highest: int, width: float) -> tuple[Column, ...]:
    each = width / len(one.counts)
    gap = each * (0.14 if one.levels else 0.06)
    labelled = len(one.counts) <= 12
    return tuple(
        Column(
            _round(each * place + gap / 2),
            _round(each - gap),
            _round(max(_PLOT_PX * count / highest, 1.0 if count else 0.0)),
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
        y = _round(1000 - (980 * share / most if most else 0.0))
        points += [f"{_round(each * place)},{y}", f"{_round(each * (place + 1))},{y}"]
    return " ".join([*points, "1000,1000"])


def _bin_ticks(one: Distribution, width: float) -> tuple[Tick, ...]:
    """Return the ticks of the scale: every level in its bar's middle, or round values at the edges of bins."""
    span = one.high - one.low
    if one.levels:
        each = width / len(one.counts)
        every = max(1, math.ceil(len(one.counts) / 12))
        return tuple(
            Tick(_round(each * (place + 0.5)), _short_number(one.low + place))
            for place in range(0, len(one.counts), every)
        )
    step = nice_step(span, _MOST_TICKS - 1)
    first, last = math.ceil(one.low / step - 1e-9), math.floor(one.high / step + 1e-9)
    places = [(number * step - one.low) / span for number in range(first, last + 1)]
    return tuple(Tick(_round(width * place), _short_number(one.low + place * span)) for place in places)
