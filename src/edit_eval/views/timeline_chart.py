"""The timeline of every device as geometry: what each did, start after start, merged to what a pixel can show. Pure.

A strip has a fixed number of columns, however many segments a run has. A column shows what the device did for most of
it; a loss, which is short and matters, is shown however little of a column it took. The drawing is thereby bounded:
under `MOST_BYTES` for any run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from edit_eval.driver.timeline import Lane, Segment, Start

__all__ = [
    "MOST_BYTES",
    "TONES",
    "LaneStrip",
    "StartMark",
    "Strip",
    "TimeTick",
    "Timeline",
    "time_text",
    "timeline_of",
]

MOST_BYTES = 100_000
"""Of all strips and lines together."""
STRIP_PX = 18
_LINE_PX = 12
_MOST_COLUMNS, _LEAST_COLUMNS = 800, 120
_STRIP_BYTES = 60_000
_RUN_BYTES = 7
"""Of one stretch of columns in a path, at most in the mean."""
_LINE_POINTS = 240
_MOST_LANES = 64
_MOST_STARTS = 24
_GAP_SHARE = 0.012
_APART, _APART_WIDE = 14.0, 6.0
"""Per cent of the width between two labels, on a telephone and where there is room."""


@dataclass(frozen=True)
class Tone:
    """How one doing is drawn: its name in the legend, the height of its stretches in pixels."""

    label: str
    height: int


TONES: Mapping[str, Tone] = {
    "load": Tone("load", 10),
    "edit": Tone("edit", 18),
    "judge": Tone("judge", 14),
    "wait": Tone("wait", 2),
    "other": Tone("free memory", 6),
    "restarting": Tone("restart after a loss", 18),
    "retired": Tone("retired", 4),
}
"""What a device does, in the order of the legend. Heights differ, so that colour is not all that tells them apart."""
_ORDER = list(TONES)
_RESTARTING = _ORDER.index("restarting")


@dataclass(frozen=True)
class Strip:
    """The stretches of one tone: a path of horizontal lines, `width` thick, in a box as wide as the timeline's columns."""

    tone: str
    path: str
    width: int


@dataclass(frozen=True)
class LaneStrip:
    """One device.

    Attributes:
        device: its label.
        strips: by tone.
        lines: GPU utilisation, "x,y x,y ...", x in columns, y in pixels down from 100 %; one for each stretch known.
        said: seconds of each doing, in words.
    """

    device: str
    strips: tuple[Strip, ...]
    lines: tuple[str, ...]
    said: str


@dataclass(frozen=True)
class TimeTick:
    """A mark of the time axis, `at` per cent from the left; `wide`: there is room for it on a wide page only."""

    at: float
    label: str
    anchor: str
    wide: bool


@dataclass(frozen=True)
class StartMark:
    """Where a start begins and ends, in per cent; its label is empty where there is no room for it; `wide` as of ticks."""

    begin: float
    end: float
    label: str
    wide: bool


@dataclass(frozen=True)
class Timeline:
    """All devices over all starts.

    Attributes:
        columns: width of the strips' box.
        lanes: a row each.
        ticks: of the time axis, seconds since each start began.
        starts: where each lies.
        tones: of those that occur, the tone, its name in the legend and its height.
        has_lines: whether any GPU's utilisation is known.
        note: what is left out; empty where nothing is.
        said: what is drawn, for who cannot see it.
    """

    columns: int
    lanes: tuple[LaneStrip, ...]
    ticks: tuple[TimeTick, ...]
    starts: tuple[StartMark, ...]
    tones: tuple[tuple[str, str, int], ...]
    has_lines: bool
    note: str
    said: str


@dataclass(frozen=True)
class _Place:
    """A start's columns: `first` and how many."""

    start: Start
    first: int
    count: int

    def column(self, at: float) -> float:
        """Return where a moment lies, in columns from the left of all."""
        share = (at - self.start.begin) / self.start.wall_s
        return self.first + self.count * min(1.0, max(0.0, share))


_LONGEST_S = 100 * 365 * 86400.0
"""Seconds of a start; what says that it took longer is a damaged line."""


def timeline_of(starts: Sequence[Start]) -> Timeline | None:
    """Return the timeline of a run; None if no start took any time."""
    timed = [start for start in starts if 0 < start.wall_s < _LONGEST_S and start.lanes]
    shown = timed[-_MOST_STARTS:]
    labels = list(dict.fromkeys(label for start in shown for label in start.lanes))
    if not labels:
        return None
    lanes = labels[:_MOST_LANES]
    columns = min(_MOST_COLUMNS, max(_LEAST_COLUMNS, _STRIP_BYTES // (_RUN_BYTES * len(lanes))))
    places = _places(shown, columns)
    strips = tuple(_lane(label, places, columns, len(lanes)) for label in lanes)
    used = {strip.tone for lane in strips for strip in lane.strips}
    return Timeline(
        columns=columns,
        lanes=strips,
        ticks=_ticks(places, columns),
        starts=_start_marks(places, columns),
        tones=tuple((name, tone.label, tone.height) for name, tone in TONES.items() if name in used),
        has_lines=any(lane.lines for lane in strips),
        note=_note(len(timed), len(shown), len(labels), len(lanes)),
        said=f"What {len(lanes)} devices did over {time_text(sum(start.wall_s for start in shown))}"
        + (f" in {len(shown)} starts" if len(shown) > 1 else "")
        + "; the table below has the seconds",
    )


def time_text(seconds: float, step: float = 0.0) -> str:
    """Return a duration in the units one would say it in: `45 s`, `12 min`, `3 h`, `1 h 30`, `2 d 6 h`.

    Args:
        seconds: the duration.
        step: between neighbouring marks of an axis; fractions of seconds are said where they tell them apart.
    """
    if seconds < 60:
        digits = 2 if 0 < step < 0.1 else 1 if 0 < step < 1 or (not step and seconds < 10) else 0
        text = f"{seconds:.{digits}f}"
        return f"{text} s" if float(text) else "0"
    minutes = round(seconds / 60)
    if seconds < 3600 and seconds % 60 >= 0.5 and (seconds < 600 or 0 < step < 60):
        return f"{int(seconds // 60)}:{round(seconds % 60) % 60:02d} min"
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h" + (f" {rest:02d}" if rest else "")
    days, hours = divmod(hours, 24)
    return f"{days} d" + (f" {hours} h" if hours else "")


def _note(all_starts: int, starts: int, all_lanes: int, lanes: int) -> str:
    left_out = []
    if starts < all_starts:
        left_out.append(f"the last {starts} of {all_starts} starts")
    if lanes < all_lanes:
        left_out.append(f"the first {lanes} of {all_lanes} devices")
    return f"Shown are {' and '.join(left_out)}." if left_out else ""


def _places(starts: Sequence[Start], columns: int) -> list[_Place]:
    """Give every start its columns, by how long it went on, but none less than two; gaps lie between."""
    gap = max(2, round(columns * _GAP_SHARE))
    free = columns - gap * (len(starts) - 1) - 2 * len(starts)
    whole = math.fsum(start.wall_s for start in starts)
    places, first, passed = [], 0, 0.0
    for number, start in enumerate(starts):
        passed += start.wall_s
        end = round(free * passed / whole) + 2 * (number + 1) + gap * number
        places.append(_Place(start, first, end - first))
        first = end + gap
    return places


def _lane(label: str, places: Sequence[_Place], columns: int, lanes: int) -> LaneStrip:
    runs: dict[str, list[tuple[int, int]]] = {}
    seconds = dict.fromkeys(_ORDER, 0.0)
    lines: list[str] = []
    points = max(40, min(_LINE_POINTS, _LINE_POINTS * 8 // lanes))
    for place in places:
        lane = place.start.lanes.get(label)
        if lane is None:
            continue
        for tone, first, count in _stretches(lane, place, seconds):
            runs.setdefault(tone, []).append((first, count))
        lines += _lines(lane, place, max(1, math.ceil(columns / points)))
    strips = tuple(
        Strip(tone, _path(runs[tone], tone), TONES[tone].height) for tone in _ORDER if tone in runs
    )
    told = ", ".join(
        f"{TONES[tone].label} {time_text(seconds[tone])}" for tone in _ORDER if seconds[tone] > 0
    )
    return LaneStrip(label, strips, tuple(lines), told)


def _stretches(lane: Lane, place: _Place, seconds: dict[str, float]) -> Iterator[tuple[str, int, int]]:
    """Yield a tone, its first column and how many, from left to right; adds up exact seconds."""
    shares = [[0.0] * len(_ORDER) for _ in range(place.count)]
    for segment in lane.segments:
        tone = _tone(segment)
        seconds[_ORDER[tone]] += segment.end - segment.begin
        begin, end = place.column(segment.begin) - place.first, place.column(segment.end) - place.first
        first, last = int(begin), min(int(end), place.count - 1)
        if first >= last:
            shares[min(first, last)][tone] += end - begin
            continue
        shares[first][tone] += first + 1 - begin
        shares[last][tone] += end - last
        for column in range(first + 1, last):
            shares[column][tone] += 1.0
    at = place.first
    for most, columns in groupby(map(_most, shares)):
        count = sum(1 for _ in columns)
        if most is not None:
            yield _ORDER[most], at, count
        at += count


def _most(column: Sequence[float]) -> int | None:
    """Return the tone of a column: a loss if there was one, else what took most of it."""
    if column[_RESTARTING] > 0:
        return _RESTARTING
    most = max(column)
    return column.index(most) if most > 0 else None


def _tone(segment: Segment) -> int:
    if segment.state in ("restarting", "retired"):
        return _ORDER.index(segment.state)
    return _ORDER.index(segment.doing)


def _path(runs: Iterable[tuple[int, int]], tone: str) -> str:
    """Return stretches as a path of horizontal lines whose lower edges stand on one ground."""
    middle = STRIP_PX - TONES[tone].height // 2
    parts: list[str] = []
    at = 0
    for first, count in runs:
        parts.append(f"m{first - at} 0h{count}" if parts else f"M{first} {middle}h{count}")
        at = first + count
    return "".join(parts)


def _lines(lane: Lane, place: _Place, width: int) -> list[str]:
    """Return the mean utilisation of a lane's GPUs, a point for every `width` columns."""
    sums: dict[int, tuple[float, int]] = {}
    for gpu in lane.gpus:
        readings = place.start.gpus.get(gpu)
        for at, utilisation, *_ in readings.rows() if readings else ():
            if not math.isnan(utilisation):
                slot = min(int(place.column(at) - place.first), place.count - 1) // width
                total, count = sums.get(slot, (0.0, 0))
                sums[slot] = total + utilisation, count + 1
    if not sums:
        return []
    # Where readings are rarer than slots, a slot without one lies between two that have some.
    apart = max(1, math.ceil(place.count / width / max(1, len(sums))) * 3)
    lines: list[list[str]] = []
    before = None
    for slot, (total, count) in sorted(sums.items()):
        if before is None or slot - before > apart:
            lines.append([])
        before = slot
        x = min(place.first + slot * width + width // 2, place.first + place.count)
        share = min(100.0, max(0.0, total / count))
        lines[-1].append(f"{x},{1 + round((_LINE_PX - 2) * (1 - share / 100))}")
    return [" ".join(points) for points in lines if len(points) > 1]


_STEPS = (
    *(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60.0 * one for one in (1, 2, 5, 10, 15, 30)),
    *(3600.0 * one for one in (1, 2, 3, 6, 12, 24, 48, 96, 168, 336)),
)


def _ticks(places: Sequence[_Place], columns: int) -> tuple[TimeTick, ...]:
    whole = math.fsum(place.start.wall_s for place in places)
    longest = max(place.start.wall_s for place in places)
    step = min(longest, next((one for one in _STEPS if whole / one <= 5.5), whole / 5))
    if step <= _STEPS[-1]:
        step = max((one for one in _STEPS if one <= step), default=longest)
    marks = [
        (round(100 * place.column(place.start.begin + number * step) / columns, 2), number * step)
        for place in places
        for number in range(int(place.start.wall_s / step + 1e-9) + 1)
    ]
    taken: dict[float, TimeTick] = {}
    for apart in (_APART, _APART_WIDE):
        for at, seconds in sorted(marks, key=lambda mark: mark[1] > 0):  # first where starts begin
            if all(abs(at - other) >= apart for other in taken):
                anchor = "start" if at < 6 else "end" if at > 94 else "middle"
                taken[at] = TimeTick(at, time_text(seconds, step), anchor, apart < _APART)
    return tuple(taken[at] for at in sorted(taken))


def _start_marks(places: Sequence[_Place], columns: int) -> tuple[StartMark, ...]:
    marks = []
    for place in places:
        begin, width = 100 * place.first / columns, 100 * place.count / columns
        label = f"start {place.start.number}" if len(places) > 1 and width >= _APART_WIDE else ""
        marks.append(StartMark(round(begin, 2), round(begin + width, 2), label, width < _APART))
    return tuple(marks)
