"""The report of one run in a real browser: finding, sorting, the viewer, by mouse and keyboard, and without a script."""

from __future__ import annotations

import io
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from browser.made import GREY, draw, small_rows
from edit_eval.core.types import Sample
from edit_eval.driver.opinions import Opinion, Opinions
from edit_eval.views.report import html_report
from views.samples import HOSTILE, row, scored, summary


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("single") / "run"
    return html_report(run, summary(), small_rows(run))


def shown(page: Any) -> list[int]:
    """Return the samples that the page shows, in its order."""
    return page.eval_on_selector_all(
        "#cards > li", "all => all.filter(one => !one.hidden).map(one => Number(one.id.slice(7)))"
    )


def shows(page: Any, samples: list[int], said: str) -> bool:
    """Whether the page comes to show these samples, in this order, and says so."""
    return comes(page, lambda: shown(page) == samples and page.locator("#found").text_content() == said)


def comes(page: Any, true: Any) -> bool:
    end = time.monotonic() + 3
    while time.monotonic() < end:
        if true():
            return True
        page.wait_for_timeout(20)
    return False


def pixel(page: Any, x: float = 0.8, y: float = 0.8) -> tuple[int, int, int]:
    """Return the colour that the viewer's first pane has at a place, in shares of it."""
    from PIL import Image

    box = page.locator("#viewer-stage .pane").first.bounding_box()
    seen = Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB")
    return seen.getpixel((int(x * seen.width), int(y * seen.height)))


def opened(page: Any, sample: int = 0) -> Any:
    """Open the viewer at a sample's edit; wait until the whole images are there."""
    page.locator(f"#sample-{sample} figure a").nth(1).click()
    page.locator("#viewer[open]").wait_for()
    page.locator("#viewer-said", has_text="96 × 96").wait_for()
    return page.locator("#viewer")


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


def test_sorting_by_how_far_judges_are_apart(visit, tmp_path):
    rows = small_rows(tmp_path / "run", 4)
    said = {1: Opinions((Opinion("", 6.0, 0.25),)), 2: Opinions((Opinion("other", 1.0, 0.7),), 0.1)}
    page = visit(html_report(tmp_path / "run", summary(), rows, opinions=said))
    assert page.locator("#sample-2 .scores > div").all_text_contents() == ["quality8", "other1"]
    page.get_by_label("Sort by").select_option("doubt")
    assert shows(page, [2, 1, 0, 3], "All 4 samples")


def test_the_address_leads_to_a_sample_and_to_what_was_asked_for(visit, report):
    page = visit(report, "#sample-9")
    assert page.locator("#sample-9.here").count() == 1
    assert page.locator("#sample-9").evaluate("one => one.getBoundingClientRect().top") < 400
    page.get_by_label("Text").fill("number 1")
    page.get_by_label("Sort by").select_option("low-0")
    assert shows(page, [11, 10, 1], "3 of 12 samples")
    assert comes(page, lambda: page.evaluate("location.hash") == "#q=number+1&sort=low-0")
    page.locator("#sample-10 a.id").click()
    assert comes(page, lambda: page.evaluate("location.hash") == "#sample-10&q=number+1&sort=low-0")
    again = visit(report, "#sample-10&q=number+1&sort=low-0")
    assert shows(again, [11, 10, 1], "3 of 12 samples")
    assert again.locator("#sample-10.here").count() == 1
    again.evaluate("location.hash = '#sample-4'")  # as a link elsewhere on the page does
    assert shows(again, list(range(12)), "All 12 samples")
    assert again.locator("#sample-4.here").count() == 1


def test_the_slider_shows_the_source_left_and_the_edit_right(visit, report):
    page = visit(report)
    opened(page)
    divider = page.get_by_label("Divider")
    assert pixel(page, 0.3) == GREY
    assert pixel(page, 0.7) == (200, 40, 40)
    divider.fill("90")
    assert pixel(page, 0.7) == GREY
    divider.focus()
    page.keyboard.press("Home")
    assert pixel(page, 0.3) == (200, 40, 40)
    assert divider.get_attribute("aria-valuetext") == "0 % of the left image"
    box = page.locator("#viewer-stage").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    page.mouse.up()
    assert abs(float(divider.input_value()) - 50) <= 1
    assert page.locator("#sample-0 figure a").first.get_attribute("href").startswith("../../bench/")


def test_difference_and_blink(visit, report):
    page = visit(report, reduced_motion="reduce")
    opened(page)
    page.keyboard.press("d")
    assert pixel(page) == (110, 50, 50)  # |90 - 200|, |90 - 40|
    assert pixel(page, 0.5, 0.4) == (0, 0, 0)  # white in both
    page.get_by_label("Amplified").select_option("4")
    assert pixel(page) == (255, 200, 200)
    page.keyboard.press("b")
    assert not page.get_by_label("by itself").is_checked()  # motion is not wanted
    assert pixel(page) == GREY
    page.wait_for_timeout(800)
    assert pixel(page) == GREY
    page.locator("#viewer-title").focus()
    page.keyboard.press("Space")
    assert pixel(page) == (200, 40, 40)
    page.get_by_label("by itself").check()
    assert comes(page, lambda: pixel(page) == GREY)


def test_the_viewer_by_keyboard_alone(visit, report):
    page = visit(report)
    page.locator("#sample-1 figure a").nth(1).focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="scene-0001")
    dialog.wait_for()
    assert page.locator("#viewer-place").text_content() == "2 of 12"
    assert "Paint house number 1 blue" in page.locator("#viewer-words").text_content()
    assert "The roof of number 1" in page.locator("#viewer-words").text_content()
    page.keyboard.press("ArrowRight")
    page.get_by_role("dialog", name="scene-0002").wait_for()
    assert page.evaluate("location.hash") == "#sample-2"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # there is none before the first
    page.get_by_role("dialog", name="scene-0000").wait_for()
    page.keyboard.press("i")
    assert page.locator("#viewer-stage .pane").count() == 2
    for key in "++":
        page.keyboard.press(key)
    assert page.locator("#viewer-zoom").text_content() == "196 %"
    moves = page.locator("#viewer-stage img").evaluate_all(
        "all => all.map(one => getComputedStyle(one).transform)"
    )
    assert len(set(moves)) == 1  # in step
    assert moves[0] != "none"
    page.keyboard.press("0")
    assert page.locator("#viewer-zoom").text_content() == "100 %"
    assert not page.locator("#viewer-keys").is_visible()
    page.keyboard.press("?")
    assert page.locator("#viewer-keys").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#viewer[open]").count() == 0
    assert page.evaluate("document.activeElement.closest('li').id") == "sample-0"


def test_the_viewer_walks_through_what_is_shown_also_where_there_is_no_edit(visit, report):
    page = visit(report, "#tag.category=add&sort=high-0")
    assert shows(page, [2, 8, 11, 5], "4 of 12 samples")
    opened(page, 11)
    page.keyboard.press("ArrowRight")
    page.get_by_role("dialog", name="scene-0005").wait_for()
    assert page.locator("#viewer-after").is_disabled()
    assert "no image" in page.locator("#viewer-stage").text_content()
    assert "the host died" in page.locator("#viewer-words").text_content()


def test_wheel_drag_and_double_click(visit, report):
    page = visit(report)
    opened(page)
    page.keyboard.press("i")
    pane = page.locator("#viewer-stage .pane").first.bounding_box()
    x, y = pane["x"] + pane["width"] / 4, pane["y"] + pane["height"] / 4
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    assert comes(page, lambda: int(page.locator("#viewer-zoom").text_content().split()[0]) > 200)
    style = "getComputedStyle(document.getElementById('viewer-stage')).getPropertyValue('--x')"
    before = float(page.evaluate(style).rstrip("%"))
    page.mouse.down()
    page.mouse.move(x - pane["width"] / 10, y, steps=4)
    page.mouse.up()
    assert float(page.evaluate(style).rstrip("%")) == pytest.approx(before - 10, abs=0.6)
    page.mouse.dblclick(x, y)
    assert page.locator("#viewer-zoom").text_content() == "100 %"


def test_the_folder_alone_shows_thumbnails(visit, report, tmp_path):
    alone = Path(shutil.copytree(report.parent, tmp_path / "alone"))
    page = visit(alone / "index.html")
    assert (
        page.locator("#sample-0 img").first.evaluate("async one => (await one.decode(), one.naturalWidth)")
        == 32
    )
    page.locator("#sample-0 figure a").nth(1).click()
    page.locator("#viewer-said", has_text="its thumbnail").wait_for()
    assert page.locator("#viewer-stage .right img").evaluate("one => one.naturalWidth") == 32


def test_without_a_script_everything_can_be_read(visit, report):
    page = visit(report, java_script_enabled=False)
    assert not page.locator("#tools").is_visible()
    assert not page.locator("#viewer").is_visible()
    assert page.locator("#cards > li").count() == 12
    for text in ("7.930", "Paint house number 4 blue", "The roof of number 4 is blue too."):
        assert (
            text in page.locator("body").text_content()
        )  # `inner_text` leaves out what is far below the window
    page.locator("#sample-0 figure a").nth(1).click()
    assert page.url.endswith(f"images/00/{'00' * 32}.png")


@pytest.mark.parametrize("width", [375, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window_and_text_can_be_read(visit, report, width, scheme):
    page = visit(report, width=width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 22, 21)"
    assert dark == (scheme == "dark")
    opened(page)
    for key in "sibd?":
        page.keyboard.press(key)
        assert page.locator("#viewer").evaluate("one => one.scrollWidth") == width
    pale = page.evaluate(CONTRASTS)
    assert [one for one in pale if one[1] < 4.5] == []
    page.keyboard.press("Escape")
    assert [one for one in page.evaluate(CONTRASTS) if one[1] < 4.5] == []


CONTRASTS = """() => {
  // Contrast (WCAG 2.2) of every text on the nearest background that is not see-through.
  const shares = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => { const [r, g, b] = shares(colour).map((one) => { const s = one / 255; return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const under = (one) => { for (; one; one = one.parentElement) { const c = getComputedStyle(one).backgroundColor; if ((shares(c)[3] ?? 1) === 1) return c; } return "rgb(255, 255, 255)"; };
  const root = document.querySelector("dialog[open]") ?? document.querySelector("main");
  const seen = new Map();
  for (const one of root.querySelectorAll("p, dt, dd, a, h2, h3, td, th, label, figcaption, span, b, button:not(:disabled)")) {
    if (!one.checkVisibility() || ![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || one.closest(".name, select, .divider")) continue;
    const a = light(getComputedStyle(one).color), b = light(under(one));
    seen.set(`${one.tagName}.${one.className}`, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return [...seen];
}"""


def test_hostile_text_is_text_and_none_of_it_runs(visit, tmp_path):
    evil = [
        HOSTILE,
        "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>",
        "' onmouseover=alert(1) data-x='\"><svg onload=alert(1)>",
        "javascript:alert(1)//]]>--></style></script><script>alert(1)</script>",
    ]
    rows = []
    for index, text in enumerate(evil):
        sample = Sample(f"{index} {text}", text, ("/no/such.png",), text, {"category": text, text: text})
        rows.append(row(index, scored(5.0 + index, text), sample=sample, flags=(text,)))
    draw(tmp_path, rows, (1, 2, 3))
    page = visit(html_report(tmp_path, summary(run=evil[1], editor=evil[2]), rows, opinions={}))
    assert shows(page, [0, 1, 2, 3], "All 4 samples")
    assert page.locator("script").count() == 1
    assert page.locator("#samples svg, #cards svg, #cards script").count() == 0
    assert evil[1] in page.locator("#sample-1 .instruction").text_content()
    assert evil[1] in page.get_by_label("category").inner_text()
    page.get_by_label("category").select_option(evil[2])
    assert shows(page, [2], "1 of 4 samples")
    page.get_by_role("button", name="Show all").click()
    page.get_by_label("Text").fill("<img src=x")
    assert shows(page, [1], "1 of 4 samples")
    page.locator("#sample-1 figure a").nth(1).click()
    assert evil[1] in page.locator("#viewer-title").text_content()
    assert evil[1] in page.locator("#viewer-words").inner_text()
    assert page.locator("#viewer script, #viewer img[src$='/x']").count() == 0
    assert "owned" not in page.title().split("<")[0]
    again = visit(
        tmp_path / "report" / "index.html", "#q=%3Cimg%20src%3Dx&tag.category=%22%3E%3Cscript%3Ealert(1)"
    )
    assert shows(again, [1], "1 of 4 samples")


def test_a_strangers_script_in_the_page_does_not_run(visit, report, tmp_path):
    text = report.read_text(encoding="utf-8")
    changed = tmp_path / "index.html"
    changed.write_text(
        text.replace("</body>", "<script>document.title = 'owned'</script></body>"), encoding="utf-8"
    )
    page = visit(changed, refusals=True)
    assert page.title() == "demo · edit-eval"
    assert shows(page, list(range(12)), "All 12 samples")
