r"""Tables of scores for papers and pages: Markdown, and LaTeX that needs no package.

Text comes from benchmarks and configs, so every character that either language obeys is escaped: in Markdown
``\ ` * _ { } [ ] < > & | ~ $ #`` and line ends, in LaTeX ``\ { } $ & # _ % ^ ~ < > | " [ *``. A number that is undefined is a dash,
never 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edit_eval.core.headlines import HeadlineEstimate
from edit_eval.driver.summary import Estimate, Summary
from edit_eval.views.judges import percent
from edit_eval.views.text import UNDEFINED, clean, number

__all__ = ["Table", "between", "latex", "markdown", "signed", "summary_tables"]

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "[": "{[}",  # at the start of a row it would belong to the line break before it
    "*": "{*}",  # likewise
}
_NUMBER = re.compile(r"[+-](?=\d)")


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: what it shows.
        head: of each column; the first is of text, the others of numbers.
        rows: cells, as many a row as `head` has.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def markdown(tables: Sequence[Table]) -> str:
    """Return tables in Markdown (of GitHub's kind), without a final newline."""
    return "\n\n".join(map(_markdown, tables))


def _markdown(table: Table) -> str:
    lines = [_pipes(table.head), _pipes(["---", *["---:"] * (len(table.head) - 1)], raw=True)]
    lines += [_pipes(row) for row in table.rows]
    return "\n".join([f"**{_in_markdown(table.title)}**", "", *lines])


def _pipes(cells: Sequence[str], *, raw: bool = False) -> str:
    return f"| {' | '.join(cells if raw else map(_in_markdown, cells))} |"


def _in_markdown(text: str) -> str:
    plain = clean(text)
    for character, entity in _ENTITIES.items():
        plain = plain.replace(character, entity)
    # The marks of entities that were just written are none of the text's own.
    return re.sub(
        r"&(amp|lt|gt);|([\\`*_{}\[\]|~$#])", lambda one: one[0] if one[1] else f"\\{one[2]}", plain
    )


def latex(tables: Sequence[Table]) -> str:
    """Return tables in LaTeX, without a final newline: `table` and `tabular` alone, no package."""
    return "\n\n".join(map(_latex, tables))


def _latex(table: Table) -> str:
    columns = "l" + "r" * (len(table.head) - 1)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_in_latex(table.title)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\hline",
            _ampersands(table.head),
            r"\hline",
            *map(_ampersands, table.rows),
            r"\hline",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _ampersands(cells: Sequence[str]) -> str:
    first, *numbers = cells
    return " & ".join([_in_latex(first), *(_number_in_latex(one) for one in numbers)]) + r" \\"


def _in_latex(text: str) -> str:
    return "".join(_LATEX.get(one, one) for one in clean(text))


def _number_in_latex(text: str) -> str:
    """Return a cell of numbers: a minus is one, and what is undefined is a dash."""
    return "--" if text == UNDEFINED else _NUMBER.sub(lambda sign: f"${sign[0]}$", _in_latex(text))


def summary_tables(summary: Summary) -> list[Table]:
    """Return the scores of a run with their intervals: overall, the benchmark's own numbers, by dimension, by tag."""
    head = ("mean", "95 % interval", "n")
    title = f"{summary.run}: {summary.protocol}, {summary.editor}"
    title += f" judged by {summary.judge}" if summary.judge else ""
    partial = "" if summary.coverage >= 1 else " (partial)"
    overall = (f"overall{partial}", *_estimate(summary.headline), percent(summary.coverage))
    tables = [Table(title, ("Score", *head, "coverage"), (overall,))] if summary.judge else []
    if summary.headlines:
        rows = tuple(map(_headline, summary.headlines))
        tables.append(
            Table(f"{summary.run}: the benchmark's own numbers", ("Number", "value", *head[1:]), rows)
        )
    if summary.dimensions:
        tables.append(_by_name(f"{summary.run} by dimension", "Dimension", summary.dimensions))
    tables += [_by_name(f"{summary.run} by {tag}", tag, found) for tag, found in summary.tags.items()]
    if not tables:
        edited = (summary.run, str(summary.edited), str(summary.wanted))
        tables.append(Table(title, ("Run", "edited", "wanted"), (edited,)))
    return tables


def _by_name(title: str, what: str, found: Mapping[str, Estimate]) -> Table:
    rows = tuple((name, *_estimate(one)) for name, one in found.items())
    return Table(title, (what, "mean", "95 % interval", "n"), rows)


def _estimate(one: Estimate) -> tuple[str, str, str]:
    return number(one.mean), between(one.low, one.high), str(one.n)


def _headline(one: HeadlineEstimate) -> tuple[str, ...]:
    digits = one.headline.digits
    partial = " (partial)" if one.why_partial else ""
    return (
        one.headline.name + partial,
        number(one.mean, digits),
        between(one.low, one.high, digits),
        str(one.n),
    )


def between(low: float | None, high: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """Return `7.412 to 8.448`, with signs `+0.180 to +0.660`, or a dash where there is no interval."""
    if low is None or high is None:
        return UNDEFINED
    write = signed if sign else number
    return f"{write(low, digits)} to {write(high, digits)}"


def signed(value: float | None, digits: int = 3) -> str:
    """Return a difference with its sign, or a dash where there is none; what rounds to nothing has none."""
    if value is None:
        return UNDEFINED
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]
