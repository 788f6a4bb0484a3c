"""The timeline of every device: what it shows, how it is merged, and that it stays small."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.driver.timeline import Lane, Segment, Series, Start
from edit_eval.views.templating import _environment
from edit_eval.views.timeline_chart import MOST_BYTES, TONES, Timeline, time_text, timeline_of
from edit_eval.worker.readings import GPU_COLUMNS

STATES = {"edit": "working", "judge": "working", "load": "loading", "wait": "waiting", "other": "stopping"}


def start(number: int, wall: float, lanes: dict[str, list[tuple[float, str]]]) -> Start:
    """Return a start whose devices do one thing after another, each for so many seconds."""
    made = Start(number, 0.0, wall)
    for device, segments in lanes.items():
        lane = Lane(device, "cuda", (f"id {device}",), ("edit", "judge"))
        at = 0.0
        for seconds, doing in segments:
            state = STATES.get(doing, doing)
            kind = doing if doing in STATES else "other" if doing == "restarting" else "wait"
            lane.segments.append(Segment(at, at + seconds, kind, "edit", state))
            at += seconds
        made.lanes[device] = lane
    return made


def stretches(chart: Timeline, lane: int = 0) -> list[tuple[int, int, str]]:
    """Return what a lane shows, as (first column, columns, tone), from left to right."""
    found = []
    for strip in chart.lanes[lane].strips:
        at = 0
        for x, count in re.findall(r"[Mm](-?\d+) \d+h(\d+)", strip.path):
            found.append((at + int(x), int(count), strip.tone))
            at += int(x) + int(count)
    return sorted(found)


def draw(chart: Timeline) -> str:
    source = "{% from 'charts.html' import timeline %}{{ timeline(chart) }}"
    return _environment().from_string(source).render(chart=chart)


def test_what_a_device_did_is_in_its_place():
    chart = timeline_of([start(1, 800, {"GPU 0": [(200, "load"), (400, "edit"), (200, "judge")]})])
    assert chart.columns == 800
    assert stretches(chart) == [(0, 200, "load"), (200, 400, "edit"), (600, 200, "judge")]
    assert chart.lanes[0].said == "load 3:20 min, edit 6:40 min, judge 3:20 min"
    assert [tone for tone, *_ in chart.tones] == ["load", "edit", "judge"]
    assert not chart.has_lines


def test_a_loss_is_seen_however_short_and_a_retired_device_too():
    chart = timeline_of(
        [start(1, 80_000, {"GPU 0": [(40_000, "edit"), (2, "restarting"), (39_998, "retired")]})]
    )
    tones = [tone for *_, tone in stretches(chart)]
    assert tones == ["edit", "restarting", "retired"]
    assert stretches(chart)[1][:2] == (400, 1)


def test_starts_lie_one_after_another_with_a_gap():
    one = {"GPU 0": [(60.0, "edit")]}
    chart = timeline_of([start(1, 60, one), start(2, 60, one | {"GPU 1": [(60.0, "judge")]})])
    assert [mark.label for mark in chart.starts] == ["start 1", "start 2"]
    assert chart.starts[0].end < chart.starts[1].begin
    first, second = stretches(chart)
    assert first[0] + first[1] < second[0]
    assert stretches(chart, 1)[0][0] == second[0]  # of the first start there is nothing of it
    assert len([tick for tick in chart.ticks if tick.label == "0"]) == 2


def test_a_run_of_many_starts_or_devices_shows_some_and_says_so():
    starts = [start(number, 10, {"GPU 0": [(10, "edit")]}) for number in range(1, 101)]
    chart = timeline_of(starts)
    assert chart.note == "Shown are the last 24 of 100 starts."
    assert len(draw(chart)) < MOST_BYTES
    chart = timeline_of([start(1, 10, {f"CPU {n}": [(10, "edit")] for n in range(200)})])
    assert chart.note == "Shown are the first 64 of 200 devices."


@pytest.mark.parametrize(("devices", "segments"), [(6, 6_000), (64, 800)])
def test_however_much_happened_the_drawing_stays_small(devices, segments):
    doing = list(STATES)
    lane = [(0.05 + 0.9 * (k * 7919 % 97) / 97, doing[k * k % 5]) for k in range(segments)]
    wall = sum(seconds for seconds, _ in lane)
    made = start(1, wall, {f"GPU {n}": lane for n in range(devices)})
    for one in made.lanes.values():
        series = Series(len(GPU_COLUMNS))
        for second in range(int(wall)):
            series.add(float(second), second, [second * 37 % 101, 1, 1, 1, 1, 0])
        made.gpus[one.gpus[0]] = series
    text = draw(timeline_of([made]))
    assert len(text) < MOST_BYTES
    assert draw(timeline_of([made])) == text


def test_utilisation_is_a_line_where_it_is_known():
    made = start(1, 100, {"GPU 0": [(100, "edit")]})
    series = Series(len(GPU_COLUMNS))
    for second in range(100):
        share = None if 30 <= second < 60 else 100.0 if second < 50 else 0.0
        series.add(float(second), second, [share, 1, 1, 1, 1, 0])
    made.gpus["id GPU 0"] = series
    chart = timeline_of([made])
    assert chart.has_lines
    before, after = chart.lanes[0].lines
    assert {point.split(",")[1] for point in before.split()} == {"1"}
    assert {point.split(",")[1] for point in after.split()} == {"11"}


def test_nothing_known_is_no_timeline():
    assert timeline_of([]) is None
    assert timeline_of([start(1, 0, {"GPU 0": []})]) is None
    assert timeline_of([start(1, 5, {})]) is None


@given(
    st.lists(
        st.tuples(st.floats(0.001, 500), st.sampled_from([*STATES, "restarting", "retired"])), min_size=1
    )
)
def test_a_strip_has_no_hole_and_no_overlap(segments):
    wall = sum(seconds for seconds, _ in segments)
    chart = timeline_of([start(1, wall, {"GPU 0": segments})])
    found = stretches(chart)
    assert found[0][0] == 0
    assert all(at + count == after for (at, count, _), (after, *_) in pairwise(found))
    assert found[-1][0] + found[-1][1] == chart.columns
    assert {tone for *_, tone in found} <= set(TONES)
    places = [tick.at for tick in chart.ticks]
    assert all(b - a >= 6 for a, b in pairwise(places))


@pytest.mark.parametrize(
    ("seconds", "step", "text"),
    [
        (0, 0, "0"),
        (0.4, 0.2, "0.4 s"),
        (4.5, 0, "4.5 s"),
        (45, 15, "45 s"),
        (90, 30, "1:30 min"),
        (720, 0, "12 min"),
        (3600, 0, "1 h"),
        (5400, 0, "1 h 30"),
        (59.8, 0, "60 s"),
        (3599.9, 0, "1 h"),
        (86_400 * 2 + 3600 * 6, 0, "2 d 6 h"),
    ],
)
def test_times_are_said_as_one_would(seconds, step, text):
    assert time_text(seconds, step) == text


def test_device_names_are_text():
    text = draw(timeline_of([start(1, 5, {"</svg><b>\u202e": [(5, "edit")]})]))
    assert "<b>" not in text
    assert "&lt;/svg&gt;" in text


@pytest.mark.parametrize("others", [(), (60.0,), (1.0,) * 20])
@pytest.mark.parametrize("wall", [0.001, 59.0, 86_400.0 * 400, 3.1e9, 3.2e9, 1e15, 1e300, float("inf")])
def test_whatever_a_start_took_its_axis_is_short(wall, others):
    """A damaged line may say that a start began before there were computers."""
    chart = timeline_of(
        [start(n, seconds, {"GPU 0": [(seconds, "edit")]}) for n, seconds in enumerate((wall, *others))]
    )
    assert (chart is None) == (wall > 3.1e9 and not others)
    if chart is not None:
        assert 0 < len(chart.ticks) < 40
        assert len(draw(chart)) < MOST_BYTES
