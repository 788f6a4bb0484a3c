"""A comparison of 1,000 samples in four runs: it is scrolled, searched and sorted without the page ever standing still.

A long task (W3C Long Tasks: of the page's main thread, from 50 ms on) is measured by the processor time that it took, from
the browser's own trace: on a machine that does nothing else that is how long it lasts, and other work does not lengthen it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from written import Item, write_run

from browser.made import compared_runs
from edit_eval.driver.compare import compare_runs
from edit_eval.driver.comparison import RunComparison, SampleDifference
from edit_eval.driver.rows import read_rows
from edit_eval.views.report import compare_report

MOST_MS = 200.0
SAMPLES, RUNS = 1000, 4


def until_said(page: Any, said: str) -> None:
    page.locator("#found", has_text=said).wait_for()
    page.wait_for_timeout(100)


def scroll(page: Any) -> None:
    """Go down the gallery by three screens at a time, then in leaps."""
    page.evaluate("""async () => {
      const height = document.documentElement.scrollHeight;
      const frame = () => new Promise(requestAnimationFrame);
      for (let top = 0; top < Math.min(height, 60000); top += 2500) { scrollTo(0, top); await frame(); }
      for (const share of [0.5, 1, 0.3, 0]) { scrollTo(0, height * share); await frame(); await frame(); }
    }""")


def long_tasks(trace: bytes) -> Sequence[tuple[str, float]]:
    """Return the long tasks of the page's main thread: what was going on, milliseconds of processor time."""
    events = json.loads(trace)["traceEvents"]
    threads = {
        (one["pid"], one["tid"])
        for one in events
        if one["name"] == "thread_name" and one["args"].get("name") == "CrRendererMain"
    }
    marks = sorted((one["ts"], one["name"]) for one in events if one.get("cat") == "blink.user_timing")
    tasks = [
        one
        for one in events
        if one["name"].endswith("RunTask") and (one["pid"], one["tid"]) in threads and "tdur" in one
    ]
    assert tasks
    return [
        (next((name for at, name in reversed(marks) if at <= one["ts"]), "load"), one["tdur"] / 1000)
        for one in tasks
        if one["tdur"] > 50_000
    ]


def large(folder: Path) -> RunComparison:
    """Return the comparison of the first samples, with all samples and pictures in its gallery: that is what is large."""
    items = [
        {
            f"s{index:04d}": Item(
                [float((index * 7 + run * 3) % 10)],
                tags={"category": f"c{index % 8}"},
                instruction=f"Make thing number {index} look older, and keep everything else as it is.",
                source="abcdef"[index % 6],
            )
            for index in range(SAMPLES)
        }
        for run in range(RUNS)
    ]
    first = [dict(list(one.items())[:20]) for one in items]
    small = compare_runs([write_run(folder / "few" / f"run-{run}", one) for run, one in enumerate(first)])
    runs = compared_runs(folder, items)
    return replace(
        small,
        runs=tuple(
            replace(one, path=run.path, rows=read_rows(run))
            for one, run in zip(small.runs, runs, strict=True)
        ),
        samples=tuple(
            SampleDifference(
                name,
                item.instruction,
                name,
                item.tags,
                tuple(float(one[name].outcomes[0]) for one in items),
                ("scored",) * RUNS,
            )
            for name, item in items[0].items()
        ),
    )


def test_no_long_task_while_4000_edits_are_scrolled_searched_and_sorted(browser, visit, tmp_path):
    comparison = large(tmp_path)
    page = visit(compare_report(comparison, tmp_path / "page"))
    assert page.locator("#cards > li").count() == SAMPLES
    assert page.locator("#cards .cell:not(.source)").count() == SAMPLES * RUNS
    until_said(page, "All 1000 samples")

    def now(what: str) -> None:
        page.evaluate("(what) => { performance.mark(what); }", what)

    browser.start_tracing(page=page, categories=["toplevel", "blink.user_timing"])
    now("scroll")
    scroll(page)
    now("find text")
    page.locator("#find-text").fill("number 77")
    until_said(page, "19 of 1000 samples")
    now("show all")
    page.locator("#reset").click()
    until_said(page, "All 1000 samples")
    now("find tag")
    page.locator("#find-tags select").select_option("c3")
    until_said(page, "125 of 1000 samples")
    page.locator("#find-tags select").select_option("")
    until_said(page, "All 1000 samples")
    now("sort")
    page.locator("#sort").select_option("drop-1")
    page.locator("#cards > li:first-child#sample-1").wait_for()
    now("scroll again")
    scroll(page)
    found = long_tasks(browser.stop_tracing())
    assert [one for one in found if one[1] >= MOST_MS] == [], found
