"""The report in a real browser: what is shown, found, sorted and compared, by mouse and keyboard, also without a script."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from browser.made import small_rows
from edit_eval.views.report import html_report
from views.samples import summary


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("single") / "run"
    return html_report(run, summary(), small_rows(run))


def shown(page: Any) -> list[int]:
    """Return the samples that the page shows, in its order."""
    return page.eval_on_selector_all(
        "#cards > li", "all => all.filter(one => one.checkVisibility()).map(one => Number(one.id.slice(7)))"
    )


def shows(page: Any, samples: list[int], said: str) -> bool:
    """Whether the page comes to show these samples, in this order, and says so."""
    end = time.monotonic() + 3
    while time.monotonic() < end:
        if shown(page) == samples and page.locator("#found").text_content() == said:
            return True
        page.wait_for_timeout(20)
    return False


def test_finding_by_text_tag_score_status_and_flag(visit, report):
    page = visit(report)
    assert page.locator("#found").get_attribute("aria-live") == "polite"
    assert shows(page, list(range(12)), "All 12 samples")
    page.get_by_label("Text").fill("NUMBER 1 roof")
    assert shows(page, [1, 10, 11], "3 of 12 samples")
    page.get_by_label("category").select_option("remove")
    assert shows(page, [1, 10], "2 of 12 samples")
    page.get_by_role("button", name="Show all").click()
    assert shows(page, list(range(12)), "All 12 samples")
    page.get_by_label("Score from", exact=True).fill("6")
    page.get_by_label("Score to", exact=True).fill("8")
    assert shows(page, [2, 4, 6], "3 of 12 samples")
    page.get_by_role("button", name="Show all").click()
    page.get_by_label("Status").select_option("edit-failed (crash)")
    assert shows(page, [5], "1 of 12 samples")
    page.get_by_label("Status").select_option("")
    page.get_by_label("Flag").select_option("no_op")
    assert shows(page, [7], "1 of 12 samples")
    assert page.locator("#sort-doubt").count() == 0  # nobody judged twice


def test_sorting_puts_what_has_no_score_last(visit, report):
    page = visit(report)
    page.get_by_label("Sort by").select_option("low-0")
    assert shows(page, [11, 10, 9, 8, 7, 6, 4, 2, 1, 0, 3, 5], "All 12 samples")
    page.get_by_label("Sort by").select_option("")
    assert shows(page, list(range(12)), "All 12 samples")
