"""A comparison of runs in text, for the terminal: who is better, by how much, how certain that is, and what is not known.

A pure function of a comparison and of how many columns there are: plain text, no control characters, every number that is
undefined a dash. Where a table is wider than the terminal, its rows stand under one another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from edit_eval.driver.comparison import (
    ComparedRun,
    Difference,
    Lost,
    PairOfRuns,
    RunComparison,
    SampleDifference,
)
from edit_eval.views.judges import percent
from edit_eval.views.tables import Table, between, signed
from edit_eval.views.text import UNDEFINED, clean, fit, number, pad, wrapped
from edit_eval.views.verdicts import (
    corrections,
    head_said,
    lost_said,
    p_value,
    partial_said,
    spread_said,
    tags_said,
    verdict,
)

__all__ = ["comparison_tables", "comparison_text"]

_CHANGES = 5
"""Of the largest drops and gains, how many are shown."""
_NAME_COLUMNS = 36
_HEAD_COLUMNS = (_NAME_COLUMNS, 16, 10)
"""How far names of runs above columns are cut, one after another, until a table has room."""

_SPARE: Sequence[Sequence[str]] = (("win/tie/loss",), ("n",), ("runs",))
"""What a table of differences may lack, in this order; `runs` are the two columns of the runs' own numbers."""

_DIFFERS = "What differs"
_TEXT_COLUMNS = 100
"""Sentences are not written wider: they would be hard to read."""


def comparison_text(comparison: RunComparison, columns: int = 120) -> str:
    """Return a comparison as text, without a final newline.

    Args:
        comparison: what was found.
        columns: of the terminal; lines are no longer, but for single long words of theirs.
    """
    parts = [_head(comparison, columns), _runs(comparison, columns)]
    if comparison.ranking is not None:
        parts.append(_ranking(comparison, columns))
    for pair in comparison.pairs:
        parts += _pair(comparison, pair, columns)
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def comparison_tables(comparison: RunComparison) -> list[Table]:
    """Return a comparison as tables: the runs, then for every other run its differences from the base."""
    tables = [_runs_table(comparison)]
    if comparison.ranking is not None:
        tables.append(_ranks_table(comparison))
    for pair in comparison.pairs:
        tables.append(_differences_table(comparison, pair, [*_main_rows(pair), *pair.dimensions], "Score"))
        for tag in dict.fromkeys(one.tag for one in pair.tags):
            rows = [one for one in pair.tags if one.tag == tag]
            tables.append(_differences_table(comparison, pair, rows, tag))
    return tables


def _head(comparison: RunComparison, columns: int) -> list[str]:
    said = [(line.lstrip(), "  " if line.startswith(" ") else "") for line in head_said(comparison)]
    return [part for line, indent in said for part in _paragraph(line, columns, indent)]


def _runs(comparison: RunComparison, columns: int) -> list[str]:
    lines = _laid_out(_runs_table(comparison), columns)
    for run in comparison.runs:
        if run.partial:
            lines += _paragraph(partial_said(run), columns, "  ")
        if run.variance is not None:
            lines += _paragraph(spread_said(run.label, run.variance), columns, "  ")
    return lines


def _runs_table(comparison: RunComparison) -> Table:
    rows = tuple(
        (
            f"{run.label}{' (base)' if place == comparison.base else ''}",
            number(run.headline.mean),
            between(run.headline.low, run.headline.high),
            str(run.headline.n),
            percent(run.coverage),
        )
        for place, run in enumerate(comparison.runs)
    )
    return Table("Each run by itself", ("Run", "mean", "95 % interval", "n", "coverage"), rows)


def _ranking(comparison: RunComparison, columns: int) -> list[str]:
    ranking = comparison.ranking
    if ranking is None:
        return []
    lines = _laid_out(_ranks_table(comparison), columns)
    for group in ranking.groups:
        lines += _paragraph(f"Not distinguishable: {', '.join(group)}", columns, "  ")
    return lines


def _ranks_table(comparison: RunComparison) -> Table:
    ranking = comparison.ranking
    if ranking is None:
        return Table("", ("Run",), ())
    rows = tuple(
        (
            name,
            number(one.mean),
            UNDEFINED if one.rank is None else f"{one.rank:g}",
            UNDEFINED
            if one.rank_low is None or one.rank_high is None
            else f"{one.rank_low:g} to {one.rank_high:g}",
            UNDEFINED if one.best is None else f"{100 * one.best:.0f} %",
        )
        for name, one in ranking.runs.items()
    )
    title = f"Ranks over the {ranking.n} samples that all runs scored"
    return Table(title, ("Rank", "mean", "rank", "95 % interval", "first in"), rows)


def _pair(comparison: RunComparison, pair: PairOfRuns, columns: int) -> Iterator[list[str]]:
    base, other = comparison.runs[pair.base], comparison.runs[pair.other]
    yield _paragraph(verdict(comparison, pair), columns)
    table = _differences_table(comparison, pair, [*_main_rows(pair), *pair.dimensions], "Score")
    corrected = [
        *_corrected(
            "p of the benchmark's other numbers", pair.headline_correction, len(pair.headlines) - 1, columns
        ),
        *_corrected("p of the dimensions", pair.dimension_correction, len(pair.dimensions), columns),
    ]
    yield [*_laid_out(table, columns, spare=_SPARE[:1]), *corrected]
    yield _tags(comparison, pair, columns)
    yield _lost(pair.lost, base, other, columns)
    yield _provenance(pair, base, other, columns)
    yield _changes(f"Largest drops of {other.label}", comparison.drops(pair.other), pair.other, columns)
    yield _changes(f"Largest gains of {other.label}", comparison.gains(pair.other), pair.other, columns)


def _main_rows(pair: PairOfRuns) -> list[Difference]:
    return [*pair.headlines, pair.overall]


def _differences_table(
    comparison: RunComparison, pair: PairOfRuns, rows: Sequence[Difference], what: str
) -> Table:
    base, other = comparison.runs[pair.base].label, comparison.runs[pair.other].label
    return Table(
        f"{other} against {base}",
        (what, base, other, "difference", "95 % interval", "p", "win/tie/loss", "n"),
        tuple(map(_row, rows)),
    )


def _row(one: Difference) -> tuple[str, ...]:
    results = UNDEFINED if one.wins is None else f"{one.wins}/{one.ties}/{one.losses}"
    return (
        one.name,
        number(one.base),
        number(one.other),
        signed(one.difference),
        between(one.low, one.high, sign=True),
        p_value(one.corrected_p),
        results,
        str(one.n),
    )


def _tags(comparison: RunComparison, pair: PairOfRuns, columns: int) -> list[str]:
    """Return the differences by tag: those that stand out first; where there is no room for the others, their number."""
    if not pair.tags:
        return []
    lines: list[str] = []
    order = sorted(pair.tags, key=lambda one: not one.shown)
    out = [one for one in order if one.shown]
    lines += _paragraph(tags_said(pair), columns)

    def named(one: Difference, tag: str) -> tuple[str, ...]:
        return (f"{tag}: {one.name}", *_row(one)[1:])

    whole = _differences_table(comparison, pair, (), "Tag")
    everything = Table(whole.title, whole.head, tuple(named(one, one.tag) for one in order))
    table = Table(whole.title, whole.head, tuple(named(one, one.tag) for one in out))
    if _narrowed(everything, columns, _SPARE) is not None:
        table = everything
    elif len(out) < len(order):
        lines += _paragraph(
            f"{len(order) - len(out)} others are left out in so narrow a terminal.", columns, "  "
        )
    if table.rows:
        lines += _laid_out(table, columns, spare=_SPARE)
    return [*lines, *_corrected("p", pair.tag_correction, len(pair.tags), columns)]


def _corrected(what: str, correction: str | None, count: int, columns: int) -> list[str]:
    return _paragraph(f"{what} {corrections(correction, count)}", columns, "  ") if correction else []


def _lost(lost: Lost, base: ComparedRun, other: ComparedRun, columns: int) -> list[str]:
    """Return what is not compared, and why."""
    said = lost_said(lost, base, other)
    return [
        part for place, line in enumerate(said) for part in _paragraph(line, columns, "  " if place else "")
    ]


def _provenance(pair: PairOfRuns, base: ComparedRun, other: ComparedRun, columns: int) -> list[str]:
    if not pair.provenance:
        return _paragraph("The runs were made alike in everything that is recorded.", columns)
    rows = tuple(
        (
            one.label,
            fit(clean(one.base), _NAME_COLUMNS, "...") or UNDEFINED,
            fit(clean(one.other), _NAME_COLUMNS, "...") or UNDEFINED,
        )
        for one in pair.provenance
    )
    return _laid_out(Table("", (_DIFFERS, base.label, other.label), rows), columns, left=True)


def _changes(heading: str, found: Sequence[SampleDifference], run: int, columns: int) -> list[str]:
    """Return the samples that changed most, a line each."""
    if not found:
        return []
    lines = _paragraph(f"{heading}, of {len(found)}:", columns)
    for one in found[:_CHANGES]:
        scores = f"  {signed(one.difference(run), 2):>7}  {number(one.overall[one.base], 2):>5} to {number(one.overall[run], 2):>5}"
        name = fit(clean(one.id), _NAME_COLUMNS, "...")
        text = f"{scores}  {name}"
        room = min(columns, _TEXT_COLUMNS) - cell_len(text) - 2
        lines.append(text if room < 12 else f"{text}  {fit(clean(one.instruction), room, '...')}")
    return [fit(line, columns, "...") for line in lines]


# Layout


def _paragraph(text: str, columns: int, indent: str = "") -> list[str]:
    """Return a sentence in lines; those after the first are indented once more where the first is."""
    first, *rest = wrapped(clean(text, len(text)), min(columns, _TEXT_COLUMNS) - len(indent) - 2)
    return [indent + first, *(f"{indent}{'  ' if indent else ''}{line}" for line in rest)]


def _narrowed(table: Table, columns: int, spare: Sequence[Sequence[str]]) -> list[list[str]] | None:
    """Return a table's cells, head first, as wide as there is room for; None if they have not even room without what is spare.

    Names of runs are cut first, then the spare columns are left out, group by group.
    """
    left_out: set[str] = set()
    for width, group in [
        *((width, ()) for width in _HEAD_COLUMNS),
        *((_HEAD_COLUMNS[-1], one) for one in spare),
    ]:
        left_out.update(group)
        kept = [place for place, name in enumerate(table.head) if place < 3 or name not in left_out]
        if "runs" in left_out:
            kept = [place for place in kept if place not in (1, 2)]
        head = _cut(table.head, width)
        rows = [head, *([fit(clean(cell), _NAME_COLUMNS, "...") for cell in row] for row in table.rows)]
        cells = [[row[place] for place in kept] for row in rows]
        if 2 + sum(_widths(cells)) + 2 * (len(kept) - 1) <= columns:
            return cells
    return None


def _cut(head: Sequence[str], columns: int) -> list[str]:
    """Return the heads of columns with the names of two runs, where they stand there, cut in the middle."""
    whole = [clean(one) for one in head]
    if not _names_runs(head):
        return whole
    cut = [_middle_cut(one, columns) for one in whole[1:3]]
    return [whole[0], *(cut if cut[0] != cut[1] else ["base", "other"]), *whole[3:]]


def _names_runs(head: Sequence[str]) -> bool:
    return head[0] == _DIFFERS or "difference" in head


def _middle_cut(name: str, columns: int) -> str:
    if cell_len(name) <= columns:
        return name
    room = columns - 2
    tail = name
    while cell_len(tail) > room - room // 2:
        tail = tail[1:]
    return f"{fit(name, room // 2, '')}..{tail}"


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(cell_len(row[column]) for row in cells) for column in range(len(cells[0]))]


def _laid_out(
    table: Table, columns: int, *, left: bool = False, spare: Sequence[Sequence[str]] = ()
) -> list[str]:
    """Return a table as lines: side by side where there is room, else each row's cells under its name.

    Args:
        table: its first column is of names.
        columns: of the terminal.
        left: whether all columns begin at the left, as texts do.
        spare: groups of columns that may be left out for want of room.
    """
    cells = _narrowed(table, columns, spare)
    return _stacked(table, columns) if cells is None else _side_by_side(cells, left=left)


def _side_by_side(cells: Sequence[Sequence[str]], *, left: bool) -> list[str]:
    widths = _widths(cells)
    return [
        "  "
        + "  ".join(
            pad(cell, width, right=place > 0 and not left)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _stacked(table: Table, columns: int) -> list[str]:
    head = _cut(table.head, max(8, columns // 2 - 4))
    width = max(cell_len(one) for one in head[1:])
    lines = [f"  {head[0]}"]
    for name, *cells in table.rows:
        lines.append(f"  {clean(name)}")
        for label, cell in zip(head[1:], cells, strict=True):
            lines.append(f"    {pad(label, width)}  {clean(cell)}")
    return [fit(line, columns, "...") for line in lines]
