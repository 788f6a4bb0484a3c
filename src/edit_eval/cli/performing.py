"""Doing what is left of a job, with a display, and what is said and written at its end."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edit_eval.cli import EXIT_OK, EXIT_PARTIAL
from edit_eval.cli.garbage import collected
from edit_eval.cli.output import nearest, say, show, show_json
from edit_eval.cli.signals import obey_signals
from edit_eval.core.errors import RunError
from edit_eval.driver.config import Checked
from edit_eval.driver.control import Control
from edit_eval.driver.divide import begin_shard
from edit_eval.driver.events import Event, RunStarted, StageName
from edit_eval.driver.forecast import forecast
from edit_eval.driver.job import Job, output_folder, prepare
from edit_eval.driver.judges import is_beside
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.runinfo import read_info
from edit_eval.driver.shards import Shard
from edit_eval.driver.summary import Summary
from edit_eval.serve.shown import Shown, read_shown
from edit_eval.views.closing import closing_block
from edit_eval.views.forecast import forecast_json, forecast_text
from edit_eval.views.numbers import Numbers, made_from, numbers_of
from edit_eval.views.report import (
    json_report,
    missing_block,
    page_path,
    standing,
)
from edit_eval.views.terminal import open_display
from edit_eval.views.usage import usage_block

__all__ = ["exit_code", "perform", "write_page"]


def perform(
    arguments: argparse.Namespace,
    checked: Checked,
    stages: Sequence[StageName],
    *,
    beside: bool = False,
    repeat_fraction: float = 0.0,
) -> int:
    """Do what is left of a job, then write the page, say how it ended and return the exit code."""
    how: dict[str, Any] = {
        "stages": stages,
        "retry_failed": arguments.retry_failed,
        "verify": arguments.verify,
        "repeat_fraction": repeat_fraction,
    }
    if arguments.dry_run:
        return _foresee(arguments, checked, how)
    if checked.config.shard:
        shard = Shard.parse(checked.config.shard)
        for line in begin_shard(output_folder(checked), shard, lock=checked.config.lock):
            say(line)
    job = prepare(checked, stages=stages, progress=say)
    control = Control()
    with (
        open_display(arguments.display, sys.stdout) as display,
        obey_signals(control),
        ExitStack() as working,
    ):

        def emit(event: Event) -> None:
            if isinstance(event, RunStarted):
                working.enter_context(collected())
            display(event)

        worked = run_job(job, emit, **how, beside=beside, tick=display.tick, control=control)
    return _conclude(job, arguments, stages, worked=worked)


def _foresee(arguments: argparse.Namespace, checked: Checked, how: Mapping[str, Any]) -> int:
    """Say what a start would do, and do nothing."""
    found = forecast(checked, **how)
    if arguments.display == "json":
        show_json(forecast_json(found))
    else:
        show(forecast_text(found))
    return EXIT_OK


def _conclude(job: Job, arguments: argparse.Namespace, stages: Sequence[StageName], *, worked: bool) -> int:
    """Write the page, print how the run ended, and return the exit code. Numbers are printed also without a page."""
    stamp = made_from(job.output, arguments.gpu_hour_price)
    numbers = None if worked else standing(job.output, stamp, len(job.wanted))
    page: Path | None = page_path(job.output)
    no_page: RunError | None = None
    if numbers is None:
        shown = read_shown(job.output, arguments.gpu_hour_price)
        numbers = numbers_of(shown.summary, shown.rows, shown.usage)
        page, no_page = write_page(shown)
    _say_end(job, arguments, numbers, nearest(page) if page else None, worked=worked)
    if no_page:
        raise no_page
    return exit_code(numbers.summary, judged="judge" in stages, beside=_coverage_beside(job, numbers.summary))


def _coverage_beside(job: Job, summary: Summary) -> float | None:
    """Return the coverage of the judge that was asked, if it is another one than the run's own."""
    if job.judge is None or not is_beside(read_info(job.output), job.judge.judging):
        return None
    return next((one.coverage for one in summary.others if one.id == job.judge.judging.id[:16]), 0.0)


def _say_end(
    job: Job, arguments: argparse.Namespace, numbers: Numbers, page: str | None, *, worked: bool
) -> None:
    summary, used = numbers.summary, numbers.usage
    if arguments.display == "json":
        end = {"event": "run_finished", "worked": worked, "report": page, **json_report(summary, [], used)}
        _show(json.dumps(end))
        return
    if not worked:
        _show(_nothing_to_do(job, summary))
    blocks = [
        closing_block(summary),
        missing_block(numbers.first_missing, numbers.missing),
        usage_block(used) if used else None,
        f"Report: {page}" if page else None,
    ]
    _show("\n\n".join(filter(None, blocks)))


def write_page(shown: Shown) -> tuple[Path, None] | tuple[None, RunError]:
    """Write the page; return where it is, or why there is none."""
    try:
        return shown.write_page(), None
    except RunError as error:
        return None, error


def _nothing_to_do(job: Job, summary: Summary) -> str:
    if not job.wanted:
        return f"Nothing to do: no sample falls to shard {job.checked.config.shard}."
    again = sum(summary.edit_failed.values()) + sum(summary.unscored.values())
    hint = f" --retry-failed takes up the {again} failed or unscored again." if again else ""
    return f"Nothing to do: everything in {nearest(job.output)} is done already.{hint}"


def _show(text: str) -> None:
    """Print; a reader that has gone (`| head`), or a full disk, changes nothing about how the run ended."""
    try:
        show(text)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_code(summary: Summary, *, judged: bool = True, beside: float | None = None) -> int:
    """Return whether there is as much as was wanted of what was asked for: edits, or the verdicts of one judge."""
    enough = summary.reaches(judged=judged) if beside is None else beside >= summary.min_coverage
    return EXIT_OK if enough else EXIT_PARTIAL
