"""One picture of a run: a line a device, a bar a stage, the scores; each fitted to the columns there are.

A pure function of the board, the time and the size. Knows no terminal: `terminal_rich` draws what `draw` returns,
`terminal_plain` writes what `told` returns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from edit_eval.driver.events import DeviceStateName, StageName
from edit_eval.views.board import Board, DeviceBoard, Scores
from edit_eval.views.lines import stage_noun
from edit_eval.views.text import Ink, clean, clock, fit, kinds, number, pad, per_second, ranges

__all__ = ["FrameLine", "draw", "told", "totals"]

FrameLine = list[tuple[str, str]]
"""Pieces of one line: text and style (see `screen`)."""

_MOST_DEVICES = 16
_LEAST_BAR, _MOST_BAR = 4, 30
_TOLD_BAR = 10
_LABEL_COLUMNS = 16
_OTHER_LINES = 6
"""Rows of the screen that are left for the stages, the scores and what was printed last."""

_ACTIVITIES: dict[DeviceStateName, str] = {
    "starting": "Starting the {noun}",
    "loading": "Loading the {noun}",
    "waiting": "Waiting",
    "stopping": "Stopping the {noun}",
    "restarting": "Restarting the {noun}",
    "retired": "Retired",
    "off": "Idle",
}
_STYLES: dict[DeviceStateName, str] = {
    "restarting": "yellow",
    "retired": "red",
    "waiting": "dim",
    "off": "dim",
    "stopping": "dim",
}
_TITLES: dict[StageName, str] = {"edit": "Editing images", "judge": "Scoring"}
_UNITS: dict[StageName, str] = {"edit": "image", "judge": "score"}
_NUMBERED = re.compile(r"(.*\D)(\d+)")


@dataclass(frozen=True)
class _Bar:
    """A line with a bar: what stands before it, how full it is, and what stands after it, longest wording first."""

    head: str
    done: int
    total: int
    tails: tuple[str, ...]
    style: str
    note: str = ""

    @property
    def percent(self) -> str:
        """How full it is, rounded down, in five columns."""
        return f"{self.done * 100 // self.total if self.total else 100:>4}%"


def draw(board: Board, now: float, columns: int, rows: int, ink: Ink) -> list[FrameLine]:
    """Return the lines of the live part of the screen: devices, then what `totals` returns.

    Args:
        board: the run so far.
        now: seconds since the run started.
        columns: that a line may fill.
        rows: of the whole screen; the picture leaves one free.
        ink: what the terminal can show.
    """
    devices = list(board.devices.values())
    most = min(_MOST_DEVICES, max(1, rows - _OTHER_LINES))
    if len(devices) <= most:
        lines = _devices(devices, now, columns, ink)
    elif 1 < len(_by_node(devices)) <= most:
        lines = _nodes(devices, now, columns, ink)
    else:
        lines = _collapsed(devices, now, columns, ink)
    return (lines + totals(board, now, columns, ink))[-max(1, rows - 1) :]


def totals(board: Board, now: float, columns: int, ink: Ink) -> list[FrameLine]:
    """Return the lines of the stages and of the scores; they are what stays on the screen at the end."""
    lines = _bars(_stages(board, now), columns, ink)
    wordings = _scores(board, ink)
    if wordings:
        fitting = next((text for text in wordings if cell_len(text) <= columns), wordings[-1])
        lines.append([(fit(fitting, columns, ink.ellipsis), "")])
    return lines


def told(board: Board, now: float, ink: Ink) -> Iterator[str]:
    """Yield the same as lines for a file: what each device does, how far the stages are, the scores."""
    devices = list(board.devices.values())
    if len(devices) > _MOST_DEVICES and 1 < len(_by_node(devices)) <= _MOST_DEVICES:
        for node, members in _by_node(devices).items():
            yield f"[{clean(node)}] {_summed(members, now)}"
    elif len(devices) > _MOST_DEVICES:
        for activity, members in _groups(devices, now):
            yield f"[{len(members)} of {len(devices)}] {activity}: {_names(members)}"
    else:
        for one in devices:
            head = f"[{clean(one.label)}]"
            if _has_bar(one):
                bar = _step_bar(one, head, now)
                note = f" {bar.note}" if bar.note else ""
                yield f"{bar.head}{bar.percent}{bar.tails[0]}{note}"
            else:
                yield f"{head} {_words(one, now)[0]}"
    for bar in _stages(board, now, aligned=False):
        yield f"{bar.head}{bar.percent}|{ink.bar(bar.done, bar.total, _TOLD_BAR)}|{bar.tails[0]}"
    if board.scores.count or board.scores.unscored or board.edit_failed:
        yield from _scores(board, ink)[:1]


def _devices(devices: Sequence[DeviceBoard], now: float, columns: int, ink: Ink) -> list[FrameLine]:
    labels = {one.label: fit(clean(one.label), _LABEL_COLUMNS, ink.ellipsis) for one in devices}
    width = max((cell_len(label) for label in labels.values()), default=0) + 2
    busy = [one for one in devices if _has_bar(one)]
    entries = [_step_bar(one, pad(f"[{labels[one.label]}]", width), now) for one in busy]
    drawn = dict(zip((one.label for one in busy), _bars(entries, columns, ink), strict=True))
    lines = []
    for one in devices:
        words, style = _words(one, now)
        head = fit(pad(f"[{labels[one.label]}]", width), columns, ink.ellipsis)
        text = fit(" " + words, max(0, columns - cell_len(head)), ink.ellipsis)
        lines.append(drawn.get(one.label) or [(head, "cyan"), (text, style)])
    return lines


def _has_bar(device: DeviceBoard) -> bool:
    return device.state == "ready" and device.stage is not None and device.steps > 0


def _step_bar(device: DeviceBoard, head: str, now: float) -> _Bar:
    count = f"{device.step:>{len(str(device.steps))}}/{device.steps}"
    elapsed, left, rate = now - device.begun, device.step_left(now), device.step_rate
    if left is None and device.stage == "edit":
        left = device.task_left("edit", now) or None
    times = f" {count} [{clock(elapsed)}<{clock(left)}"
    tails = (f"{times}, {per_second(rate)}]" if rate else f"{times}]", f"{times}]", f" {count}")
    note = clean(device.sample_id)
    return _Bar(f"{head} {_activity(device)}:", device.step, device.steps, tails, "cyan", note)


def _activity(device: DeviceBoard) -> str:
    """Return in a word or two what `device` does; devices that do the same are counted together."""
    if device.state == "ready":
        if device.stage == "judge":
            return "Judging"
        return "Denoising" if device.steps else "Editing"
    return _ACTIVITIES[device.state].format(noun=stage_noun(device.stage))


def _words(device: DeviceBoard, now: float) -> tuple[str, str]:
    """Return the line of a device that shows no bar, and its style."""
    text = _activity(device)
    if device.state == "ready" and device.stage is not None:
        pace, rate = device.paces[device.stage], device.rate(device.stage)
        text += f" [{clock(now - device.begun)}]"
        if pace.count:
            text += f": {pace.count} done" + (f", {per_second(rate, _UNITS[device.stage])}" if rate else "")
    elif device.state == "waiting":
        text += f" for {'edits' if device.stage == 'judge' else 'work'} [{clock(now - device.since)}]"
    elif device.state not in {"off", "retired"}:
        text += f" [{clock(now - device.since)}]"
    detail = "" if device.state == "ready" else clean(device.detail)
    return (f"{text}: {detail}" if detail else text), _STYLES.get(device.state, "")


def _collapsed(devices: Sequence[DeviceBoard], now: float, columns: int, ink: Ink) -> list[FrameLine]:
    """Return a line for every activity with how many devices are at it and which, the most common one first."""
    lines: list[FrameLine] = []
    for activity, members in _groups(devices, now):
        head = fit(f"[{len(members):>{len(str(len(devices)))}} of {len(devices)}]", columns, ink.ellipsis)
        text = fit(f" {activity}: {_names(members)}", columns - cell_len(head), ink.ellipsis)
        lines.append([(head, "cyan"), (text, _STYLES.get(members[0].state, ""))])
    return lines


def _by_node(devices: Sequence[DeviceBoard]) -> dict[str, list[DeviceBoard]]:
    """Return the devices of each machine of a cluster, by its name; that of this one is empty."""
    nodes: dict[str, list[DeviceBoard]] = {}
    for one in devices:
        nodes.setdefault(one.label.rpartition("/")[0], []).append(one)
    return nodes


def _nodes(devices: Sequence[DeviceBoard], now: float, columns: int, ink: Ink) -> list[FrameLine]:
    """Return a line for every machine of a cluster: how many of its devices are at what."""
    nodes = _by_node(devices)
    labels = {name: fit(clean(name), _LABEL_COLUMNS, ink.ellipsis) for name in nodes}
    width = max(map(cell_len, labels.values())) + 2
    lines: list[FrameLine] = []
    for name, members in nodes.items():
        head = fit(pad(f"[{labels[name]}]", width), columns, ink.ellipsis)
        text = fit(" " + _summed(members, now), max(0, columns - cell_len(head)), ink.ellipsis)
        worst = next((one.state for one in members if one.state in {"retired", "restarting"}), None)
        lines.append([(head, "cyan"), (text, _STYLES.get(worst, "") if worst else "")])
    return lines


def _summed(devices: Sequence[DeviceBoard], now: float) -> str:
    """Return what devices do, with how many are at it: `6 Denoising, 0.24 image/s; 2 Loading the judge [00:12]`."""
    return "; ".join(f"{len(members)} {activity}" for activity, members in _groups(devices, now))


def _groups(devices: Sequence[DeviceBoard], now: float) -> Iterator[tuple[str, list[DeviceBoard]]]:
    """Yield what devices do, with their speed together or for how long they have been at it, and which."""
    groups: dict[str, list[DeviceBoard]] = {}
    for one in devices:
        groups.setdefault(_activity(one), []).append(one)
    for activity, members in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        stage = members[0].stage
        if members[0].state == "ready" and stage is not None:
            rates = [rate for rate in (one.rate(stage) for one in members) if rate]
            yield activity + (f", {per_second(sum(rates), _UNITS[stage])}" if rates else ""), members
        elif members[0].state in {"off", "retired"}:
            yield activity, members
        else:
            yield f"{activity} [{clock(max(now - one.since for one in members))}]", members


def _names(devices: Sequence[DeviceBoard]) -> str:
    """Return the labels, numbers that follow one another as a range: `GPU 0-39, GPU 41`."""
    numbers: dict[str, list[int]] = {}
    others: list[str] = []
    for one in devices:
        label = clean(one.label)
        match = _NUMBERED.fullmatch(label)
        if match and label == f"{match[1]}{int(match[2])}":
            numbers.setdefault(match[1], []).append(int(match[2]))
        else:
            others.append(label)
    return ", ".join([*(prefix + ranges(found) for prefix, found in numbers.items()), *others])


def _stages(board: Board, now: float, *, aligned: bool = True) -> list[_Bar]:
    shown = [(stage, f"{title}:") for stage, title in _TITLES.items() if stage in board.stages]
    width = max((len(title) for _, title in shown), default=0) if aligned else 0
    counts = [len(str(board.stages[stage].reachable)) for stage, _ in shown]
    digits = max(counts, default=1) if aligned else 0
    bars = []
    for stage, title in shown:
        one = board.stages[stage]
        elapsed = clock(one.elapsed(now))
        count = f"{one.done:>{digits}}/{one.reachable:<{digits}}"
        tails = (f" {count} [{elapsed}<{clock(board.left(stage, now))}]", f" {count}")
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
    tail = one.tails[wording]
    used = head + len(one.percent) + bar + 2 + len(tail)
    pieces: FrameLine = [
        (pad(one.head, head), one.style),
        (one.percent, ""),
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


def _scores(board: Board, ink: Ink) -> list[str]:
    """Return the line of the scores, longest wording first; nothing where nothing is known."""
    failed = board.edit_failed
    if "judge" not in board.stages:
        return [f"No edit: {kinds(failed)}"] if failed else []
    mean, unscored = _mean(board.scores, ink), board.scores.unscored
    lost = f", no edit {sum(failed.values())}" if failed else ""
    wordings = [
        f"{mean}, unscored {kinds(unscored)}{lost}",
        f"{mean}, unscored {sum(unscored.values())}{lost}",
    ]
    if failed:
        wordings.insert(0, f"{mean}, unscored {kinds(unscored)}, no edit {kinds(failed)}")
    return wordings


def _mean(scores: Scores, ink: Ink) -> str:
    error = scores.standard_error
    spread = "" if error is None else f" {ink.plus_minus} {error:.3f}"
    return f"Score {number(scores.mean)}{spread} (n = {scores.samples})"
