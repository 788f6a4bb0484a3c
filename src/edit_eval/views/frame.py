"""One picture of a run for a terminal: lines of styled pieces, each fitted to the columns there are.

A pure function of the board, the time and the size. Knows no terminal; `terminal_rich` draws what this returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from edit_eval.driver.events import StageName
from edit_eval.views.board import Board, DeviceBoard
from edit_eval.views.lines import stage_noun
from edit_eval.views.text import Ink, clean, clock, fit, number, pad, per_second

__all__ = ["FrameLine", "draw", "totals"]

FrameLine = list[tuple[str, str]]
"""Pieces of one line: text and rich style."""

_MOST_DEVICES = 16
_LEAST_BAR, _MOST_BAR = 4, 30
_LABEL_COLUMNS = 16
_OTHER_LINES = 6
"""Rows of the screen that are left for the stages, the scores and what was printed last."""


@dataclass(frozen=True)
class _Bar:
    """A line with a bar: what stands before it, how full it is, and what stands after it, longest wording first."""

    head: str
    done: int
    total: int
    tails: tuple[str, ...]
    style: str
    note: str = ""


def draw(board: Board, now: float, columns: int, rows: int, ink: Ink) -> list[FrameLine]:
    """Return the lines of the live part of the screen: devices, then what `totals` returns.

    Args:
        board: the run so far.
        now: seconds since the run started.
        columns: that a line may fill.
        rows: of the whole screen.
        ink: what the terminal can show.
    """
    devices = list(board.devices.values())
    most = min(_MOST_DEVICES, max(1, rows - _OTHER_LINES))
    lines = (
        _collapsed(devices, now, columns, ink)
        if len(devices) > most
        else _devices(devices, now, columns, ink)
    )
    return lines + totals(board, now, columns, ink)


def totals(board: Board, now: float, columns: int, ink: Ink) -> list[FrameLine]:
    """Return the lines of the stages and of the scores; they are what stays on the screen at the end."""
    lines = _bars(_stages(board, now), columns, ink)
    scores = _scores(board)
    if scores:
        lines.append([(fit(scores, columns, ink.ellipsis), "")])
    return lines


def _devices(devices: Sequence[DeviceBoard], now: float, columns: int, ink: Ink) -> list[FrameLine]:
    labels = {one.label: fit(clean(one.label), _LABEL_COLUMNS, ink.ellipsis) for one in devices}
    width = max((cell_len(label) for label in labels.values()), default=0) + 2
    denoising = [one for one in devices if _is_denoising(one)]
    entries = [_step_bar(one, pad(f"[{labels[one.label]}]", width)) for one in denoising]
    drawn = dict(zip((one.label for one in denoising), _bars(entries, columns, ink), strict=True))
    lines = []
    for one in devices:
        words, style = _words(one, now)
        head = pad(f"[{labels[one.label]}]", width)
        text = fit(words, max(1, columns - width - 1), ink.ellipsis)
        lines.append(drawn.get(one.label) or [(head, "cyan"), (" " + text, style)])
    return lines


def _is_denoising(device: DeviceBoard) -> bool:
    return device.state == "ready" and device.stage == "edit" and device.steps > 0


def _step_bar(device: DeviceBoard, head: str) -> _Bar:
    count = f"{device.step:>{len(str(device.steps))}}/{device.steps}"
    elapsed, left = clock(device.step_elapsed), clock(device.step_left)
    tails = (
        f" {count} [{elapsed}<{left}, {per_second(device.step_rate)}]",
        f" {count} [{elapsed}<{left}]",
        f" {count}",
    )
    return _Bar(f"{head} Denoising:", device.step, device.steps, tails, "cyan", clean(device.sample_id))


def _activity(device: DeviceBoard) -> str:
    """Return in a word or two what `device` does; devices that do the same are counted together."""
    noun = stage_noun(device.stage)
    if device.state == "ready":
        if device.stage == "judge":
            return "Judging"
        return "Denoising" if device.steps else "Editing"
    return {
        "starting": f"Starting the {noun}",
        "loading": f"Loading the {noun}",
        "waiting": "Waiting",
        "stopping": f"Stopping the {noun}",
        "restarting": f"Restarting the {noun}",
        "retired": "Retired",
        "off": "Idle",
    }[device.state]


_STYLES = {
    "ready": "",
    "restarting": "yellow",
    "retired": "red",
    "waiting": "dim",
    "off": "dim",
    "stopping": "dim",
}


def _words(device: DeviceBoard, now: float) -> tuple[str, str]:
    """Return the line of a device that shows no bar, and its style."""
    text = _activity(device)
    if device.state == "ready" and device.stage is not None:
        pace = device.paces[device.stage]
        if pace.count:
            text += f": {pace.count} done, {per_second(pace.rate, 'image')}"
    elif device.state not in {"off", "retired"}:
        text += f" [{clock(now - device.since)}]"
    detail = "" if device.state == "ready" else clean(device.detail)
    return (f"{text}: {detail}" if detail else text), _STYLES.get(device.state, "")


def _collapsed(devices: Sequence[DeviceBoard], now: float, columns: int, ink: Ink) -> list[FrameLine]:
    """Return a line for every state with how many devices are in it and which, the most common one first."""
    groups: dict[str, list[DeviceBoard]] = {}
    for one in devices:
        groups.setdefault(_activity(one), []).append(one)
    lines: list[FrameLine] = []
    for activity, members in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        longest = clock(max(now - one.since for one in members))
        clocked = "" if members[0].state in {"ready", "off", "retired"} else f" [{longest}]"
        head = f"[{len(members):>{len(str(len(devices)))}} of {len(devices)}]"
        names = ", ".join(clean(one.label) for one in members)
        text = fit(f" {activity}{clocked}: {names}", columns - len(head), ink.ellipsis)
        lines.append([(head, "cyan"), (text, _STYLES.get(members[0].state, ""))])
    return lines


def _stages(board: Board, now: float) -> list[_Bar]:
    titles: dict[StageName, str] = {"edit": "Editing images:", "judge": "Scoring:"}
    shown = [(stage, title) for stage, title in titles.items() if stage in board.stages]
    width = max((len(title) for _, title in shown), default=0)
    digits = max((len(str(board.stages[stage].reachable)) for stage, _ in shown), default=1)
    bars = []
    for stage, title in shown:
        one = board.stages[stage]
        elapsed = clock(one.elapsed(now))
        count = f"{one.done:>{digits}}/{one.reachable:<{digits}}"
        tails = (f" {count} [{elapsed}<{clock(board.left(stage))}]", f" {count}")
        bars.append(_Bar(f"[SYNC] {title:<{width}}", one.done, one.reachable, tails, "bold green"))
    return bars


def _bars(entries: Sequence[_Bar], columns: int, ink: Ink) -> list[FrameLine]:
    """Return lines whose bars begin and end in the same columns, with the longest wording that leaves a bar."""
    if not entries:
        return []
    head = max(cell_len(one.head) for one in entries)
    wording, room = 0, 0
    for wording in range(len(entries[0].tails)):
        room = columns - head - len(" 100%||") - max(len(one.tails[wording]) for one in entries)
        if room >= _LEAST_BAR:
            break
    bar = max(0, min(room, _MOST_BAR))
    return [_bar_line(one, (head, bar, wording), columns, ink) for one in entries]


def _bar_line(one: _Bar, layout: tuple[int, int, int], columns: int, ink: Ink) -> FrameLine:
    head, bar, wording = layout
    percent = f"{one.done * 100 // one.total if one.total else 100:>4}%"
    tail = one.tails[wording]
    used = head + len(percent) + bar + 2 + len(tail)
    pieces: FrameLine = [
        (pad(one.head, head), one.style),
        (percent, ""),
        ("|", "dim"),
        (ink.bar(one.done, one.total, bar), "green"),
        ("|", "dim"),
        (tail, ""),
    ]
    note = fit(one.note, columns - used - 1, ink.ellipsis) if columns - used > 8 else ""
    if note:
        pieces.append((" " + note, "dim"))
    return (
        pieces if used <= columns else [(fit("".join(text for text, _ in pieces), columns, ink.ellipsis), "")]
    )


def _scores(board: Board) -> str:
    unscored, failed = board.scores.unscored, board.edit_failed
    parts = []
    if "judge" in board.stages:
        parts.append(f"scored {board.scores.count}, mean {number(board.scores.mean)}")
        parts.append(f"unscored {_short(unscored)}")
    if failed:
        parts.append(f"edits failed {_short(failed)}")
    return ", ".join(parts)


def _short(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    return f"{sum(counts.values())} ({shown})" if shown else "0"
