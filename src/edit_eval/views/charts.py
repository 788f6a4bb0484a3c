"""Charts as geometry: what stands where, so that the templates only have to draw it. Pure, and no markup.

Places along the x axis are per cent of the drawing's width, heights are pixels: a drawing is as wide as its place on
the page and its text keeps its size, on a telephone as on a wide screen. The macros of `templates/charts.html` draw
what is made here, each next to its numbers in a table:

| made by | drawn by | shows |
|---|---|---|
| `forest` | `forest(chart)` | estimates of one run or of several, group by group, with a line at each overall mean |
| `differences` | `forest(chart)` | differences with their intervals, around a line at 0 |
| `histograms.histogram` | `histogram(chart)` | one run as bars, several as outlines of shares; the unscored beside it |
| `histograms.bars` | `bars(chart)` | counts by kind |

A number that is not known is None: there is no mark for it, and a dash in the table. Series (runs) differ by colour,
by the form of their mark and by the dashes of their outline; there are at most `axes.MOST_SERIES`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edit_eval.views.axes import DASH, Tick, nice_step, number_text, refuse_many, rounded, short_number

__all__ = [
    "Axis",
    "Change",
    "Forest",
    "ForestLine",
    "ForestRow",
    "Mark",
    "Point",
    "Reference",
    "differences",
    "forest",
]

_MOST_TICKS = 6


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
class Axis:
    """The values from `low` at 0 % to `high` at 100 %."""

    low: float
    high: float
    ticks: tuple[Tick, ...]

    def place(self, value: float) -> float:
        """Return where a value stands, 0..100; what lies outside stands at the end."""
        return rounded(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))))


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
        ValueError: more than `axes.MOST_SERIES`.
    """
    refuse_many(series)
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
        Tick(bare.place(number * step), short_number(number * step)) for number in range(first, last + 1)
    ]
    return Axis(low, high, tuple(ticks))


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
