from __future__ import annotations

import io
import json
import re

import pytest
from rich.cells import cell_len

from edit_eval.driver.events import (
    DeviceState,
    EditFinished,
    Event,
    RunStarted,
    StageStarted,
    StepProgress,
    VerdictGiven,
)
from edit_eval.views.board import Board
from edit_eval.views.frame import draw, told
from edit_eval.views.terminal import NoDisplay, open_display
from edit_eval.views.terminal_json import JsonDisplay
from edit_eval.views.terminal_plain import PlainDisplay
from edit_eval.views.terminal_rich import RichDisplay
from edit_eval.views.text import Ink
from views.contract import check_event
from views.emulator import GlassStream
from views.samples import HOSTILE, run_started, scored, whole_run

ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(Terminal):
    def write(self, text: str) -> int:
        raise BrokenPipeError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def plain(events: object, stream: io.TextIOBase | None = None) -> str:
    stream = stream or io.StringIO()
    with open_display("plain", stream) as display:  # type: ignore[arg-type]
        for event in events:  # type: ignore[attr-defined]
            display(event)
            display.tick()
    return stream.getvalue() if isinstance(stream, io.StringIO) else ""


def rich(events: object, width: int, height: int = 24) -> GlassStream:
    stream, clock = GlassStream(width, height), Clock()
    with RichDisplay(stream, size=stream.size, clock=clock) as display:
        for event in events:  # type: ignore[attr-defined]
            clock.now = event.at
            display(event)
            display.tick()
    return stream


# Which display


def test_a_terminal_gets_the_rich_display_and_everything_else_plain_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(open_display(None, Terminal()), RichDisplay)
    assert isinstance(open_display(None, io.StringIO()), PlainDisplay)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_display(None, Terminal()), PlainDisplay)
    assert isinstance(open_display("json", Terminal()), JsonDisplay)
    assert isinstance(open_display("none", Terminal()), NoDisplay)
    assert isinstance(open_display("rich", io.StringIO()), PlainDisplay), "no escape sequence into a pipe"
    with pytest.raises(ValueError, match="rich, plain, json, none"):
        open_display("fancy", io.StringIO())


def test_no_display_shows_nothing() -> None:
    stream = io.StringIO()
    with open_display("none", stream) as display:
        for event in whole_run():
            display(event)
            display.tick()
    assert stream.getvalue() == ""


@pytest.mark.parametrize("kind", ["rich", "plain", "json"])
def test_a_stream_that_went_away_does_not_stop_the_run(kind: str) -> None:
    with open_display(kind, Gone()) as display:
        for event in whole_run():
            display(event)


# Plain


def test_plain_lines_are_as_the_user_wished() -> None:
    said = plain(whole_run()).splitlines()
    assert "[GPU 0] Loading the editor" in said
    assert "[GPU 0] The editor is ready (after 11.9 s)" in said
    assert "[GPU 0] Denoising: 100%|██████████| 30/30 [00:15<00:00] scene-0000" in said
    assert "[SYNC] Editing images:  30%|███       | 3/10 [00:56<01:23]" in said
    assert "[SYNC] Editing images: 100%|██████████| 10/10 [02:41<00:00]" in said
    assert any(
        re.fullmatch(r"\[SYNC\] Scoring: 100%\|██████████\| 9/9 \[\d\d:\d\d<00:00\]", line) for line in said
    )
    assert said.index("[Qwen3-VL Scoring] Starting batch scoring for 9 images") > said.index(
        "[GPU 0] Loading the judge"
    )


@pytest.mark.parametrize("text", ["fine", HOSTILE])
def test_plain_holds_no_control_character(text: str) -> None:
    said = plain(whole_run(text=text))
    assert not [character for character in said if ord(character) < 0x20 and character != "\n"]
    assert "\x7f" not in said
    assert "\u202e" not in said


def heartbeats(events: object, *, until: float) -> list[list[str]]:
    """Return the heartbeats of a plain display whose clock goes on to `until` after the last event."""
    stream, clock = io.StringIO(), Clock()
    with PlainDisplay(stream, clock=clock) as display:
        for event in events:  # type: ignore[attr-defined]
            clock.now = event.at
            display(event)
        for second in range(int(clock.now), int(until) + 1):
            clock.now = float(second)
            display.tick()
    found: list[list[str]] = []
    for line in stream.getvalue().splitlines():
        if line.startswith("[Heartbeat]"):
            found.append([line])
        elif found:
            found[-1].append(line)
    return found


def test_plain_tells_every_30_seconds_what_goes_on() -> None:
    judged = [StageStarted(12, "judge", 10, 0), VerdictGiven(12, "GPU 0", 0, "a", scored(7.5))]
    beats = heartbeats([*denoising(), *judged], until=95)
    assert [beat[0] for beat in beats] == [
        f"[Heartbeat] {at} since the start" for at in ("00:30", "01:00", "01:30")
    ]
    assert beats[0][1:] == [
        "  [GPU 0] Denoising:  46% 14/30 [00:25<00:00, 2.0 it/s] scene-0004",
        "  [GPU 1] Loading the editor [00:25]",
        "  [SYNC] Editing images:  30%|███       | 3/10 [00:25<00:45]",
        "  [SYNC] Scoring:  10%|█         | 1/10 [00:00<00:45]",
        "  Score 7.500 (n = 1), unscored 0",
    ]


def test_a_heartbeat_of_many_devices_is_a_summary_without_control_characters() -> None:
    beat = heartbeats(whole_run(devices=64, samples=70, text=HOSTILE), until=2000)[-1]
    assert len(beat) < 12
    assert "  [64 of 64] Judging, " in "\n".join(beat)
    assert not [character for line in beat for character in line if ord(character) < 0x20]


def test_plain_says_how_long_an_edit_without_steps_took() -> None:
    assert plain([run_started(), EditFinished(1, "CPU 0", 3, "scene-0003", 0.42, 0)]).splitlines()[-1] == (
        "[CPU 0] Edited scene-0003 in 0.4 s"
    )


def test_plain_shows_progress_about_every_tenth() -> None:
    events: list[Event] = [StageStarted(0, "edit", 1000, 0)]
    events += [EditFinished(index, "GPU 0", index, str(index), 1, 0) for index in range(1000)]
    assert sum("[SYNC]" in line for line in plain(events).splitlines()) == 10


def test_a_stream_that_cannot_show_blocks_gets_signs_that_it_can() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    plain(whole_run(text=HOSTILE), stream)
    said = raw.getvalue().decode("ascii")
    assert "[GPU 0] Denoising: 100%|##########| 30/30 [00:15<00:00] scene-0000" in said


# JSON


def test_json_is_one_documented_object_an_event() -> None:
    stream = io.StringIO()
    with open_display("json", stream) as display:
        for event in whole_run(text=HOSTILE):
            display(event)
    lines = stream.getvalue().splitlines()
    objects = [json.loads(line) for line in lines]
    assert len(objects) == len(list(whole_run()))
    assert objects[0]["event"] == "run_started"
    assert objects[0]["devices"] == {"edit": ["GPU 0", "GPU 1"], "judge": ["GPU 0", "GPU 1"]}
    given = next(one for one in objects if one["event"] == "verdict_given" and one["index"] == 3)
    assert given["verdict"]["unscored"] == "unparsable"
    assert given["verdict"]["overall"] is None
    for one in objects:
        check_event(one)


# Rich


@pytest.mark.parametrize("width", [80, 60, 40])
@pytest.mark.parametrize("text", ["fine " * 40, HOSTILE])
def test_rich_lines_never_exceed_the_terminal(width: int, text: str) -> None:
    said = ESCAPE.sub("", "".join(rich(whole_run(text=text), width).sent)).replace("\r", "\n")
    assert max(cell_len(line) for line in said.splitlines()) <= width
    assert not [character for character in said if ord(character) < 0x20 and character != "\n"]


def test_rich_prints_what_stays_once_and_leaves_the_totals() -> None:
    said = rich(whole_run(), 100).glass.everything
    for line in (
        "  [Sample   0] Score: 6.50 | Response: fine",
        "[Batch 1] Images 0-3 done, avg_score=6.800 (1 unscored)",
        "[Qwen3-VL Scoring] Completed!",
    ):
        assert said.count(line) == 1
    assert said[-3:] == [
        "[SYNC] Editing images: 100%|██████████████████████████████| 10/10 [02:42<00:00]",
        "[SYNC] Scoring:        100%|██████████████████████████████|  9/9  [03:04<00:00]",
        "Score 7.887 ± 0.358 (n = 8), unscored 1 (1 unparsable), no edit 1 (1 crash)",
    ]
    assert not any(line.startswith("[GPU 0] ") for line in said)


def test_the_cursor_comes_back_after_an_exception() -> None:
    stream = GlassStream()

    def interrupted() -> None:
        with RichDisplay(stream, size=stream.size) as display:
            display(run_started())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    said = "".join(stream.sent)
    assert said.count(HIDE) == said.count(SHOW) == 1
    assert said.rindex(SHOW) > said.rindex(HIDE)


def test_rich_draws_at_most_twice_a_second_and_rests_when_nothing_changes() -> None:
    stream, clock = GlassStream(), Clock()
    with RichDisplay(stream, size=stream.size, clock=clock) as display:
        display(run_started())
        display(StageStarted(0, "edit", 100, 0))
        display(DeviceState(0, "GPU 0", "edit", "ready"))
        stream.sent.clear()
        for tick in range(400):
            clock.now = tick / 40
            display(StepProgress(clock.now, "GPU 0", 0, "a", tick + 1, 1000))
            display.tick()
        assert 18 <= len(stream.sent) <= 21
        display(DeviceState(clock.now, "GPU 0", "edit", "off"))
        clock.now += 1
        display.tick()
        stream.sent.clear()
        for _ in range(400):
            clock.now += 1 / 40
            display.tick()
        assert 9 <= len(stream.sent) <= 11, "the clock of the stage runs"
        assert "GPU" not in "".join(stream.sent), "the idle devices are not drawn again"


def test_a_new_size_is_seen_at_once() -> None:
    stream, clock = GlassStream(), Clock()
    with RichDisplay(stream, size=stream.size, clock=clock) as display:
        for event in denoising():
            display(event)
        clock.now = 0.5
        display.tick()
        stream.resize(50, 10)
        clock.now = 0.7
        display.tick()
        assert stream.glass.rows[0] == "[GPU 0] Denoising:  46%|█▊  | 14/30 [00:07<00:07]"


def test_no_colour_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[36m" in "".join(rich(whole_run(), 80).sent)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*m", "".join(rich(whole_run(), 80).sent))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 20)])
def test_eight_devices_fit(size: tuple[int, int]) -> None:
    """At every moment of a run each of eight devices has a line of its own, above the stages and the scores."""
    stream, clock = GlassStream(*size), Clock()
    with RichDisplay(stream, size=stream.size, clock=clock) as display:
        for event in whole_run(samples=24, devices=8, steps=6):
            clock.now = event.at
            display(event)
            if clock.now < 1:
                continue
            rows = stream.glass.rows
            assert [row[:7] for row in rows[-11:-3]] == [f"[GPU {one}]" for one in range(8)]
            assert rows[-3].startswith("[SYNC] Editing images: ")
            assert rows[-2].startswith("[SYNC] Scoring: ")
            assert rows[-1].startswith("Score ")


# The picture


def picture(events: object, columns: int, rows: int = 24, now: float = 12.0) -> list[str]:
    board = Board()
    for event in events:  # type: ignore[attr-defined]
        board.observe(event)
    return ["".join(text for text, _ in line) for line in draw(board, now, columns, rows, Ink())]


def denoising() -> list[Event]:
    events: list[Event] = [run_started(), StageStarted(0, "edit", 10, 3)]
    events += [DeviceState(5, "GPU 0", "edit", "ready"), DeviceState(5, "GPU 1", "edit", "loading")]
    return events + [
        StepProgress(5 + step * 0.5, "GPU 0", 4, "scene-0004", step, 30) for step in range(1, 15)
    ]


def test_a_device_shows_its_steps_and_the_others_their_state() -> None:
    assert picture(denoising(), 65) == [
        "[GPU 0] Denoising:  46%|████▋     | 14/30 [00:07<00:08, 2.0 it/s]",
        "[GPU 1] Loading the editor [00:07]",
        "[SYNC] Editing images:  30%|████▊           |  3/10 [00:07<00:49]",
    ]


def test_a_narrow_terminal_drops_words_before_it_drops_the_bar() -> None:
    assert picture(denoising(), 50)[0] == "[GPU 0] Denoising:  46%|██▎  | 14/30 [00:07<00:08]"
    assert picture(denoising(), 40)[0] == "[GPU 0] Denoising:  46%|████▏    | 14/30"
    assert picture(denoising(), 20)[0] == "[GPU 0] Denoising:…"


@pytest.mark.parametrize("columns", [1, 2, 7, 20, 30, 40, 59, 79, 119])
@pytest.mark.parametrize("devices", [1, 8, 16, 64])
@pytest.mark.parametrize("rows", [2, 5, 24])
def test_pictures_fit_their_columns_and_rows(columns: int, devices: int, rows: int) -> None:
    board = Board()
    for event in whole_run(devices=devices, samples=70, text=HOSTILE):
        board.observe(event)
        if board.at % 5 < 0.3:
            lines = draw(board, board.at, columns, rows, Ink())
            assert len(lines) <= min(22, rows - 1)
            assert max(cell_len("".join(text for text, _ in line)) for line in lines) <= columns


def test_many_devices_collapse_into_a_line_per_state() -> None:
    events: list[Event] = [
        run_started(devices=64),
        DeviceState(1, "GPU 63", "edit", "retired", "3 hosts were lost"),
    ]
    events += [DeviceState(2, f"GPU {index}", "edit", "ready") for index in range(40)]
    events += [DeviceState(2, f"GPU {index}", "edit", "loading") for index in range(40, 63)]
    assert picture(events, 60) == [
        "[40 of 64] Editing: GPU 0-39",
        "[23 of 64] Loading the editor [00:10]: GPU 40-62",
        "[ 1 of 64] Retired: GPU 63",
    ]


def test_long_labels_and_reasons_end_in_an_ellipsis() -> None:
    label = "GPU 0+1+2+3+4+5+6+7"
    line = picture([DeviceState(0, label, "edit", "restarting", "the host ended with signal 9 " * 5)], 60)[0]
    assert line == "[GPU 0+1+2+3+4+5…] Restarting the editor [00:12]: the host…"


def test_many_devices_of_a_cluster_have_a_line_a_node() -> None:
    devices = tuple(f"node-{node}/GPU {number}" for node in range(4) for number in range(8))
    board = Board()
    board.observe(RunStarted(0.0, "runs/x", "editor", None, 100, {"edit": devices}, 1))
    for number, label in enumerate(devices):
        state = "retired" if number == 31 else "loading" if number % 8 > 5 else "ready"
        board.observe(DeviceState(0.0, label, "edit", state))
    assert list(told(board, 10.0, Ink()))[:4] == [
        "[node-0] 6 Editing; 2 Loading the editor [00:10]",
        "[node-1] 6 Editing; 2 Loading the editor [00:10]",
        "[node-2] 6 Editing; 2 Loading the editor [00:10]",
        "[node-3] 6 Editing; 1 Loading the editor [00:10]; 1 Retired",
    ]
    drawn = ["".join(text for text, _ in line) for line in draw(board, 10.0, 40, 24, Ink())]
    assert drawn[0] == "[node-0] 6 Editing; 2 Loading the edito…"
    assert all(len(line) <= 40 for line in drawn)


def test_more_nodes_than_lines_are_counted_over_all_of_them() -> None:
    devices = tuple(f"node-{node}/GPU {number}" for node in range(20) for number in range(2))
    board = Board()
    board.observe(RunStarted(0.0, "runs/x", "editor", None, 100, {"edit": devices}, 1))
    for label in devices:
        board.observe(DeviceState(0.0, label, "edit", "ready"))
    [line] = list(told(board, 10.0, Ink()))[:1]
    assert line.startswith("[40 of 40] Editing: node-0/GPU 0-1, node-1/GPU 0-1, ")
