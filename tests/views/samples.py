"""A small run for the tests of views: events, rows and a summary. No file, no clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from edit_eval.core.types import Sample, Verdict
from edit_eval.driver.events import (
    DeviceState,
    EditFailed,
    EditFinished,
    Event,
    Note,
    RunStarted,
    StageFinished,
    StageStarted,
    StepProgress,
    Unloaded,
    VerdictGiven,
)
from edit_eval.driver.summary import Estimate, Row, Summary

HOSTILE = (
    "</script><b>x</b> {{ 7 * 7 }} [bold]loud[/bold] \x1b[31m\x07 \u202egnp.exe \ud800 红色的 car\r\nnext"
)
EMPTY = Estimate(0, 0, None, None, None, None, None, None)


def scored(overall: float, reason: str = "The image successfully shows what was asked for.") -> Verdict:
    return Verdict({"quality": overall}, overall, None, {"quality": reason}, reason)


def unscored(reply: str = "I am sorry") -> Verdict:
    return Verdict({}, None, "unparsable", {}, reply)


def run_started(samples: int = 10, devices: int = 2, batch_size: int = 4) -> RunStarted:
    labels = tuple(f"GPU {one}" for one in range(devices))
    return RunStarted(
        0.0, "runs/x", "qwen_image_edit", "Qwen3-VL", samples, {"edit": labels, "judge": labels}, batch_size
    )


def whole_run(samples: int = 10, devices: int = 2, steps: int = 30, text: str = "fine") -> Iterator[Event]:
    """Yield a run in which sample 3 is unscored and sample 5 has no edit."""
    start = run_started(samples, devices)
    labels = start.devices["edit"]
    yield start
    yield StageStarted(0.0, "edit", samples, 0)
    yield StageStarted(0.0, "judge", samples, 0)
    for label in labels:
        yield DeviceState(0.1, label, "edit", "loading")
        yield DeviceState(12.0, label, "edit", "ready")
    at = 12.0
    for index in range(samples):
        label = labels[index % devices]
        for step in range(1, steps + 1):
            at += 0.5
            yield StepProgress(at, label, index, f"scene-{index:04d}", step, steps)
        if index == 5:
            yield EditFailed(at, index, f"scene-{index:04d}", "crash", f"signal 9 {text}")
        else:
            yield EditFinished(at, label, index, f"scene-{index:04d}", steps * 0.5 + 0.4, steps)
    yield StageFinished(at, "edit", at)
    yield Unloaded(at, "edit", labels, 0.05)
    yield Note(at, "warning", f"slow {text}")
    for label in labels:
        yield DeviceState(at, label, "judge", "loading")
        yield DeviceState(at + 9, label, "judge", "ready")
    at += 9
    for index in range(samples):
        if index != 5:
            at += 1.5
            verdict = unscored(text) if index == 3 else scored(6.5 + 0.3 * index, text)
            yield VerdictGiven(at, labels[index % devices], index, f"scene-{index:04d}", verdict)
    yield StageFinished(at, "judge", at)


def estimate(mean: float | None, n: int = 10, half: float | None = 0.5) -> Estimate:
    if mean is None:
        return EMPTY
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return Estimate(n, n, mean, None if half is None else half / 2, low, high, mean - 1, mean + 1)


def summary(**changes: Any) -> Summary:
    whole = Summary(
        run="demo",
        protocol="scenes/v1+reference-v1",
        editor="scripted (careful)",
        judge="reference",
        scale=(0.0, 10.0),
        wanted=10,
        edited=10,
        edit_failed={},
        scored=10,
        unscored={},
        coverage=1.0,
        min_coverage=0.98,
        headline=estimate(7.93),
        bounds=None,
        dimensions={"quality": estimate(8.1)},
        tags={"category": {"color": estimate(7.6, 6), "背景替换": estimate(8.4, 4)}},
        facts={"Seed": "0"},
    )
    return replace(whole, **changes)


def partial() -> Summary:
    return summary(
        edited=9,
        edit_failed={"crash": 1},
        scored=8,
        unscored={"unparsable": 1},
        coverage=0.8,
        headline=estimate(7.93, 8),
        bounds=(6.344, 8.344),
    )


GOOD = scored(8.5)


def row(index: int = 0, verdict: Verdict | None = GOOD, **changes: Any) -> Row:
    key = f"{index:02x}" * 32
    whole = Row(
        index=index,
        sample=Sample(
            f"scene-{index:04d}", "Paint the house blue", ("/data/a b#1.png",), tags={"category": "color"}
        ),
        repeat=0,
        edit_key=key,
        edited=True,
        edit_failure=None,
        edit={"sha256": "ab" * 32, "seconds": 1.25, "device": "cuda:0"},
        image=f"images/{key[:2]}/{key}.png",
        thumbnail=f"thumbs/{key[:2]}/{key}.webp",
        source_thumbnail=f"thumbs/{key[:2]}/{key}-source.webp",
        verdict_key="cd" * 32,
        verdict=verdict,
    )
    return replace(whole, **changes)


def failed_row(index: int, message: str = "the host died") -> Row:
    return replace(
        row(index),
        edited=False,
        edit_failure=("crash", message),
        edit={},
        image=None,
        thumbnail=None,
        verdict=None,
    )
