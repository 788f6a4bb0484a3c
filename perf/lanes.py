"""The timeline of a run for people: as lines of a terminal, and as an SVG file that stands alone."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from html import escape
from pathlib import Path

from edit_eval.driver.timeline import Doing, Lane, Segment, Start

__all__ = ["beside", "svg", "text", "write_svg"]

_SIGNS = {"load": "l", "edit": "E", "judge": "J", "wait": ".", "other": "x"}
_WORDS = {
    "load": "a model loads",
    "edit": "edits",
    "judge": "judges",
    "wait": "waits",
    "other": "memory is freed",
}
_COLOURS = {"load": "#c9a227", "edit": "#2b6cb0", "judge": "#2f855a", "wait": "#e2e8f0", "other": "#9b2c2c"}
_HEIGHTS = {"load": 10, "edit": 18, "judge": 14, "wait": 2, "other": 6}
_COLUMNS = 80
_WIDTH_PX, _LEFT_PX, _LANE_PX = 900, 70, 26


def beside(start: Start, name: str, did: Iterable[tuple[float, float, Doing]]) -> Start:
    """Return a timeline with one more lane, of something that did not run in it: (begin, end, doing), seconds from 0."""
    segments = [Segment(start.begin + one, start.begin + two, doing, None, doing) for one, two, doing in did]
    lane = Lane(name, "other", (), (), segments)
    lane.finish()
    return replace(
        start, end=max(start.end, *(one.end for one in segments)), lanes={**start.lanes, name: lane}
    )


def text(start: Start, columns: int = _COLUMNS) -> str:
    """Return a line for each device: what it did for most of every column's time; a scale and a legend below."""
    names = max(len(one) for one in start.lanes)
    width = columns - names - 3
    lines = []
    for lane in start.lanes.values():
        signs = []
        for column in range(width):
            begin, end = (start.begin + start.wall_s * (column + more) / width for more in (0, 1))
            shares: dict[str, float] = {}
            for segment, seconds in lane.between(begin, end):
                shares[segment.doing] = shares.get(segment.doing, 0.0) + seconds
            signs.append(_SIGNS[max(shares, key=lambda one: shares[one])] if shares else " ")
        lines.append(f"{lane.device:<{names}} |{''.join(signs)}|")
    ends = f"{start.wall_s:.1f} s"
    lines.append(f"{'':<{names}}  0{ends:>{width - 1}}")
    lines.append("  ".join(f"{sign} {_WORDS[doing]}" for doing, sign in _SIGNS.items()))
    return "\n".join(lines)


def svg(start: Start, title: str) -> str:
    """Return the timeline as a picture: a strip for each device, seconds below."""
    lanes = list(start.lanes.values())
    height = 60 + _LANE_PX * len(lanes)
    width = _WIDTH_PX - _LEFT_PX - 10
    scale = width / max(start.wall_s, 1e-9)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH_PX} {height}" font-family="sans-serif" '
            f'font-size="12" role="img"><title>{escape(title)}</title>'
        ),
        f'<rect width="{_WIDTH_PX}" height="{height}" fill="#fff"/><text x="4" y="14">{escape(title)}</text>',
    ]
    for row, lane in enumerate(lanes):
        ground = 24 + _LANE_PX * (row + 1) - 6
        parts.append(f'<text x="4" y="{ground - 3}">{escape(lane.device)}</text>')
        for one in lane.segments:
            left, wide = _LEFT_PX + (one.begin - start.begin) * scale, (one.end - one.begin) * scale
            tall = _HEIGHTS[one.doing]
            parts.append(
                f'<rect x="{left:.1f}" y="{ground - tall}" width="{max(wide, 0.3):.1f}" height="{tall}" '
                f'fill="{_COLOURS[one.doing]}"/>'
            )
    step = next(one for one in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 3600) if start.wall_s / one <= 12)
    for number in range(int(start.wall_s / step) + 1):
        at = _LEFT_PX + number * step * scale
        parts.append(
            f'<text x="{at:.1f}" y="{height - 22}" text-anchor="middle" fill="#555">{number * step} s</text>'
        )
    for place, (doing, word) in enumerate(_WORDS.items()):
        left = _LEFT_PX + 130 * place
        parts.append(f'<rect x="{left}" y="{height - 15}" width="10" height="10" fill="{_COLOURS[doing]}"/>')
        parts.append(f'<text x="{left + 14}" y="{height - 6}">{word}</text>')
    return "\n".join([*parts, "</svg>"])


def write_svg(start: Start, title: str, path: Path) -> None:
    """Write the picture, and say where."""
    path.write_text(svg(start, title) + "\n", encoding="utf-8")
    print(f"timeline: {path}", file=sys.stderr)
