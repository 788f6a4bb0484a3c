"""The end of a run in text: the headline with its error bars, what is missing, tables by dimension and tag.

A pure function of a summary: plain text, no control characters, every number that is undefined a dash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len

from edit_eval.core.headlines import HeadlineEstimate
from edit_eval.driver.agreement import JudgeNoise
from edit_eval.driver.spending import Spent
from edit_eval.driver.summary import Estimate, JudgeSummary, Summary
from edit_eval.views.judges import (
    bridge_rows,
    comparison_rows,
    interval,
    judge_rows,
    noise_said,
    noise_table,
    percent,
    score_label,
)
from edit_eval.views.status import flags_said
from edit_eval.views.text import clean, fit, kinds, number, pad

__all__ = ["closing_block", "spent_lines"]

_LABEL_COLUMNS = 36
_DASH = "-"


def closing_block(summary: Summary, report_path: str | None = None) -> str:
    """Return what the terminal shows at the end of a run, without a final newline.

    Args:
        summary: the numbers.
        report_path: where the HTML report lies, if one was written.
    """
    lines = [f"Result of {clean(summary.run)}: {clean(summary.protocol)}"]
    lines += [f"  {pad(label + ':', 10)} {clean(text)}" for label, text in _facts(summary)]
    lines += _headlines(summary)
    if summary.dimensions:
        lines += ["", *_table("Dimension", summary.dimensions)]
    for tag, estimates in summary.tags.items():
        shares = summary.tag_coverage.get(tag, {}) if summary.coverage < 1 else {}
        lines += ["", *_table(clean(tag), estimates, shares)]
    if summary.noise is not None:
        lines += ["", *_noise(summary.noise)]
    for one in summary.others:
        lines += ["", *_other(one, summary)]
    if report_path is not None:
        lines += ["", f"Report: {clean(report_path)}"]
    return "\n".join(lines)


def _other(one: JudgeSummary, summary: Summary) -> list[str]:
    """Return what a judge beside the run's own says, and how it relates to that."""
    return [
        f"Also judged by {clean(one.judge)}: {clean(one.protocol)}",
        *_labelled(judge_rows(one, summary.wanted)),
        f"  Beside the run's own judge, {clean(summary.judge or '')}:",
        *_labelled(bridge_rows(one.bridge), "    "),
        *(_noise(one.noise) if one.noise is not None else []),
    ]


def _noise(one: JudgeNoise) -> list[str]:
    """Return how much a judge differs from itself."""
    head, *rows = noise_table(one)
    shown = [(fit(clean(row[0]), _LABEL_COLUMNS), *row[1:]) for row in rows]
    said = noise_said(one)
    return [*_aligned([head, *shown]), *([f"  {said}"] if said else [])]


def _labelled(rows: Sequence[tuple[str, str]], indent: str = "  ") -> list[str]:
    width = max(cell_len(clean(label)) for label, _ in rows) + 1
    return [f"{indent}{pad(clean(label) + ':', width)} {clean(text)}" for label, text in rows]


def _facts(summary: Summary) -> list[tuple[str, str]]:
    facts = [("Editor", clean(summary.editor))]
    if shard := summary.facts.get("shard"):
        facts.insert(
            0, ("Shard", f"{clean(shard)}, a part of the run's samples; edit-eval merge puts them together")
        )
    if summary.judge is None:
        return [
            *facts,
            ("Edited", f"{summary.edited} of {summary.wanted}"),
            *_remarks(summary),
            ("No edit", kinds(summary.edit_failed)),
        ]
    headline = summary.headline
    low, high = summary.scale
    partial = "" if summary.coverage >= 1 else "partial"
    clusters = f" in {headline.clusters} clusters" if headline.clusters != headline.n else ""
    facts += [
        ("Judge", clean(summary.judge)),
        (
            score_label(summary.comparison),
            f"{number(headline.mean)} {'(' + partial + ') ' if partial else ''}on {low:g} to {high:g}",
        ),
        *(comparison_rows(summary.comparison, summary.not_applicable) if summary.comparison else []),
        *_remarks(summary),
        ("Interval", f"{interval(headline)} (95 %), n = {headline.n}{clusters}"),
        ("Minimum", number(headline.minimum)),
        ("Maximum", number(headline.maximum)),
        ("Coverage", _coverage(summary)),
    ]
    if partial:
        facts.append(("Bounds", _bounds(summary)))
    facts += [("Unscored", kinds(summary.unscored)), ("No edit", kinds(summary.edit_failed))]
    facts += spent_lines(summary.spent)
    if summary.waiting > 0:
        facts.append(("Not done", str(summary.waiting)))
    return facts


def spent_lines(spent: Spent) -> list[tuple[str, str]]:
    """Return what was spent on verdicts as labels and texts; none where the judge counts no tokens."""
    if not spent.tokens_in:
        return []
    again = spent.attempts - spent.replies
    more = f", {again:,} more attempt{'s' if again != 1 else ''}" if again > 0 else ""
    replies = f"{spent.replies:,} {'replies' if spent.replies != 1 else 'reply'}"
    lines = [("Tokens", f"{spent.tokens_in:,} in, {spent.tokens_out:,} out; {replies}{more}")]
    return lines if spent.cost is None else [*lines, ("Cost", f"{spent.cost:.4g}, at the price given")]


def _remarks(summary: Summary) -> list[tuple[str, str]]:
    """Return what should be known of the edits behind the headline."""
    remarks = [("Flags", flags_said(summary))] if summary.flagged else []
    if summary.first_frames:
        number = summary.first_frames
        text = f"{number} edit{' is' if number == 1 else 's are'} of the first frame or page of several"
        remarks.append(("Sources", text))
    return remarks


def _coverage(summary: Summary) -> str:
    text = (
        f"{percent(summary.coverage)} ({summary.scored} of {summary.wanted - summary.not_applicable} scored)"
    )
    if summary.complete:
        return text
    return f"{text}, below the {percent(summary.min_coverage)} that were asked for"


def _bounds(summary: Summary) -> str:
    if summary.bounds is None:
        return _DASH
    low, high = summary.bounds
    return f"{number(low)} to {number(high)}, if all that is missing had the lowest or the highest score"


def _headlines(summary: Summary) -> list[str]:
    """Return the benchmark's own numbers, and the groups of the first."""
    if not summary.headlines:
        return []
    first = summary.headlines[0]
    rows = [_headline(one) for one in summary.headlines]
    lines = ["", *_aligned([("Benchmark's own", "value", "95 % interval", "n"), *rows])]
    lines += [f"  partial: {clean(reason)}" for reason in first.why_partial]
    if first.bounds is not None:
        low, high = first.bounds
        text = "if all that is missing had the lowest or the highest score"
        lines.append(f"  {clean(first.headline.name)} would be {number(low)} to {number(high)}, {text}")
    if first.by_group:
        groups = [
            (fit(clean(name), _LABEL_COLUMNS), number(mean)) for name, mean in sorted(first.by_group.items())
        ]
        width = max(cell_len(name) for name, _ in groups)
        lines += ["", f"  {clean(first.headline.name)} by {clean(first.headline.group)}"]
        lines += [f"    {pad(name, width)}  {mean}" for name, mean in groups]
    return lines


def _headline(one: HeadlineEstimate) -> tuple[str, str, str, str]:
    partial = " (partial)" if one.why_partial else ""
    digits = one.headline.digits
    return (
        fit(clean(one.headline.name) + partial, _LABEL_COLUMNS),
        number(one.mean, digits),
        _DASH
        if one.low is None or one.high is None
        else f"{number(one.low, digits)} to {number(one.high, digits)}",
        f"{one.n} of {one.wanted}" if one.n < one.wanted else str(one.n),
    )


def _table(
    heading: str, estimates: Mapping[str, Estimate], coverage: Mapping[str, float] | None = None
) -> list[str]:
    head = [fit(heading, _LABEL_COLUMNS), "mean", "95 % interval", "n", *(["coverage"] if coverage else [])]
    rows = [
        [
            fit(clean(name), _LABEL_COLUMNS),
            number(one.mean),
            interval(one),
            str(one.n),
            *([percent(coverage[name])] if coverage else []),
        ]
        for name, one in estimates.items()
    ]
    return _aligned([head, *rows])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines: the first column at the left, the others at the right, by terminal columns."""
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            pad(cell, width, right=column > 0)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
