"""What the HTML report shows, made ready for its templates: text visible and harmless, links quoted, numbers written.

A browser has to hold a page whole. So one page has at most `MOST_CARDS` samples; of a larger run it shows those that
say most, and leads to further pages with all of them. Knows the templates' names and nothing of where pages are
written, but that they lie side by side in a folder of the run directory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edit_eval.core.headlines import HeadlineEstimate
from edit_eval.driver.agreement import JudgeNoise
from edit_eval.driver.opinions import Opinions
from edit_eval.driver.summary import Estimate, Row, Summary
from edit_eval.driver.usage import Usage
from edit_eval.views.cards import DASH, cards, score, short, visible
from edit_eval.views.closing import spent_lines
from edit_eval.views.judges import bridge_rows, comparison_rows, judge_rows, noise_said, noise_table
from edit_eval.views.links import Links
from edit_eval.views.status import FLAG_MEANINGS, flags_said, status_of
from edit_eval.views.templating import template
from edit_eval.views.text import UNDEFINED
from edit_eval.views.usage import device_rows, heading, laggard_lines, stage_rows

if TYPE_CHECKING:
    from edit_eval.views.overview import Background

__all__ = ["MOST_CARDS", "PART_CARDS", "page", "part_names", "part_page", "percent_text"]

MOST_CARDS = 3000
"""Samples on the first page: about 6 MB of text, which any browser opens."""
PART_CARDS = 1000
"""Samples on a further page."""
_MOST_JUMPS = 60


def page(
    summary: Summary,
    rows: Sequence[Row],
    usage: Usage | None = None,
    made_from: str = "",
    numbers: str = "",
    background: Background | None = None,
    *,
    links: Links,
    opinions: Mapping[int, Opinions] | None = None,
) -> Iterator[str]:
    """Yield the first page in pieces; `made_from` and `numbers` (from `numbers.written`) go into its head."""
    from edit_eval.views.overview import Background, overview

    ordered = sorted(rows, key=lambda row: row.index)
    names = part_names(len(ordered))
    shown = sorted(ordered, key=_badness)[:MOST_CARDS] if names else ordered
    page_of: Mapping[int, str] = {}  # of the rows that are on none but a further page
    if names:
        page_of = {row.index: names[place // PART_CARDS] for place, row in enumerate(ordered)}
        page_of = {**page_of, **dict.fromkeys((row.index for row in shown), "")}
    yield from template("report.html").generate(
        **_head(summary),
        **overview(summary, usage, background or Background()),
        made_from=made_from,
        numbers=numbers,
        usage=None if usage is None else _usage(usage),
        missing=_jumps([row for row in ordered if row.applicable and not _is_scored(row)], _label, page_of)
        if summary.judge
        else None,
        flagged_rows=_jumps([row for row in ordered if row.flags], _flags, page_of),
        rows=_cards(shown, summary, ordered, links, opinions),
        shown=len(shown),
        parts=[{"page": name, "name": _span(number, len(ordered))} for number, name in enumerate(names)],
    )


def part_names(count: int) -> list[str]:
    """Return the names of the further pages of a run of so many rows; none where the first page has them all."""
    return [] if count <= MOST_CARDS else [f"samples-{number}.html" for number in range(1, _parts(count) + 1)]


def part_page(
    summary: Summary,
    ordered: Sequence[Row],
    number: int,
    *,
    links: Links,
    opinions: Mapping[int, Opinions] | None = None,
) -> Iterator[str]:
    """Yield a further page in pieces: `PART_CARDS` rows from `number` (0-based) times as many on.

    Args:
        summary: of the run.
        ordered: all its rows, in the benchmark's order.
        number: which page.
        links: of the page.
        opinions: what else was said of an edit, by the rows' index.
    """
    names = part_names(len(ordered))
    begin = number * PART_CARDS
    yield from template("samples.html").generate(
        run=visible(summary.run),
        span=_span(number, len(ordered)),
        wanted=len(ordered),
        before=names[number - 1] if number else None,
        after=names[number + 1] if number + 1 < len(names) else None,
        rows=_cards(ordered[begin : begin + PART_CARDS], summary, ordered, links, opinions),
    )


def _cards(
    rows: Sequence[Row],
    summary: Summary,
    ordered: Sequence[Row],
    links: Links,
    opinions: Mapping[int, Opinions] | None,
) -> Iterator[dict[str, Any]]:
    repeats = any(row.repeat for row in ordered)
    return cards(rows, summary.scale, links, opinions or {}, repeats=repeats)


def _jumps(
    rows: Sequence[Row], label: Callable[[Row], str], page_of: Mapping[int, str]
) -> dict[str, Any] | None:
    """Return links to the first of these rows, and how many more there are; None for no rows."""
    if not rows:
        return None
    first = [
        {
            "page": page_of.get(row.index, ""),
            "index": row.index,
            "id": short(row.sample.id),
            "label": visible(label(row)),
        }
        for row in rows[:_MOST_JUMPS]
    ]
    return {"first": first, "more": len(rows) - len(first)}


def _label(row: Row) -> str:
    return status_of(row).label


def _flags(row: Row) -> str:
    return ", ".join(row.flags)


def _parts(count: int) -> int:
    return -(-count // PART_CARDS)


def _span(number: int, count: int) -> str:
    """Return which rows a further page has, by their indices."""
    begin = number * PART_CARDS
    return f"{begin} to {min(begin + PART_CARDS, count) - 1}"


def _is_scored(row: Row) -> bool:
    return row.edited is True and row.verdict is not None and row.verdict.overall is not None


def _badness(row: Row) -> tuple[int, float]:
    """Order rows by how much one may want to see them: failed, unscored, by score, and at last what is not done."""
    if row.edited is False:
        return 0, 0.0
    if row.verdict is None:
        return (2, 0.0) if row.flags else (3, 0.0)
    return (1, 0.0) if row.verdict.overall is None else (2, row.verdict.overall)


def _number(value: float | None, decimals: int = 3) -> str:
    if value is None:
        return DASH
    return f"{value:.{decimals}f}".replace("-", "\u2212")


def _interval(one: Estimate) -> str:
    return DASH if one.low is None or one.high is None else f"{_number(one.low)} to {_number(one.high)}"


def percent_text(share: float) -> str:
    """Return a share in per cent, rounded down: 99.97 % must not read as 100 %."""
    return f"{int(share * 1000 + 1e-9) / 10:g} %"


def _head(summary: Summary) -> dict[str, Any]:
    headline, bounds = summary.headline, summary.bounds
    low, high = summary.scale
    spent = [(f"judge's {label.lower()}", text) for label, text in spent_lines(summary.spent)]
    return {
        "run": visible(summary.run),
        "protocol": visible(summary.protocol),
        "editor": visible(summary.editor),
        "judge": None if summary.judge is None else visible(summary.judge),
        "scale": f"{score(low)} to {score(high)}",
        "mean": _number(headline.mean),
        "interval": _interval(headline),
        "n": headline.n,
        "clusters": headline.clusters,
        "minimum": _number(headline.minimum),
        "maximum": _number(headline.maximum),
        "wanted": summary.wanted - (summary.not_applicable if summary.judge else 0),
        "edited": summary.edited,
        "scored": summary.scored,
        "coverage": percent_text(summary.coverage),
        "partial": summary.judge is not None and summary.coverage < 1,
        "below": None if summary.complete else percent_text(summary.min_coverage),
        "bounds": None if bounds is None else f"{_number(bounds[0])} to {_number(bounds[1])}",
        "comparison": _facts_table(comparison_rows(summary.comparison, summary.not_applicable))
        if summary.comparison
        else None,
        "flagged": flags_said(summary),
        "flags": [
            (flag, FLAG_MEANINGS.get(flag, ""), count)
            for flag, count in sorted(summary.flags.items(), key=lambda one: (-one[1], one[0]))
        ],
        "first_frames": summary.first_frames,
        "headlines": [_headline(one) for one in summary.headlines],
        "groups": _groups(summary),
        "noise": _noise(summary.noise),
        "others": [
            {
                "noise": _noise(one.noise),
                "judge": visible(one.judge),
                "protocol": visible(one.protocol),
                "tables": [
                    _facts_table(judge_rows(one, summary.wanted)),
                    _facts_table(bridge_rows(one.bridge)),
                ],
            }
            for one in summary.others
        ],
        "facts": [(visible(label), visible(text)) for label, text in [*summary.facts.items(), *spent]],
    }


def _noise(one: JudgeNoise | None) -> dict[str, Any] | None:
    if one is None:
        return None
    rows = [[DASH if cell == UNDEFINED else visible(cell) for cell in row] for row in noise_table(one)]
    return {"rows": rows, "said": visible(noise_said(one))}


def _facts_table(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return rows of a label and a text, with the page's own dash and minus."""
    return [
        (visible(label), DASH if text == UNDEFINED else re.sub(r"-(?=\d)", "\u2212", visible(text)))
        for label, text in rows
    ]


def _headline(one: HeadlineEstimate) -> dict[str, Any]:
    digits = one.headline.digits
    low, high = one.low, one.high
    return {
        "name": visible(one.headline.name),
        "value": _number(one.mean, digits),
        "interval": DASH
        if low is None or high is None
        else f"{_number(low, digits)} to {_number(high, digits)}",
        "n": one.n,
        "wanted": one.wanted,
        "bounds": None
        if one.bounds is None
        else f"{_number(one.bounds[0], digits)} to {_number(one.bounds[1], digits)}",
        "why": [visible(reason) for reason in one.why_partial],
    }


def _groups(summary: Summary) -> dict[str, Any] | None:
    """Return the groups of the first headline."""
    if not summary.headlines or not summary.headlines[0].by_group:
        return None
    first = summary.headlines[0]
    return {
        "title": visible(f"{first.headline.name} by {first.headline.group}"),
        "rows": [
            (visible(name), _number(mean, first.headline.digits))
            for name, mean in sorted(first.by_group.items())
        ],
    }


def _usage(usage: Usage) -> dict[str, Any]:
    """Return the devices' section: tables whose first row is their head, and what stands out."""
    tables = [device_rows(usage), stage_rows(usage)]
    return {
        "heading": heading(usage),
        "tables": [
            [[DASH if cell == UNDEFINED else visible(cell) for cell in row] for row in rows]
            for rows in tables
        ],
        "laggards": [visible(line) for line in laggard_lines(usage)],
    }
