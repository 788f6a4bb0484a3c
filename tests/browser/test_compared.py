"""The page of a comparison in a real browser: runs side by side, sorted by difference, compared in the viewer."""

from __future__ import annotations

from pathlib import Path

import pytest
from written import Item

from browser.made import COLOURS, compared_runs
from browser.test_gallery import CONTRASTS, comes, pixel, shows
from edit_eval.driver.compare import compare_runs
from edit_eval.views.report import compare_report

EVIL = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
SCORES = ([5, 6, 7, 4, 8, 5], [5, 9, 1, "refused", 8, 6], [6, "failed:crash", 2, 4, 3, 5])


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    items = [
        {
            f"s{number}": Item(
                [value], tags={"category": "ab"[number % 2]}, instruction=f"do {number} {EVIL}"
            )
            for number, value in enumerate(scores)
        }
        for scores in SCORES
    ]
    items[2]["more"] = Item([7, 8], tags={"category": "a"}, instruction="only here, twice")
    return compare_report(compare_runs(compared_runs(folder, items)), folder / "page")


def test_sorting_by_difference_and_by_a_run(visit, report):
    page = visit(report)
    assert shows(page, [0, 1, 2, 3, 4, 5, 6], "All 7 samples")
    assert page.locator("#sample-2 .run-B .mark").text_content() == "B 1.00 \N{MINUS SIGN}6.00"
    assert "unscored (refused)" in page.locator("#sample-3 .run-B").text_content()
    assert "edit-failed (crash)" in page.locator("#sample-1 .run-C").text_content()
    assert "not in this run" in page.locator("#sample-6 .run-A").text_content()
    assert page.locator("#sample-6 .run-C figure").count() == 2  # its repeats
    page.locator("#sort").select_option("drop-1")
    assert shows(page, [2, 0, 4, 5, 1, 3, 6], "All 7 samples")
    page.locator("#sort").select_option("gain-1")
    assert shows(page, [1, 5, 0, 4, 2, 3, 6], "All 7 samples")
    page.locator("#sort").select_option("apart")
    assert shows(page, [2, 4, 1, 0, 5, 3, 6], "All 7 samples")
    page.locator("#sort").select_option("low-2")
    assert shows(page, [2, 4, 3, 5, 0, 6, 1], "All 7 samples")
    page.locator("#find-run").select_option("1")
    page.locator("#find-low").fill("6")
    assert shows(page, [4, 5, 1], "3 of 7 samples")


def test_a_change_leads_to_its_sample_and_any_two_runs_are_compared(visit, report):
    page = visit(report)
    page.locator(".change", has_text="do 2").first.click()
    assert comes(page, lambda: page.evaluate("location.hash") == "#sample-2")
    page.locator("#sample-2 .run-B figure a").click()
    dialog = page.get_by_role("dialog", name="s2")
    dialog.wait_for()
    assert page.get_by_label("Right image").locator("option").all_text_contents() == [
        "Source",
        "A · run-0",
        "B · run-1",
        "C · run-2",
    ]
    page.locator("#viewer-said", has_text="B · run-1 (its thumbnail").wait_for()
    page.get_by_label("Left image").select_option("3")
    page.locator("#viewer-said", has_text="C · run-2 (its thumbnail").wait_for()
    assert near(pixel(page, 0.3), COLOURS[2])
    assert near(pixel(page, 0.7), COLOURS[1])
    page.keyboard.press("Tab")
    page.locator("#viewer-title").focus()
    page.keyboard.press(".")
    assert page.get_by_label("Right image").input_value() == "3"
    page.keyboard.press("i")
    assert page.locator("#viewer-stage .name").all_text_contents() == ["Source", "A", "B", "C"]
    page.keyboard.press("ArrowRight")  # the same two images of the next sample
    page.get_by_role("dialog", name="s3").wait_for()
    assert page.get_by_label("Left image").input_value() == "3"


def near(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two colours are the same but for what WebP changes."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= 6


def test_hostile_instructions_and_no_script(visit, report):
    page = visit(report)
    assert page.locator("script").count() == 1
    assert EVIL in page.locator("#sample-0 .instruction").text_content()
    still = visit(report, java_script_enabled=False)
    text = still.locator("body").inner_text()
    for said in ("could be shown", "overall", "Not compared: ", "Largest drops of B"):
        assert said in text
    assert "only here, twice" in still.locator("#sample-6").text_content()


@pytest.mark.parametrize("width", [375, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window_and_text_can_be_read(visit, report, width, scheme):
    page = visit(report, width=width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert [one for one in page.evaluate(CONTRASTS) if one[1] < 4.5] == []
    page.locator("#sample-2 .run-B figure a").click()
    for key in "sibd?":
        page.keyboard.press(key)
        assert page.locator("#viewer").evaluate("one => one.scrollWidth") == width
    assert [one for one in page.evaluate(CONTRASTS) if one[1] < 4.5] == []
