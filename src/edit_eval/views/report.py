"""The report of a run: as text, as JSON, and as static pages with every picture beside its score.

A pure function of a summary and its rows: no clock, no environment, no look into the images, so that building it twice
gives the same bytes, and a page made from the same files need not be built again. The page asks for nothing but the run's
own files and the benchmark's source images.

The keys of the JSON report (`"format": 1`; a number that is undefined is null, never 0):

| key | value |
|---|---|
| `format` | 1 |
| `run`, `protocol`, `editor`, `judge` | names; `judge` is null for a run without judging |
| `scale` | [smallest, largest] possible overall score |
| `wanted`, `edited`, `scored` | counts of samples times repeats |
| `edit_failed`, `unscored` | count by kind |
| `coverage`, `min_coverage`, `complete` | shares of 1; whether the first reaches the second |
| `headline` | an estimate: `n`, `clusters`, `mean`, `standard_error`, `low`, `high`, `minimum`, `maximum` |
| `headlines` | the benchmark's own numbers, the most important first: `headline` (how it is made), `n`, `wanted`, `clusters`, `mean`, `standard_error`, `low`, `high`, `bounds`, `by_group`, `why_partial` (in words; empty where nothing is missing) |
| `bounds` | [low, high] of the mean at coverage below 1, else null |
| `dimensions` | dimension -> estimate |
| `distribution`, `distributions` | how the overall scores, and those of each dimension (name ->), lie: `low` and `high` of the scale, `levels` (whether there is a bin for each whole number), `counts` of every verdict by bin, `missing` (done, but without this score); the first is null where there is no scale, or edits are compared |
| `tags` | tag -> value -> estimate of the overall score; `n` is 0 where none of it has a score |
| `tag_coverage` | tag -> value -> share of what was wanted that has a score |
| `flagged`, `flags` | how many edits have flags; how many have each of `blank`, `nan`, `resized`, `no_op` |
| `first_frames` | edits of the first frame or page of a source that has several |
| `spent` | on verdicts: `replies`, `attempts`, `tokens_in`, `tokens_out`, `cost` (null where no price was given) |
| `facts` | label -> text |
| `noise` | how much the judge differs from itself over the edits that it judged twice: `wanted`, `unscored` (second verdicts, by kind), `overall` and `dimensions` (name ->), each with `n`, `mean_absolute`, `deviation` (of a single score), `identical` (share); null where none was |
| `not_applicable` | count of what the judge cannot compare, for the other run has no edit of it: no part of coverage |
| `comparison` | how the edits fared against another run's: `against` (its directory), `wins`, `ties`, `losses`, `disagreed` (share of edits of which the two orders were answered otherwise), `decided` (answers that name an image), `first_preferred` (share of these that name the first shown); null where the judge compares nothing. The win rate is the `headline` |
| `others` | the judges beside the run's own, a list of `id` (the beginning of `judge and rubric`), `judge`, `protocol`, `scale`, `scored`, `unscored`, `coverage`, `headline`, `headlines`, `bounds`, `noise`, `not_applicable`, `comparison` as for it, and `bridge` |
| `bridge` | how that judge relates to the run's own over the samples that both scored: `n`, `clusters`, `same_scale`, `first` and `second` (mean of each), `shift` (second minus first) with `standard_error`, `low`, `high`, `spearman`, `kendall` (tau-b), `ordered` (pairs that neither ties), `tied`, `concordant` (share of the ordered that both put in one order), `equal` (share), `alpha` (Krippendorff's, of scores as numbers); null where undefined, and what needs one scale where the scales differ |
| `usage` | what the run took (`driver.usage.Usage`): `starts`, `wall_s`, `device_s`, `gpu_s`, `energy_wh`, `price`, `cost`, `devices` (a list of `DeviceUsage`), `stages` (`edit`, `judge` -> `StageUsage`), `laggards`; null where nothing was recorded |
| `rows` | a list in the benchmark's order: `index`, `sample` (id), `repeat`, `instruction`, `tags`, `status` (`scored`, `unscored`, `edit-failed`, `not judged`, `not edited`, `not applicable`), `kind` and `reason` (where there is no score), `overall`, `scores`, `reasons`, `image`, `flags`, `edit_key`, `verdict_key` |
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edit_eval.core.errors import RunError
from edit_eval.driver.abandoned import remove_abandoned
from edit_eval.driver.comparison import RunComparison
from edit_eval.driver.opinions import Opinions
from edit_eval.driver.refusals import cannot_write
from edit_eval.driver.summary import JudgeSummary, Row, Summary
from edit_eval.driver.usage import Usage
from edit_eval.views.closing import closing_block
from edit_eval.views.links import THUMBNAILS, links_between, wanted_thumbnails
from edit_eval.views.numbers import FEW, Numbers, numbers_of, read_numbers, written
from edit_eval.views.status import is_missing, status_of
from edit_eval.views.text import clean, fit, number
from edit_eval.views.thumbs import place_thumbnails, remove_others
from edit_eval.views.usage import usage_block

if TYPE_CHECKING:
    from edit_eval.views.overview import Background

__all__ = [
    "compare_report",
    "html_report",
    "json_report",
    "missing_block",
    "page_path",
    "standing",
    "text_report",
]

FORMAT = 1
GENERATOR = '<meta name="generator" content="edit-eval">'
"""Says in the head of every page that it is ours."""
_LOWEST = 5
_REASON_COLUMNS = 100
_FAILURE_COLUMNS = 300
"""Of what we say ourselves, which ends with what to do."""
_NAME_COLUMNS = 80


def text_report(summary: Summary, rows: Sequence[Row], usage: Usage | None = None) -> str:
    """Return the report as text, without a final newline: numbers, all without a score, the lowest scores, devices."""
    ordered = sorted(rows, key=lambda row: row.index)
    missing = [row for row in ordered if is_missing(row)]
    scored = [row for row in ordered if row.verdict is not None and row.verdict.overall is not None]
    lowest = sorted(scored, key=lambda row: (_overall(row), row.index))[:_LOWEST]
    flagged = [row for row in ordered if row.flags]
    parts = [closing_block(summary)]
    if missing:
        parts.append("\n".join([f"Without a score ({len(missing)}):", *map(_text_row, missing)]))
    if flagged:
        parts.append("\n".join([f"Flagged ({len(flagged)}):", *map(_flagged_row, flagged)]))
    if lowest:
        parts.append("\n".join(["Lowest scores:", *map(_text_row, lowest)]))
    if usage is not None:
        parts.append(usage_block(usage))
    return "\n\n".join(parts)


def missing_block(rows: Sequence[Row], count: int | None = None) -> str | None:
    """Return the first few rows without a score, with their reasons; None where every row got one, or is still to do.

    Args:
        rows: of the run, or the first few of those without a score.
        count: how many of these there are in all; None: `rows` has them all.
    """
    missing = [row for row in rows if is_missing(row)]
    if not missing:
        return None
    lines = [_text_row(row) for row in sorted(missing, key=lambda row: row.index)[:FEW]]
    whole = len(missing) if count is None else count
    more = whole - len(lines)
    return "\n".join(
        [
            f"Without a score ({whole}):",
            *lines,
            *([f"  and {more} more; 'edit-eval report' lists them all"] if more else []),
        ]
    )


def _overall(row: Row) -> float:
    return (
        row.verdict.overall if row.verdict is not None and row.verdict.overall is not None else float("inf")
    )


def _flagged_row(row: Row) -> str:
    status = status_of(row)
    result = number(row.verdict.overall, 2) if status.name == "scored" and row.verdict else status.label
    return f"  [Sample {row.index:>3}] {clean(', '.join(row.flags))} {_name(row)} | {result}"


def _name(row: Row) -> str:
    return fit(clean(row.sample.id), _NAME_COLUMNS, "...") + (f" (repeat {row.repeat})" if row.repeat else "")


def _text_row(row: Row) -> str:
    status = status_of(row)
    result = (
        number(row.verdict.overall, 2) if status.name == "scored" and row.verdict else clean(status.label)
    )
    columns = _REASON_COLUMNS if row.edited else _FAILURE_COLUMNS
    reason = fit(clean(status.reason), columns, "...")
    return f"  [Sample {row.index:>3}] {result} {_name(row)}" + (f" | {reason}" if reason else "")


def json_report(summary: Summary, rows: Sequence[Row], usage: Usage | None = None) -> dict[str, Any]:
    """Return the report as JSON data; the keys are documented at the top of this module."""
    data = asdict(summary)
    return {
        "format": FORMAT,
        **data,
        "scale": list(summary.scale),
        "bounds": None if summary.bounds is None else list(summary.bounds),
        "others": [_judge(one) for one in summary.others],
        "complete": summary.complete,
        "usage": None if usage is None else asdict(usage),
        "rows": [_json_row(row) for row in sorted(rows, key=lambda row: row.index)],
    }


def _judge(one: JudgeSummary) -> dict[str, Any]:
    bounds = None if one.bounds is None else list(one.bounds)
    return {**asdict(one), "scale": list(one.scale), "bounds": bounds}


def _json_row(row: Row) -> dict[str, Any]:
    status = status_of(row)
    scored = row.verdict if status.name == "scored" else None
    return {
        "index": row.index,
        "sample": row.sample.id,
        "repeat": row.repeat,
        "instruction": row.sample.instruction,
        "tags": dict(row.sample.tags),
        "status": status.name,
        "kind": status.kind,
        "reason": None if scored else (status.reason or None),
        "overall": scored.overall if scored else None,
        "scores": dict(scored.scores) if scored else {},
        "reasons": dict(scored.reasons) if scored else {},
        "image": row.image,
        "flags": list(row.flags),
        "edit_key": row.edit_key,
        "verdict_key": row.verdict_key,
    }


def html_report(
    run_dir: Path,
    summary: Summary,
    rows: Sequence[Row],
    usage: Usage | None = None,
    made_from: str = "",
    background: Background | None = None,
    opinions: Mapping[int, Opinions] | None = None,
) -> Path:
    """Write `run_dir/report/index.html`, and further pages of a large run, each whole or not at all; return its path.

    Beside the pages lie the thumbnails that they show, so that the folder can be copied elsewhere.

    Args:
        run_dir: the run directory.
        summary: of the run.
        rows: of the run.
        usage: of the run.
        made_from: what `numbers.made_from` said before all this was read, for `standing`; not written where a picture
            lacks its thumbnail, as the next page may have it.
        background: what the devices did and how the run was made.
        opinions: what else was said of an edit, by the rows' index (`driver.opinions`).

    Raises:
        RunError: a page cannot be written.
    """
    from edit_eval.views.page import page, part_names, part_page

    path = page_path(run_dir)
    folder = path.parent
    names = part_names(len(rows))
    lacking = any(row.image and not (row.thumbnail and row.source_thumbnail) for row in rows)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        ordered = sorted(rows, key=lambda row: row.index)
        links = links_between(folder, run_dir)
        thumbnails = wanted_thumbnails(ordered, links)
        place_thumbnails(folder, thumbnails)
        for number, name in enumerate(names):
            _replace(folder / name, part_page(summary, ordered, number, links=links, opinions=opinions))
        head = ("", "") if lacking or not made_from else written(numbers_of(summary, rows, usage), made_from)
        _replace(path, page(summary, ordered, usage, *head, background, links=links, opinions=opinions))
        _remove_old(folder, names, thumbnails)
    except OSError as error:
        raise cannot_write(f"the report {path}", error, place=path, instead="") from error
    return path


def compare_report(
    comparison: RunComparison, folder: Path, opinions: Sequence[Mapping[int, Opinions]] | None = None
) -> Path:
    """Write `folder/index.html` about several runs, and further pages of large ones, with the thumbnails; return its path.

    Args:
        comparison: what was found (`driver.compare`).
        folder: where to; made if it is not there.
        opinions: for each run, what else was said of an edit, by the rows' index (`driver.opinions`).

    Raises:
        RunError: a page cannot be written.
    """
    from edit_eval.views import compare_page as pages

    path = folder / "index.html"
    _check_ours(folder)
    names = pages.compare_part_names(comparison)
    links = [
        links_between(folder, run.path, pages.letter_of(place)) for place, run in enumerate(comparison.runs)
    ]
    compared = pages.Compared(comparison, links, opinions or [{}] * len(links))
    thumbnails: dict[str, str] = {}
    for run, ours in zip(comparison.runs, links, strict=True):
        thumbnails |= wanted_thumbnails(run.rows, ours)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        place_thumbnails(folder, thumbnails)
        for number, name in enumerate(names):
            _replace(folder / name, pages.compare_part_page(compared, number))
        _replace(path, pages.compare_page(compared))
        _remove_old(folder, names, thumbnails)
    except OSError as error:
        raise cannot_write(f"the page {path}", error, place=path, instead="") from error
    return path


def _check_ours(folder: Path) -> None:
    """Check that a folder that somebody named may hold a page: that nothing in it would be lost."""
    if (folder / "run.json").exists():
        raise RunError(f"{folder} is a run directory; name another folder for the page")
    try:
        with (folder / "index.html").open(encoding="utf-8", errors="replace") as file:
            ours = any(GENERATOR in line for line in islice(file, 12))
    except OSError:
        return
    if not ours:
        raise RunError(
            f"{folder} has an index.html that edit-eval did not write; name another folder for the page"
        )


def _remove_old(folder: Path, names: Sequence[str], thumbnails: Collection[str]) -> None:
    """Remove what an earlier page had and this one does not. Raises `OSError`."""
    for old in set(folder.glob("samples-*.html")) - {folder / name for name in names}:
        old.unlink(missing_ok=True)
    remove_others(folder, thumbnails)


def page_path(run_dir: Path) -> Path:
    """Return where the page of a run lies."""
    return run_dir / "report" / "index.html"


def standing(run_dir: Path, stamp: str, count: int) -> Numbers | None:
    """Return the numbers of a page, of so many rows, that is there with all its parts and was made from just this."""
    from edit_eval.views.page import part_names

    path = page_path(run_dir)
    if not (path.parent / THUMBNAILS).is_dir():
        return None
    if not all(path.with_name(name).is_file() for name in part_names(count)):
        return None
    return read_numbers(path, stamp)


def _replace(path: Path, pieces: Iterable[str]) -> None:
    """Write a file whole or not at all, open to whom the umask says (a file of `tempfile` would be ours alone)."""
    temporary = path.with_name(f".index-page.{os.getpid()}.html")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(pieces)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
