"""The page of a comparison, made ready for its templates: what is shown and what is not, tables, changes with pictures, gallery.

The sentences and tables are those of the terminal (`views.compare`, `views.verdicts`), so that the two cannot disagree.
Runs have letters, in the order in which they were named. Knows nothing of where pages are written, but that they lie side
by side in a folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edit_eval.driver.comparison import Difference, PairOfRuns, RunComparison, SampleDifference
from edit_eval.driver.opinions import Opinions
from edit_eval.driver.summary import Row
from edit_eval.views.cards import DASH, card_data, edit_of, short, source_of, visible, words
from edit_eval.views.compare import comparison_tables
from edit_eval.views.links import Links
from edit_eval.views.tables import Table, signed
from edit_eval.views.templating import template
from edit_eval.views.text import UNDEFINED
from edit_eval.views.verdicts import (
    corrections,
    head_said,
    lost_said,
    partial_said,
    spread_said,
    tags_said,
    verdict,
)

__all__ = ["MOST_CELLS", "Compared", "compare_page", "compare_part_names", "compare_part_page", "letter_of"]

MOST_CELLS = 9000
"""Edits on the first page, of all runs together: about 12 MB of text."""
PART_CELLS = 4000
"""Edits on a further page."""
_CHANGES = 6
"""Of the largest drops and gains, how many are shown."""
_MINUS = re.compile(r"-(?=\d)")


def letter_of(place: int) -> str:
    """Return the letter of a run: A to Z, then AA, AB ..."""
    return (letter_of(place // 26 - 1) if place >= 26 else "") + chr(ord("A") + place % 26)


@dataclass(frozen=True)
class Compared:
    """A comparison with what its page needs beside it.

    Attributes:
        comparison: what was found.
        links: of the page about each run, in their order.
        opinions: for each run, what else was said of an edit, by its rows' index.
    """

    comparison: RunComparison
    links: Sequence[Links]
    opinions: Sequence[Mapping[int, Opinions]]

    @property
    def letters(self) -> list[str]:
        """The letters of the runs."""
        return [letter_of(place) for place in range(len(self.comparison.runs))]


def compare_page(compared: Compared) -> Iterator[str]:
    """Yield the first page in pieces."""
    comparison = compared.comparison
    cards = list(_cards(compared))
    names = compare_part_names(comparison)
    shown = sorted(cards, key=_importance)[: _most(comparison, MOST_CELLS)] if names else cards
    size = _most(comparison, PART_CELLS)
    page_of = {place: names[place // size] for place in range(len(cards))} if names else {}
    page_of |= dict.fromkeys((card["index"] for card in shown), "")
    by_id = {sample.id: card for sample, card in zip(comparison.samples, cards, strict=True)}
    tables = [_table(one, compared) for one in comparison_tables(comparison)]
    beside = 1 + (comparison.ranking is not None)
    yield from template("compare.html").generate(
        **_head(compared),
        said=[visible(line) for line in head_said(comparison)],
        partials=[_minus(visible(partial_said(run))) for run in comparison.runs if run.partial],
        spreads=[
            _minus(visible(spread_said(run.label, run.variance))) for run in comparison.runs if run.variance
        ],
        alone=tables[0],
        ranks=tables[1] if comparison.ranking else None,
        groups=[[visible(name) for name in group] for group in comparison.ranking.groups]
        if comparison.ranking
        else [],
        pairs=[
            {
                **_pair(compared, pair, by_id, page_of),
                "tables": [one for one in tables[beside:] if one["title"] == _title(comparison, pair)],
            }
            for pair in comparison.pairs
        ],
        rows=shown,
        shown=len(shown),
        wanted=len(cards),
        parts=[{"page": name, "name": _span(comparison, number)} for number, name in enumerate(names)],
    )


def compare_part_names(comparison: RunComparison) -> list[str]:
    """Return the names of the further pages; none where the first page has all samples."""
    count = len(comparison.samples)
    if count <= _most(comparison, MOST_CELLS):
        return []
    return [f"samples-{number + 1}.html" for number in range(-(-count // _most(comparison, PART_CELLS)))]


def compare_part_page(compared: Compared, number: int) -> Iterator[str]:
    """Yield a further page in pieces; `number` is 0-based."""
    comparison = compared.comparison
    names = compare_part_names(comparison)
    size = _most(comparison, PART_CELLS)
    yield from template("compare_samples.html").generate(
        **_head(compared),
        span=_span(comparison, number),
        wanted=len(comparison.samples),
        before=names[number - 1] if number else None,
        after=names[number + 1] if number + 1 < len(names) else None,
        rows=_cards(compared, slice(number * size, (number + 1) * size)),
    )


def _most(comparison: RunComparison, cells: int) -> int:
    return max(1, cells // len(comparison.runs))


def _span(comparison: RunComparison, number: int) -> str:
    size = _most(comparison, PART_CELLS)
    return f"{number * size} to {min((number + 1) * size, len(comparison.samples)) - 1}"


def _importance(card: Mapping[str, Any]) -> tuple[float, int]:
    """Order cards by how far a run is from the base, the farthest first; then those of which that is not known."""
    return -max((abs(one) for one in card["aparts"] if one is not None), default=-1.0), card["index"]


def _names(compared: Compared) -> str:
    return " · ".join(visible(run.label) for run in compared.comparison.runs)


def _head(compared: Compared) -> dict[str, Any]:
    comparison = compared.comparison
    return {
        "title": _names(compared),
        "letters": compared.letters,
        "base": comparison.base,
        "names": {
            letter: short(run.label) for letter, run in zip(compared.letters, comparison.runs, strict=True)
        },
        "several": [
            {
                "letter": letter,
                "label": visible(run.label),
                "base": place == comparison.base,
                "editor": visible(run.summary.editor),
                "protocol": visible(run.protocol),
                "mean": DASH if run.headline.mean is None else _minus(f"{run.headline.mean:.3f}"),
                "partial": run.partial,
                "report": links.image("report/index.html"),
            }
            for place, (letter, run, links) in enumerate(
                zip(compared.letters, comparison.runs, compared.links, strict=True)
            )
        ],
    }


def _title(comparison: RunComparison, pair: PairOfRuns) -> str:
    return visible(f"{comparison.runs[pair.other].label} against {comparison.runs[pair.base].label}")


def _table(table: Table, compared: Compared) -> dict[str, Any]:
    """Return a table with the letters of runs before their names, and the page's own dash and minus."""
    known = {
        run.label: f"{letter} · {run.label}"
        for letter, run in zip(compared.letters, compared.comparison.runs, strict=True)
    }
    known |= {f"{label} (base)": f"{name} (base)" for label, name in known.items()}
    return {
        "title": visible(table.title),
        "head": [short(known.get(one, one), 60) for one in table.head],
        "rows": [[short(known.get(row[0], row[0]), 60), *map(_cell, row[1:])] for row in table.rows],
    }


def _cell(text: str) -> str:
    return DASH if text == UNDEFINED else _minus(visible(text))


def _minus(text: str) -> str:
    return _MINUS.sub("\u2212", text)


def _pair(
    compared: Compared, pair: PairOfRuns, by_id: Mapping[str, Mapping[str, Any]], page_of: Mapping[int, str]
) -> dict[str, Any]:
    comparison = compared.comparison
    base, other = comparison.runs[pair.base], comparison.runs[pair.other]
    return {
        "letter": letter_of(pair.other),
        "base_letter": letter_of(pair.base),
        "label": visible(other.label),
        "base_label": visible(base.label),
        "verdict": _minus(visible(verdict(comparison, pair))),
        "shown": pair.main.shown,
        "results": _results(pair.overall),
        "tags": visible(tags_said(pair)) if pair.tags else "",
        "corrections": [
            f"p of {what} {said}"
            for what, said in (
                (
                    "the benchmark's other numbers",
                    corrections(pair.headline_correction, len(pair.headlines) - 1),
                ),
                ("the dimensions", corrections(pair.dimension_correction, len(pair.dimensions))),
                ("the tags", corrections(pair.tag_correction, len(pair.tags))),
            )
            if said
        ],
        "lost": [visible(line) for line in lost_said(pair.lost, base, other)],
        "provenance": [
            (short(one.label), short(one.base) or DASH, short(one.other) or DASH) for one in pair.provenance
        ],
        "changes": [
            _changes("Largest drops", comparison.drops(pair.other), pair, by_id, page_of),
            _changes("Largest gains", comparison.gains(pair.other), pair, by_id, page_of),
        ],
    }


def _results(one: Difference) -> dict[str, Any] | None:
    if one.wins is None or one.ties is None or one.losses is None or not one.n:
        return None
    return {"wins": one.wins, "ties": one.ties, "losses": one.losses}


def _changes(
    heading: str,
    found: Sequence[SampleDifference],
    pair: PairOfRuns,
    by_id: Mapping[str, Mapping[str, Any]],
    page_of: Mapping[int, str],
) -> dict[str, Any]:
    """Return the samples that changed most, with the pictures of both runs."""
    return {
        "heading": heading,
        "count": len(found),
        "rows": [
            {
                "index": card["index"],
                "page": page_of[card["index"]],
                "id": card["id"],
                "instruction": card["instruction"]["start"],
                "apart": _minus(signed(one.difference(pair.other), 2)),
                "source": card["source"],
                "base": card["cells"][pair.base],
                "other": card["cells"][pair.other],
            }
            for one in found[:_CHANGES]
            for card in [by_id[one.id]]
        ],
    }


def _cards(compared: Compared, part: slice = slice(None)) -> Iterator[dict[str, Any]]:
    comparison = compared.comparison
    rows = [_by_sample(run.rows) for run in comparison.runs]
    for index, sample in list(enumerate(comparison.samples))[part]:
        yield _card(compared, index, sample, [known.get(sample.id, []) for known in rows])


def _by_sample(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.index):
        found.setdefault(row.sample.id, []).append(row)
    return found


def _card(
    compared: Compared, index: int, sample: SampleDifference, rows: Sequence[Sequence[Row]]
) -> dict[str, Any]:
    comparison = compared.comparison
    cells = [_run_cell(compared, place, sample, own) for place, own in enumerate(rows)]
    order = sorted(range(len(rows)), key=lambda place: place != comparison.base)
    first = next((place for place in order if cells[place]["edits"]), comparison.base)
    row = rows[first][0] if rows[first] else None
    links = compared.links[first]
    aparts = [None if place == comparison.base else sample.difference(place) for place in range(len(rows))]
    given = row.sample.edit_instruction if row is not None else None
    return {
        "index": index,
        "id": short(sample.id),
        "repeat": None,
        "instruction": words(sample.instruction),
        "given": None if given is None else words(given),
        "tags": [(short(tag), short(value)) for tag, value in sample.tags.items()],
        "source": {"shown": None, "full": None} if row is None else source_of(row, links),
        "more": [] if row is None else [link for link in map(links.file, row.sample.images[1:]) if link],
        "cells": cells,
        "aparts": aparts,
        "data": card_data(index, sample.tags, cells, aparts),
    }


def _run_cell(
    compared: Compared, place: int, sample: SampleDifference, rows: Sequence[Row]
) -> dict[str, Any]:
    """Return what one run has of a sample: its edits (one a repeat), their mean score, how far that is from the base's."""
    comparison = compared.comparison
    status = sample.statuses[place]
    same = status not in ("not in this run", "another sample")
    opinions = compared.opinions[place]
    edits = [
        edit_of(row, comparison.scale, compared.links[place], opinions.get(row.index))
        for row in (rows if same else ())
    ]
    overall = sample.overall[place]
    apart = None if place == comparison.base else sample.difference(place)
    doubts = [edit["doubt"] for edit in edits if edit["doubt"] is not None]
    return {
        "letter": letter_of(place),
        "edits": edits,
        "value": overall,
        "overall": DASH if overall is None else _minus(f"{overall:.2f}"),
        "apart": None if apart is None else _minus(signed(apart, 2)),
        "sign": 0 if apart is None else (apart > 0) - (apart < 0),
        "label": visible(status),
        "bad": status.startswith(("unscored", "edit-failed")),
        "flags": [flag for edit in edits for flag in edit["flags"]],
        "doubt": max(doubts, default=None),
    }
