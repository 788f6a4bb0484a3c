"""A run as its report and its page show it: read once, and written as a page where one is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edit_eval.driver.opinions import opinions_on
from edit_eval.driver.provenance import provenance_of
from edit_eval.driver.shard_telemetry import read_all_telemetry
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import Row, Summary, read_rows, summarize
from edit_eval.driver.timeline import timelines
from edit_eval.driver.usage import Usage, usage_of
from edit_eval.views.numbers import made_from
from edit_eval.views.overview import Background
from edit_eval.views.report import html_report
from edit_eval.views.timeline_chart import timeline_of

__all__ = ["Shown", "read_shown"]


@dataclass(frozen=True)
class Shown:
    """What is shown of a run.

    Attributes:
        run: the run.
        rows: of it.
        summary: of it.
        usage: what it took; None where nothing was recorded.
        background: what its page shows beside the numbers.
        stamp: of the files that all this was read from, from before they were read.
    """

    run: RunReader
    rows: Sequence[Row]
    summary: Summary
    usage: Usage | None
    background: Background
    stamp: str

    def write_page(self) -> Path:
        """Write the run's page; return where it is. Raises `RunError`."""
        opinions = opinions_on(self.run, self.rows)
        return html_report(
            self.run.path, self.summary, self.rows, self.usage, self.stamp, self.background, opinions
        )


def read_shown(run_dir: Path, price: float | None = None, *, thumbnails: bool = True) -> Shown:
    """Read a run.

    Args:
        run_dir: the run directory.
        price: of a GPU hour.
        thumbnails: whether to look which there are; only pages show them.

    Raises:
        RunError: there is no run, or it is damaged.
    """
    stamp = made_from(run_dir, price)
    run = RunReader(run_dir)
    rows = read_rows(run, thumbnails=thumbnails)
    starts = timelines(read_all_telemetry(run.path, run.info))
    background = Background(timeline_of(starts), provenance_of(run.info))
    return Shown(run, rows, summarize(run, rows), usage_of(starts, price), background, stamp)
