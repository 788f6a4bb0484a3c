"""The overview in a real browser: no page wider than its window, no text too small to read, dark as well as light."""

from __future__ import annotations

import pytest

from edit_eval.driver.distributions import distribution
from edit_eval.driver.provenance import Provenance
from edit_eval.driver.timeline import timelines
from edit_eval.driver.usage import usage_of
from edit_eval.views.overview import Background
from edit_eval.views.report import html_report
from edit_eval.views.timeline_chart import timeline_of
from views.samples import EMPTY, HOSTILE, estimate, partial, row
from views.test_overview import telemetry

LOOK = """() => {
  const seen = [...document.querySelectorAll('svg text')].filter(one => one.getClientRects().length);
  const plots = [...document.querySelectorAll('.forest tbody td.plot')].map(one => one.getBoundingClientRect());
  return {
    width: document.documentElement.scrollWidth,
    sizes: [...new Set(seen.map(one => parseFloat(getComputedStyle(one).fontSize)))],
    outside: seen.filter(one => { const box = one.getBoundingClientRect();
      return box.left < 0 || box.right > innerWidth }).length,
    narrowest: Math.min(...plots.map(one => one.width)),
    names: Math.min(...[...document.querySelectorAll('.forest tbody th')].map(one => one.getBoundingClientRect().width)),
    bar: getComputedStyle(document.querySelector('.histogram rect')).fill,
    panel: getComputedStyle(document.querySelector('.panel')).backgroundColor,
  };
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    names = ["背景替换与场景风格的整体变化", "a" * 200, "some longer name of a group of samples", HOSTILE]
    groups = {name: estimate(5 + n / 10) for n, name in enumerate(names + [f"group {n}" for n in range(26)])}
    tags = {
        "category": {**groups, "one": estimate(6.0, 1, None), "none": EMPTY},
        "x" * 300: {"en": estimate(7)},
    }
    starts = timelines(telemetry(6))
    changes = {
        "tags": tags,
        "tag_coverage": {"category": dict.fromkeys(tags["category"], 0.5)},
        "protocol": "gedit/v1+" + "+".join(["own-prompts", "judge-" + "Q" * 200]),
        "distribution": distribution([1.5, 2.5], 0, 10, 1),
    }
    whole = partial()
    for name, value in changes.items():
        object.__setattr__(whole, name, value)
    background = Background(timeline_of(starts), Provenance({"hash": "ab" * 200}, "edit-eval run x", "a: 1"))
    path = html_report(tmp_path_factory.mktemp("run"), whole, [row(0)], usage_of(starts), "", background)
    return path.as_uri()


@pytest.mark.parametrize("width", [375, 800, 1600])
def test_it_fits_and_can_be_read(browser, address, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true })")
    found = page.evaluate(LOOK)
    context.close()
    assert found["width"] <= width
    assert min(found["sizes"]) >= 11
    assert found["outside"] == 0
    assert found["narrowest"] >= 120
    assert found["names"] >= 100
    assert all(one.startswith("file:") for one in asked)


def test_charts_stand_out_from_light_and_dark_paper(browser, address):
    found = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(address)
        found[scheme] = page.evaluate(LOOK)
        context.close()
        assert contrast(found[scheme]["bar"], found[scheme]["panel"]) >= 3
    assert found["light"]["bar"] != found["dark"]["bar"]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours (WCAG 2.2, relative luminance)."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(",")]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
