"""The display for files and pipes: plain lines, no control character, each flushed at once.

A line for every finished edit and every verdict, for what happens to devices, and for the progress of a stage at about
every tenth of it. Every 30 seconds a heartbeat: what each device does, how far the stages are and how long they will
take, the scores so far. Knows no terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Self, TextIO

from edit_eval.driver.events import (
    DeviceState,
    EditFailed,
    EditFinished,
    Event,
    RunStarted,
    StageFinished,
    StageName,
    StageStarted,
    VerdictGiven,
)
from edit_eval.views.board import Board, StageBoard
from edit_eval.views.frame import told
from edit_eval.views.lines import PermanentLines, stage_noun
from edit_eval.views.outlet import Outlet
from edit_eval.views.text import clean, clock, fit

__all__ = ["PlainDisplay"]

_HEARTBEAT_S = 30.0
_BAR_COLUMNS = 10
_NAME_COLUMNS = 80
_PARTS = 10
"""The progress of a stage is written at most this often."""
_STAGE_TITLES: dict[StageName, str] = {"edit": "Editing images", "judge": "Scoring"}


class PlainDisplay:
    """Writes lines.

    Args:
        stream: a file or a pipe.
        clock: seconds that only grow.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beaten = self._heard = clock()
        self._outlet = Outlet(stream)
        self._board = Board()
        self._permanent = PermanentLines()
        self._parts: dict[StageName, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._permanent.rest():
            self._outlet.line(line.text)

    def tick(self) -> None:
        """Write a heartbeat if the last one is old enough."""
        clock_s = self._clock()
        if self._board.run is None or clock_s - self._beaten < _HEARTBEAT_S:
            return
        self._beaten = clock_s
        now = self._board.at + clock_s - self._heard
        self._outlet.line(f"[Heartbeat] {clock(now)} since the start")
        for text in told(self._board, now, self._outlet.ink):
            self._outlet.line(f"  {text}")

    def __call__(self, event: Event) -> None:
        """Write what `event` adds."""
        self._heard = self._clock()
        self._board.observe(event)
        for text in self._before(event):
            self._outlet.line(text)
        for line in self._permanent(event):
            self._outlet.line(line.text)
        for text in self._after(event):
            self._outlet.line(text)

    def _before(self, event: Event) -> Iterator[str]:
        """Yield the lines that come before the permanent ones of the same event."""
        match event:
            case RunStarted():
                yield from _run_lines(event)
            case DeviceState():
                yield from self._device_lines(event)
            case EditFinished():
                yield self._edit_line(event)
            case StageFinished():
                yield from self._progress(event.stage, last=True)
            case _:
                pass

    def _after(self, event: Event) -> Iterator[str]:
        """Yield the lines that come after the permanent ones of the same event.

        The progress of scoring comes after a group's average only, so that a group stays together.
        """
        match event:
            case StageStarted(done=done, stage=stage) if done:
                yield from self._progress(stage)
            case EditFinished() | EditFailed():
                yield from self._progress("edit")
            case VerdictGiven() if not self._permanent.group_is_open:
                yield from self._progress("judge")
            case _:
                pass

    def _edit_line(self, event: EditFinished) -> str:
        device, sample = (
            clean(event.device),
            fit(clean(event.sample_id), _NAME_COLUMNS, self._outlet.ink.ellipsis),
        )
        if event.steps <= 0:
            return f"[{device}] Edited {sample} in {event.seconds:.1f} s"
        bar = self._outlet.ink.bar(1, 1, _BAR_COLUMNS)
        steps = f"{event.steps}/{event.steps}"
        return f"[{device}] Denoising: 100%|{bar}| {steps} [{clock(event.seconds)}<00:00] {sample}"

    def _device_lines(self, event: DeviceState) -> Iterator[str]:
        device, noun = clean(event.device), stage_noun(event.stage)
        if event.state == "loading":
            yield f"[{device}] Loading the {noun}"
        elif event.state == "ready":
            asked = self._board.device(event.device).asked
            took = clean(event.detail) or ("" if asked is None else f"after {event.at - asked:.1f} s")
            yield f"[{device}] The {noun} is ready" + (f" ({took})" if took else "")

    def _progress(self, stage: StageName, *, last: bool = False) -> Iterator[str]:
        """Yield the progress of `stage` where it has entered another tenth, or at its end."""
        board = self._board.stages.get(stage)
        if board is None or not board.total:
            return
        part = board.done * _PARTS // board.reachable if board.reachable else _PARTS
        written = self._parts.get(stage, 0)
        if part > written or (last and written < _PARTS):
            self._parts[stage] = _PARTS if last else part
            yield self._progress_line(stage, board)

    def _progress_line(self, stage: StageName, board: StageBoard) -> str:
        total = board.reachable
        percent = board.done * 100 // total if total else 100
        bar = self._outlet.ink.bar(board.done, total, _BAR_COLUMNS)
        elapsed = clock(board.elapsed(self._board.at))
        left = clock(self._board.left(stage, self._board.at))
        return f"[SYNC] {_STAGE_TITLES[stage]}: {percent:>3}%|{bar}| {board.done}/{total} [{elapsed}<{left}]"


def _run_lines(event: RunStarted) -> Iterator[str]:
    yield f"[Run] {event.samples} images to {clean(event.output)}"
    people = {"edit": ("Editor", event.editor), "judge": ("Judge", event.judge)}
    for stage, labels in event.devices.items():
        title, name = people[stage]
        if labels and name is not None:
            yield f"  {title}: {clean(name)} on {', '.join(clean(label) for label in labels)}"
