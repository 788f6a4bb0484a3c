"""What a run took, as text: a table of devices, one of what an edit and a verdict took, and what stands out.

Pure functions of a `Usage`; 80 columns hold them as long as devices have names like `GPU 0` or `GPU 0+1`. The page shows
the same cells.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from edit_eval.driver.laggards import Laggard
from edit_eval.driver.usage import DeviceUsage, StageUsage, Usage
from edit_eval.views.text import UNDEFINED, clean, fit, pad

__all__ = ["device_rows", "heading", "laggard_lines", "stage_rows", "usage_block"]

_COLUMNS = 80
_LABEL_COLUMNS = 11
_MOST_LAGGARDS = 10
_GIB = 1 << 30
_OUTCOME = {"edit": "An edit", "judge": "A verdict"}
_WORK = {"edit": "editing", "judge": "judging"}


def usage_block(usage: Usage) -> str:
    """Return what the terminal shows of a run's devices, without a final newline."""
    lines = [f"Devices: {heading(usage)}", *_aligned(device_rows(usage)), "", *_aligned(stage_rows(usage))]
    if usage.price is not None and usage.cost is None:
        lines.append("  No GPU was used, so a price has nothing to be paid for.")
    found = laggard_lines(usage)
    if found:
        lines.append("")
    for line in found:
        lines += textwrap.wrap(
            line,
            _COLUMNS,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=True,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def heading(usage: Usage) -> str:
    """Return over what the tables are: `102.6 s; load to other in seconds`."""
    starts = f" in {usage.starts} starts" if usage.starts > 1 else ""
    return f"{_amount(usage.wall_s)} s{starts}; load, edit, judge, wait and other are seconds of it"


def device_rows(usage: Usage) -> list[tuple[str, ...]]:
    """Return the table of devices: its head, a row a device, and all of them if there are several."""
    head = ("Device", "busy", "util", "GiB", "Wh", "load", "edit", "judge", "wait", "other")
    rows = [_device_row(one) for one in usage.devices]
    if len(rows) > 1:
        rows.append(_all_row(usage))
    return [head, *rows]


def _device_row(one: DeviceUsage) -> tuple[str, ...]:
    seconds = (one.load_s, one.edit_s, one.judge_s, one.wait_s, one.other_s)
    return (
        fit(clean(one.device), _LABEL_COLUMNS),
        _percent(one.busy),
        _percent(one.utilisation),
        _gib(one.memory_bytes),
        _amount(one.energy_wh),
        *map(_amount, seconds),
    )


def _all_row(usage: Usage) -> tuple[str, ...]:
    def total(value: Callable[[DeviceUsage], float]) -> float:
        return sum(value(one) for one in usage.devices)

    work = total(lambda one: one.edit_s + one.judge_s)
    shares = [one.utilisation for one in usage.devices if one.utilisation is not None]
    memory = [one.memory_bytes for one in usage.devices if one.memory_bytes is not None]
    return (
        "all",
        _percent(work / usage.device_s if usage.device_s > 0 else None),
        _percent(sum(shares) / len(shares) if shares else None),
        _gib(max(memory, default=None)),
        _amount(usage.energy_wh),
        _amount(total(lambda one: one.load_s)),
        _amount(total(lambda one: one.edit_s)),
        _amount(total(lambda one: one.judge_s)),
        _amount(total(lambda one: one.wait_s)),
        _amount(total(lambda one: one.other_s)),
    )


def stage_rows(usage: Usage) -> list[tuple[str, ...]]:
    """Return the table of what an edit and a verdict took, and all; money only at a price."""
    by_gpu = usage.gpu_s > 0
    unit = "GPU-s" if by_gpu else "device-s"
    priced = usage.cost is not None
    rows = [("", "n", f"{unit} each", "Wh each", *(("cost each",) if priced else ()), unit, "Wh")]
    rows[0] += ("cost",) if priced else ()
    for name, one in usage.stages.items():
        if one.device_s > 0 or one.count:
            rows.append(_stage_row(name, one, by_gpu=by_gpu, priced=priced))
    rest = (UNDEFINED,) * (4 if priced else 3)
    whole = usage.gpu_s if by_gpu else usage.device_s
    rows.append(("In all", *rest, _amount(whole), _amount(usage.energy_wh)))
    rows[-1] += (_money(usage.cost),) if priced else ()
    return rows


def _stage_row(name: str, one: StageUsage, *, by_gpu: bool, priced: bool) -> tuple[str, ...]:
    return (
        _OUTCOME.get(name, name),
        str(one.count),
        _amount(one.gpu_s_each if by_gpu else one.device_s_each, 2),
        _amount(one.energy_wh_each, 3),
        *((_money(one.cost_each),) if priced else ()),
        _amount(one.gpu_s if by_gpu else one.device_s),
        _amount(one.energy_wh),
        *((_money(one.cost),) if priced else ()),
    )


def laggard_lines(usage: Usage) -> list[str]:
    """Return what stands out, the most costly first, one line each."""
    found = sorted(usage.laggards, key=lambda one: -one.seconds)
    lines = [_laggard(one) for one in found[:_MOST_LAGGARDS]]
    if len(found) > _MOST_LAGGARDS:
        lines.append(f"and {len(found) - _MOST_LAGGARDS} more: see the report as JSON")
    return lines


def _laggard(one: Laggard) -> str:
    work = _WORK.get(one.stage, one.stage)
    if one.kind == "idle":
        return f"{clean(one.device)} did no work in {one.share:.0%} of {work}: {clean(one.reason)}"
    return f"{clean(one.device)} was slower by {one.share:.0%} at {work}: {clean(one.reason)}"


def _percent(share: float | None) -> str:
    return UNDEFINED if share is None else f"{share:.0%}"


def _amount(value: float | None, decimals: int = 1) -> str:
    """Return a number in at most five or six columns; a dash where it is unknown."""
    if value is None:
        return UNDEFINED
    return f"{value:.0f}" if value >= 1000 else f"{value:.{decimals}f}"


def _gib(value: int | None) -> str:
    return UNDEFINED if value is None else f"{value / _GIB:.{1 if value >= _GIB else 2}f}"


def _money(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:.2f}" if value >= 10 else f"{value:.4f}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return rows as lines: the first column at the left, the others at the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        (
            "  "
            + "  ".join(
                pad(cell, width, right=column > 0)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
        ).rstrip()
        for row in rows
    ]
