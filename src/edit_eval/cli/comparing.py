"""`edit-eval compare`: wires the comparison of runs and its views together, and nothing more."""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from edit_eval.cli import EXIT_OK, EXIT_PARTIAL
from edit_eval.cli.output import nearest, print_file, say, show, show_json
from edit_eval.core.errors import ConfigError, RunError
from edit_eval.core.identity import digest
from edit_eval.driver.compare import compare_runs
from edit_eval.driver.comparison import ComparedRun, RunComparison
from edit_eval.driver.opinions import Opinions, opinions_on
from edit_eval.driver.store import RunReader
from edit_eval.views.compare import comparison_tables, comparison_text
from edit_eval.views.comparison_data import comparison_json, sample_columns, sample_rows
from edit_eval.views.records import csv_lines
from edit_eval.views.report import compare_report
from edit_eval.views.tables import latex, markdown

__all__ = ["compare", "page_folder"]

_PIPED_COLUMNS = 120
_LONGEST_NAME = 100


def compare(arguments: argparse.Namespace) -> int:
    """`edit-eval compare RUN RUN ...`."""
    if len(arguments.runs) < 2:
        raise ConfigError(f"name a second run: edit-eval compare {arguments.runs[0]} RUN")
    if arguments.output and arguments.format not in ("text", "html"):
        raise ConfigError("--output goes with the page (--format text or html); all else is printed")
    runs = [RunReader(Path(run)) for run in arguments.runs]
    comparison = compare_runs(runs, any_protocol=arguments.any_protocol)
    if arguments.format != "html":
        _print(comparison, arguments.format)
    if arguments.format in ("text", "html"):
        _write_page(arguments, runs, comparison)
    return EXIT_OK if all(_enough(comparison)) else EXIT_PARTIAL


def _write_page(arguments: argparse.Namespace, runs: Sequence[RunReader], comparison: RunComparison) -> None:
    """Write the page and say where it is; that it cannot be written matters to who asked for it."""
    folder = page_folder([run.path for run in runs], arguments.output)
    try:
        opinions = [_opinions(*one) for one in zip(runs, comparison.runs, strict=True)]
        page = compare_report(comparison, folder, opinions)
    except RunError as error:
        if arguments.format == "html" or arguments.output:
            raise
        say(str(error))
        return
    show(nearest(page) if arguments.format == "html" else f"\nReport: {nearest(page)}")


def _opinions(run: RunReader, compared: ComparedRun) -> Mapping[int, Opinions]:
    """Return what else was said of a run's edits, where it is compared by its own judge."""
    return opinions_on(run, compared.rows) if compared.own_judge else {}


def _print(comparison: RunComparison, how: str) -> None:
    if how == "json":
        show_json(comparison_json(comparison), indent=2)
    elif how == "csv":
        print_file(csv_lines(sample_columns(comparison), sample_rows(comparison)))
    elif how == "markdown":
        show(markdown(comparison_tables(comparison)))
    elif how == "latex":
        show(latex(comparison_tables(comparison)))
    else:
        show(comparison_text(comparison, shutil.get_terminal_size((_PIPED_COLUMNS, 24)).columns))


def _enough(comparison: RunComparison) -> Sequence[bool]:
    """Return of each run whether what it has of the compared scores reaches its own least coverage."""
    return [run.coverage >= run.summary.min_coverage for run in comparison.runs]


def page_folder(runs: Sequence[Path], output: str | None) -> Path:
    """Return where the page of a comparison goes: beside the first run, named after all of them, or where it was told.

    Runs that do not lie beside one another, and may so be namesakes of others, are told apart by a hash of their paths.
    """
    if output:
        return Path(output)
    whole = [run.resolve() for run in runs]
    names = "--".join(re.sub(r"[^\w.-]+", "-", run.name) or "run" for run in whole)
    if len(names) > _LONGEST_NAME or any(run.parent != whole[0].parent for run in whole):
        names = f"{names[:_LONGEST_NAME]}-{digest([str(run) for run in whole])[:8]}"
    return whole[0].parent / "compare" / names
