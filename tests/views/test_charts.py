"""Charts as geometry, and as the macros draw them."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.driver.distributions import distribution, distributions_alike
from edit_eval.views.axes import nice_step
from edit_eval.views.charts import Change, Point, differences, forest
from edit_eval.views.histograms import bars, histogram
from edit_eval.views.templating import _environment

HOSTILE = "</svg></script><b onclick=x>{{ 7 * 7 }} & \u202e \"'" + "x" * 20_000


def drawn(macro: str, chart: object) -> str:
    source = "{% from 'charts.html' import " + macro + " %}{{ " + macro + "(chart) }}"
    return _environment().from_string(source).render(chart=chart)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_point_stands_where_its_value_is_and_its_interval_around_it():
    chart = forest("By x", "x", [("a", [Point(6.0, 5.0, 7.0, 9)])], overall=[5.5], within=(0, 10))
    [line] = chart.rows[0].lines
    assert (chart.axis.low, chart.axis.high) == (5.0, 7.0)
    assert (line.mark.low, line.mark.at, line.mark.high) == (0.0, 50.0, 100.0)
    assert chart.references[0].at == 25.0
    assert line.cells == ("6.000", "5.000 to 7.000", "9")
    assert chart.columns == ("mean", "95 % interval", "n")
    assert not chart.several


def test_what_is_not_known_has_no_mark_and_no_interval():
    chart = forest("t", "x", [("one", [Point(6.0, None, None, 1)]), ("none", [Point(None)])])
    one, none = (row.lines[0] for row in chart.rows)
    assert (one.mark.low, one.mark.high) == (None, None)
    assert one.cells == ("6.000", "–", "1")
    assert none.mark is None
    assert none.cells == ("–", "–", "0")
    assert 'class="dot hollow"' in drawn("forest", chart)


def test_runs_stand_line_by_line_with_their_names():
    rows = [("a", [Point(6.0, 5, 7, 9), Point(8.0, 7.5, 8.5, 9)]), ("b", [Point(5.0, 4, 6, 9), Point(None)])]
    chart = forest("t", "x", rows, overall=[5.5, None], series=["run A", "run B"])
    assert [[line.name for line in row.lines] for row in chart.rows] == [["run A", "run B"]] * 2
    assert [one.label for one in chart.references] == ["run A: overall 5.500"]
    text = drawn("forest", chart)
    assert text.count('rowspan="2"') == 2
    Tags(text)
    with pytest.raises(ValueError, match="at most 6 runs"):
        forest("t", "x", [], series=list("abcdefg"))


def test_differences_stand_around_nought():
    chart = differences("t", "x", [Change("a", Point(-0.5, -1.0, 0.1, 20), 0.0004)], corrected="Holm")
    assert (chart.axis.low, chart.axis.high) == (-1.0, 1.0)
    assert chart.references[0].at == 50.0
    [line] = chart.rows[0].lines
    assert line.mark.at == 25.0
    assert line.cells == ("\u22120.500", "\u22121.000 to +0.100", "20", "< 0.001")
    assert chart.columns[-1] == "p (Holm)"
    assert differences("t", "x", []).rows == ()


def test_a_histogram_counts_and_the_unscored_stand_beside():
    chart = histogram("t", [("", distribution([1, 2, 2, 5], 1, 5, missing=4))])
    assert [one.label for one in chart.columns] == ["1", "2", "", "", "1"]
    assert chart.columns[1].height == 60.0  # of 120, where 4 have no score
    assert chart.columns[2].height == 0.0
    assert chart.missing.label == "4"
    assert chart.missing.x > chart.columns[-1].x + chart.columns[-1].width
    assert chart.said == "1: 1, 2: 2, 3: 0, 4: 0, 5: 1; without a score: 4"
    assert histogram("t", [("", distribution([3], 1, 5))]).missing is None


def test_runs_share_a_histogram_as_outlines_of_shares():
    found = distributions_alike([([1, 2], 0), ([2, 2, 2, 2], 1)], 1, 5)
    chart = histogram("t", list(zip("AB", found, strict=True)))
    assert not chart.columns
    assert [one.series for one in chart.outlines] == [1, 2]
    assert chart.outlines[1].points.split()[3] == "200.0,20.0"
    assert chart.series == ("A", "B: 4 scores, 1 without")
    with pytest.raises(ValueError, match="same bins"):
        histogram("t", [("A", found[0]), ("B", distribution([1.5], 1, 5))])


def test_bars_are_as_long_as_their_counts_and_what_is_not_done_has_none():
    chart = bars(
        "t",
        ("What", "Kind"),
        [("Failed", "crash", 2, "failed"), ("Unscored", "refused", 8, "missing"), ("Not done", "", 900, "")],
    )
    assert [one.width for one in chart.rows] == [25.0, 100.0, 0.0]
    assert drawn("bars", chart).count("<rect") == 2


@pytest.mark.parametrize(
    ("span", "most", "step"), [(10, 5, 2), (1, 5, 0.2), (0.3, 5, 0.1), (7, 5, 2), (100, 10, 10), (4.9, 5, 1)]
)
def test_steps_are_round(span, most, step):
    assert nice_step(span, most) == pytest.approx(step)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 3)), min_size=1, max_size=30))
def test_everything_drawn_lies_within_the_drawing(values):
    points = [Point(value, max(0.0, value - half), min(10.0, value + half), 5) for value, half in values]
    chart = forest("t", "x", [(str(n), [one]) for n, one in enumerate(points)], overall=[5], within=(0, 10))
    for row in chart.rows:
        mark = row.lines[0].mark
        assert 0 <= mark.low <= mark.at <= mark.high <= 100
    places = [one.at for one in chart.axis.ticks]
    assert places == sorted(places)
    assert all(0 <= one <= 100 for one in places)
    assert 1 <= len(places) <= 9
    text = drawn("forest", chart)
    assert not re.search(r"\d\.\d{3,}%", text)


def test_names_are_text_wherever_they_stand():
    plain = forest(
        "t", "x", [("n", [Point(1, 0, 2, 3), Point(2, 1, 3, 3)])], overall=[1, 2], series=["A", "B"]
    )
    hostile = forest(
        HOSTILE,
        HOSTILE,
        [(HOSTILE, [Point(1, 0, 2, 3), Point(2, 1, 3, 3)])],
        overall=[1, 2],
        series=[HOSTILE, HOSTILE],
    )
    assert [tag for tag, _ in Tags(drawn("forest", hostile)).seen] == [
        tag for tag, _ in Tags(drawn("forest", plain)).seen
    ]
    found = [(HOSTILE, distribution([1], 1, 5)), (HOSTILE, distribution([2], 1, 5))]
    Tags(drawn("histogram", histogram(HOSTILE, found)))
    Tags(drawn("bars", bars(HOSTILE, (HOSTILE, HOSTILE), [(HOSTILE, HOSTILE, 1, "failed")])))


def test_every_drawing_says_what_it_is():
    chart = forest("By x", "x", [("a", [Point(6.0, 5.0, 7.0, 9)])])
    for macro, one in (("forest", chart), ("histogram", histogram("t", [("", distribution([1], 1, 5))]))):
        text = drawn(macro, one)
        for part in re.findall(r'<svg role="img"[^>]*>.{0,12}', text, re.DOTALL):
            assert "<title>" in part
        assert "<desc>" in text
