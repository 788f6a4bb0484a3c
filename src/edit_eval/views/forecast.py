"""What a run would do, in text or as one JSON object. Pure functions of a `Forecast`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from edit_eval.driver.forecast import Forecast, StageForecast
from edit_eval.driver.machine import size_text
from edit_eval.views.text import clean, clock, pad, wrapped

__all__ = ["forecast_json", "forecast_text"]

_COLUMNS = 80
_LABEL_COLUMNS = 10


def forecast_json(found: Forecast) -> dict[str, Any]:
    """Return every field as plain JSON data, sizes in bytes and times in seconds; null is unknown."""
    return {"event": "forecast", **dataclasses.asdict(found)}


def forecast_text(found: Forecast) -> str:
    """Return what a dry run shows, without a final newline."""
    new = "new" if found.is_new else "goes on"
    lines = [
        "Dry run: nothing is started, nothing is written.",
        _line("Output", f"{_near(found.output)} ({new})"),
    ]
    repeats = f" x {found.repeats} repeats" if found.repeats > 1 else ""
    lines.append(_line("Samples", f"{found.samples}{repeats}"))
    for name, stage in (("Edits", found.edit), ("Verdicts", found.judge)):
        if stage:
            lines.append(_line(name, _left(name, stage, found)))
    for name, stage in (("Editor", found.edit), ("Judge", found.judge)):
        if stage:
            lines += _stage(name, stage)
    lines += _time(found)
    disk = f"{size_text(found.disk_bytes)} for the edits left ({found.image_bytes_known_from}); {size_text(found.disk_free)} free"
    if found.disk_bytes > found.disk_free:
        disk = f"NOT ENOUGH: {disk}"
    lines.append(_line("Disk", disk))
    lines += [_line("Note", one) for one in found.notes]
    return "\n".join(lines)


def _left(name: str, stage: StageForecast, found: Forecast) -> str:
    text = f"{stage.left} left of {stage.total}"
    if name == "Edits":
        return text + (f"; {found.failed} failed earlier (--retry-failed)" if found.failed else "")
    return f"{text}; {found.judge_calls} questions to a model"


def _stage(name: str, stage: StageForecast) -> list[str]:
    hardware = ", ".join(stage.hardware)
    shown = f" ({hardware})" if hardware != "CPU" else ""
    lines = [_line(name, stage.title)]
    if stage.devices:  # else nothing is left, and none was looked for
        lines.append(_line("", f"on {', '.join(stage.devices)}{shown}"))
    if stage.weights_bytes is not None and stage.need_bytes is not None:
        there = f"; each has {size_text(stage.device_bytes)}" if stage.device_bytes else ""
        lines.append(
            _line(
                "",
                f"{size_text(stage.need_bytes)} on each: {size_text(stage.weights_bytes)} weights + margin{there}",
            )
        )
    return lines


def _time(found: Forecast) -> list[str]:
    stages = [
        (name, stage)
        for name, stage in (("edit", found.edit), ("verdict", found.judge))
        if stage and stage.left
    ]
    if not stages:
        return [_line("Time", "nothing is left to do")]
    whole = "unknown" if found.seconds is None else f"{clock(found.seconds)} at the least, without loading"
    lines = [_line("Time", whole)]
    for name, stage in stages:
        runs, count = stage.learnt_from
        if stage.task_s is None:
            text = f"{name}: no earlier run of this kind, on this kind of device, beside the output"
        else:
            text = f"{name}: {stage.task_s:.2f} s (median of {count} in {_some(runs)})"
        lines.append(_line("", text))
    return lines


def _some(runs: Sequence[str]) -> str:
    more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
    return _near(runs[0]) + more


def _near(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _line(label: str, text: str) -> str:
    first, *rest = wrapped(clean(text), _COLUMNS - _LABEL_COLUMNS)
    return "\n".join([pad(label, _LABEL_COLUMNS) + first, *(" " * _LABEL_COLUMNS + line for line in rest)])
