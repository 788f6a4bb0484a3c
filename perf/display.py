"""What watching costs: each display with 8 devices that report 10 times a second each, against `--display none`.

    python perf/display.py [--seconds 10] [--devices 8] [--hertz 10]

Half of the devices denoise, the others judge; edits end and verdicts come as on fast GPUs. Every display runs in a
process of its own, in real time, rich and the named baselines on a pseudo-terminal of 80 x 24 that another process
reads, plain and json into a pipe. Measured in the process that draws:

    cpu      CPU milliseconds a second, above those of `none`, which runs the same loop
    in loop  milliseconds a second that the driver's loop stands still for it: an upper bound of what it can take
             from a run, as models work in other processes

The baselines are ten stock bars, updated by the same events, at 4 frames a second: rich.progress.Progress, and tqdm
where it is installed. Exits with 1 if a display of ours takes 30 ms of CPU a second, or 1 % of the loop's time.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edit_eval.core.types import Verdict
from edit_eval.driver.events import (
    DeviceState,
    EditFinished,
    Event,
    RunStarted,
    StageStarted,
    StepProgress,
    VerdictGiven,
)
from edit_eval.views.terminal import open_display

OURS = ("none", "rich", "plain", "json")
STOCK = ("ten rich bars", "ten tqdm bars")
MOST_CPU_MS, MOST_LOOP_MS = 30.0, 10.0
STEPS, TOKENS, BATCH = 30, 20, 2
Show = Callable[[Event], None]


def opening(devices: int) -> list[Event]:
    """Return the events before the first step."""
    labels = tuple(f"GPU {one}" for one in range(devices))
    events: list[Event] = [
        RunStarted(0.0, "runs/x", "editor", "Judge", 900, {"edit": labels, "judge": labels}, BATCH),
        StageStarted(0.0, "edit", 900, 0),
        StageStarted(0.0, "judge", 900, 0),
    ]
    for number, label in enumerate(labels):
        events.append(DeviceState(0.0, label, "judge" if number % 2 else "edit", "ready"))
    return events


def happening(at: float, device: int, turn: int) -> list[Event]:
    """Return what a device reports on its turn: a step, and what has ended with it."""
    label = f"GPU {device}"
    if device % 2 == 0:
        edit, step = divmod(turn, STEPS)
        index = edit * 8 + device
        events: list[Event] = [StepProgress(at, label, index, f"scene-{index:04d}", step + 1, STEPS)]
        if step + 1 == STEPS:
            events.append(EditFinished(at, label, index, f"scene-{index:04d}", 3.0, STEPS))
        return events
    batch, token = divmod(turn, TOKENS)
    first = batch * 8 * BATCH + device * BATCH
    events = [StepProgress(at, label, first, f"scene-{first:04d}", token + 1, TOKENS, "judge")]
    if token + 1 == TOKENS:
        reason = "The image shows what was asked for, and nothing else has changed since."
        for index in range(first, first + BATCH):
            score = 5.0 + index % 50 / 10
            verdict = Verdict({"quality": score}, score, None, {"quality": reason}, reason)
            events.append(VerdictGiven(at, label, index, f"scene-{index:04d}", verdict))
    return events


@contextmanager
def shower(kind: str, devices: int) -> Iterator[tuple[Show, Callable[[], None]]]:
    """Yield what shows an event, and the tick, of one of ours or of a baseline."""
    if kind in OURS:
        with open_display(kind, sys.stdout) as display:
            yield display, display.tick
    elif kind == STOCK[0]:
        from rich.progress import Progress

        with Progress(refresh_per_second=4) as progress:
            bars = [progress.add_task(f"[GPU {one}] Denoising", total=STEPS) for one in range(10)]
            yield _on_bars(devices, lambda bar, done: progress.update(bars[bar], completed=done)), _nothing
    else:
        from tqdm import tqdm

        lines = [
            tqdm(total=STEPS, desc=f"[GPU {one}] Denoising", position=one, mininterval=0.25, file=sys.stdout)
            for one in range(10)
        ]

        def update(bar: int, done: int) -> None:
            if done < lines[bar].n:
                lines[bar].reset()
            lines[bar].update(done - lines[bar].n)

        yield _on_bars(devices, update), _nothing
        for line in lines:
            line.close()


def _on_bars(devices: int, update: Callable[[int, int], None]) -> Show:
    """Return what moves the bar of a device, and with ended tasks the two bars over all."""
    ended = [0, 0]

    def show(event: Event) -> None:
        if isinstance(event, StepProgress):
            update(int(event.device[4:]) % min(devices, 8), min(event.step, STEPS))
        elif isinstance(event, (EditFinished, VerdictGiven)):
            which = int(isinstance(event, VerdictGiven))
            ended[which] += 1
            update(8 + which, ended[which] % STEPS)

    return show


def _nothing() -> None:
    return


def child(kind: str, seconds: float, devices: int, hertz: float) -> None:
    """Show events for `seconds`; write what it took as JSON to descriptor 3."""
    period = 1 / (devices * hertz)
    in_loop = 0.0
    with shower(kind, devices) as (show, tick):
        for event in opening(devices):
            show(event)
        began, cpu = time.monotonic(), time.process_time()
        for count in range(int(seconds / period)):
            time.sleep(max(0.0, began + count * period - time.monotonic()))
            at = time.monotonic()
            events = happening(at - began, count % devices, count // devices)
            before = time.perf_counter()
            for event in events:
                show(event)
            tick()
            in_loop += time.perf_counter() - before
        cpu, wall = time.process_time() - cpu, time.monotonic() - began
    said = {"cpu_ms": 1000 * cpu / wall, "in_loop_ms": 1000 * in_loop / wall}
    os.write(3, json.dumps(said).encode())


def measure(kind: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Run a display in a process of its own; return what it says it took, and the bytes it wrote a second."""
    on_terminal = kind not in ("plain", "json", "none")
    ours, theirs = pty.openpty() if on_terminal else os.pipe()
    if on_terminal:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    read_end, write_end = os.pipe()
    options = [f"--{name}={getattr(arguments, name)}" for name in ("seconds", "devices", "hertz")]
    code = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(write_end), __file__, *options, "--child", kind],
        stdout=theirs,
        pass_fds=[write_end],
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    os.close(write_end)
    written = [0]
    reader = threading.Thread(target=_drain, args=(ours, written))
    reader.start()
    with os.fdopen(read_end) as result:
        said = result.read()
    if process.wait() != 0:
        raise RuntimeError(f"{kind}: exit code {process.returncode}")
    reader.join()
    os.close(ours)
    return {**json.loads(said), "bytes": written[0] / arguments.seconds}


def _drain(source: int, written: list[int]) -> None:
    while True:
        try:
            data = os.read(source, 1 << 16)
        except OSError:  # the other side of a terminal was closed
            return
        if not data:
            return
        written[0] += len(data)


def main() -> int:
    """Print the table; exit 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--hertz", type=float, default=10.0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.seconds, arguments.devices, arguments.hertz)
        return 0
    stock = [one for one in STOCK if "tqdm" not in one or importlib.util.find_spec("tqdm")]
    print(f"{arguments.devices} devices, {arguments.hertz:g} events a second each, {arguments.seconds:g} s")
    print(f"{'':14} {'cpu ms/s':>9} {'in loop ms/s':>13} {'bytes/s':>9} {'of ' + STOCK[0]:>17}")
    floor, found = 0.0, {}
    for kind in ("none", STOCK[0], *stock[1:], *OURS[1:]):
        one = found[kind] = measure(kind, arguments)
        floor = one["cpu_ms"] if kind == "none" else floor
        one["above_ms"] = one["cpu_ms"] - floor
        share = one["above_ms"] / found[STOCK[0]]["above_ms"] if STOCK[0] in found else 0.0
        shown = (
            f"{one['cpu_ms']:9.1f} (the loop itself)"
            if kind == "none"
            else (f"{one['above_ms']:9.1f} {one['in_loop_ms']:13.2f} {one['bytes']:9.0f} {share:17.2f}")
        )
        print(f"{kind:14} {shown}", flush=True)
    broken = [
        kind
        for kind in OURS[1:]
        if found[kind]["above_ms"] >= MOST_CPU_MS or found[kind]["in_loop_ms"] >= MOST_LOOP_MS
    ]
    limits = f"{MOST_CPU_MS:g} ms of CPU a second and {MOST_LOOP_MS / 10:g} % of the loop's time"
    print(f"BROKEN: {', '.join(broken)} not under {limits}" if broken else f"all under {limits}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
