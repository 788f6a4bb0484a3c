"""The permanent lines of a run: one for every scored sample, the average of every group, what went wrong.

Turns events into lines of text for any display. Knows no terminal but for how many columns a line may have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from edit_eval.core.types import Verdict
from edit_eval.driver.events import (
    DeviceState,
    EditFailed,
    EditFinished,
    Event,
    Note,
    RunStarted,
    StageFinished,
    StageName,
    StageStarted,
    Unloaded,
    VerdictGiven,
)
from edit_eval.views.board import Scores
from edit_eval.views.text import clean, kinds, number, ranges

__all__ = ["RESPONSE", "Line", "PermanentLines", "Tone", "stage_noun"]

Tone = Literal["plain", "score", "strong", "warning", "error", "quiet"]

RESPONSE = " | Response: "
_RESPONSE_CHARACTERS = 60
_WORK: dict[StageName, str] = {"edit": "editing", "judge": "scoring"}


@dataclass(frozen=True)
class Line:
    """One line that stays, and how loud it is."""

    text: str
    tone: Tone = "plain"


def stage_noun(stage: str | None) -> str:
    """Return who works in `stage`: the editor or the judge."""
    return {"edit": "editor", "judge": "judge"}.get(stage or "", "host")


class PermanentLines:
    """Yields the lines that an event adds to the record on the screen; call `rest` once at the end."""

    def __init__(self) -> None:
        self._judge = "Judge"
        self._batch_size = 1
        self._batches = 0
        self._group: list[VerdictGiven] = []
        self._scores = Scores()
        self._again = 0
        self._edits_failed = 0
        self._lost = 0
        self._stage: StageStarted | None = None
        self._begun = False
        self._troubles: dict[str, tuple[str, str]] = {}

    def __call__(self, event: Event) -> Iterator[Line]:
        """Yield what `event` adds."""
        match event:
            case RunStarted():
                self._judge = clean(event.judge or "Judge")
                self._batch_size = max(1, event.batch_size)
            case StageStarted(stage="judge"):
                self._stage = event
            case VerdictGiven():
                yield from self._start()
                yield from self._verdict(event)
            case StageFinished(stage="judge"):
                yield from self._complete()
            case EditFailed():
                yield self._lost_edit(event)
            case EditFinished(flags=flags) if flags:
                yield Line(f"  [Sample {event.index:>3}] Edit flagged: {clean(', '.join(flags))}", "warning")
            case DeviceState():
                yield from self._device(event)
            case Unloaded():
                devices = f"{len(event.devices)} device{'' if len(event.devices) == 1 else 's'}"
                text = f"[Unload] {devices} ended {_WORK[event.stage]} in {event.seconds:.2f} s"
                yield Line(text, "quiet")
            case Note(level="warning"):
                yield Line(f"[Warning] {clean(event.text)}", "warning")
            case Note():
                yield Line(f"[Note] {clean(event.text)}", "quiet")
            case _:
                pass

    @property
    def group_is_open(self) -> bool:
        """Whether verdicts wait for their group's average."""
        return bool(self._group)

    def rest(self) -> Iterator[Line]:
        """Yield the line of a group that was not full when the run ended."""
        if self._group:
            yield self._close_group()

    def _start(self) -> Iterator[Line]:
        """Yield the opening lines, once: when the first judge is ready, which may be long after its stage began."""
        if self._begun or self._stage is None:
            return
        self._begun = True
        images = max(0, self._stage.total - self._stage.done - self._lost)
        yield Line(
            f"[{self._judge} Scoring] Starting batch scoring for {images} images{self._earlier()}", "strong"
        )
        yield Line(f"  Batch size: {self._batch_size}")

    def _lost_edit(self, event: EditFailed) -> Line:
        self._edits_failed += 1
        self._lost += self._stage is not None
        reason = clean(event.reason)
        tail = f" | {reason}" if reason else ""
        return Line(f"  [Sample {event.index:>3}] Edit failed ({event.kind}){tail}", "error")

    def _device(self, event: DeviceState) -> Iterator[Line]:
        """Yield a line where a host was lost or a device given up; the same reason again says nothing new."""
        device, news = clean(event.device), (event.state, event.detail)
        if event.state == "ready":
            self._troubles.pop(event.device, None)
            if event.stage == "judge":
                yield from self._start()
        elif event.state in {"restarting", "retired"} and self._troubles.get(event.device) != news:
            self._troubles[event.device] = news
            if event.state == "restarting":
                text = f"[{device}] Restarting the {stage_noun(event.stage)}{_why(event.detail)}"
                yield Line(text, "warning")
            else:
                yield Line(
                    f"[{device}] Retired from {_WORK[event.stage or 'edit']}{_why(event.detail)}", "error"
                )

    def _earlier(self) -> str:
        before = self._stage.done if self._stage else 0
        return f" ({before} more were scored before)" if before else ""

    def _verdict(self, event: VerdictGiven) -> Iterator[Line]:
        if event.again:
            self._again += 1
            yield replace(_sample_line(event, "Again"), tone="quiet")
            return
        self._scores.add(event)
        self._group.append(event)
        yield _sample_line(event)
        if len(self._group) >= self._batch_size:
            yield self._close_group()

    def _close_group(self) -> Line:
        group, self._group = self._group, []
        self._batches += 1
        scored = [one.verdict.overall for one in group if one.verdict.overall is not None]
        average = sum(scored) / len(scored) if scored else None
        missing = len(group) - len(scored)
        unscored = f" ({missing} unscored)" if missing else ""
        indices = ranges(one.index for one in group)
        return Line(
            f"[Batch {self._batches}] Images {indices} done, avg_score={number(average)}{unscored}", "quiet"
        )

    def _complete(self) -> Iterator[Line]:
        yield from self.rest()
        scores = self._scores
        unscored = sum(scores.unscored.values())
        if not self._begun:
            return
        yield Line(f"[{self._judge} Scoring] Completed!", "strong")
        yield Line(f"  Total images: {scores.count + unscored}{self._earlier()}")
        yield Line(f"  Average score: {number(scores.mean)}")
        yield Line(f"  Min score: {number(scores.minimum)}")
        yield Line(f"  Max score: {number(scores.maximum)}")
        yield Line(f"  Unscored: {kinds(scores.unscored)}", "warning" if unscored else "plain")
        if self._again:
            yield Line(f"  Judged a second time: {self._again}")
        if self._edits_failed:
            yield Line(f"  Without an edit: {self._edits_failed}", "warning")


def _sample_line(event: VerdictGiven, label: str = "Score") -> Line:
    verdict = event.verdict
    response = _response(verdict)
    tail = RESPONSE + response if response else ""
    head = f"  [Sample {event.index:>3}]"
    if verdict.overall is None:
        return Line(f"{head} Unscored ({verdict.unscored}){tail}", "warning")
    return Line(f"{head} {label}: {verdict.overall:.2f}{tail}", "score")


def _response(verdict: Verdict) -> str:
    """Return the judge's first reason, or what it wrote, as one short line."""
    reasons = [reason for reason in (clean(one) for one in verdict.reasons.values()) if reason]
    text = reasons[0] if reasons else clean(verdict.reply)
    if len(text) <= _RESPONSE_CHARACTERS:
        return text
    return text[: _RESPONSE_CHARACTERS - 3].rstrip() + "..."


def _why(detail: str) -> str:
    why = clean(detail)
    return f": {why}" if why else ""
