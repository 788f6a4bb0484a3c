"""The headline run: full-size models on every GPU of this machine at once, through the ordinary pool; under 10 minutes.

    python perf/headline.py [--per-gpu 4] [--steps 10] [--size 1024] [--tokens 128] [--engine vllm] [--scratch DIR]
                            [--output DIR] [--json FILE] [--join FILE ...] [--tiny]

Qwen-Image-Edit-2509, compiled as in a long job, and Qwen3-VL-30B-A3B at their released sizes with random weights:
`--per-gpu` edits on one GPU, for comparison; editors loaded on 2, 4, ... GPUs at once; then `--per-gpu` edits a GPU on all
of them, hand-over, and a verdict on every edit by vLLM where it is installed, else transformers.

Prints how editing scales, each device's busy share and waits, seconds to load with 1, 2, 4, 8 at once, the most memory of
the host taken, seconds to unload all at once, the timeline; and by arithmetic, labelled so, 900 edits of 40 steps on 6 and
8 GPUs beside the described 5.5 hours. With `--output` the run, its page and `timeline.svg` stay. `--json` keeps the
numbers as `pipeline.py` does, and either script's `--join` takes them up. Exits with 1 if editing on n GPUs is under
0.97 n, an unload over 2 s, or over 60 % of the host's memory was taken.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from compose import DESCRIBED_S, ours  # noqa: E402
from entry import script  # noqa: E402
from lanes import text, write_svg  # noqa: E402
from pipeline import (  # noqa: E402
    HEADLINE_EDITS,
    HEADLINE_STEPS,
    add_common,
    hand_over_lines,
    our_parts,
    scaling_lines,
    setting_of,
    settle,
    slowest,
    was_started,
)
from stages import Ran, Setting, devices_here, run, start_lines  # noqa: E402

from edit_eval.views.usage import usage_block  # noqa: E402

LEAST_SCALING = 0.97
MOST_UNLOAD_S = 2.0
MOST_MEMORY = 0.60
AT_ONCE = (1, 2, 4, 8)
ON = (6, 8)


def loads(setting: Setting, devices: Sequence[str], found: Mapping[str, Any]) -> dict[int, float]:
    """Return seconds to load an editor, the slowest one, by how many load at once; those that no other run gave are measured."""
    seconds = {1: slowest(found["one"], "load_s"), len(devices): slowest(found["all"], "load_s")}
    for count in AT_ONCE:
        if count < len(devices) and count not in seconds:
            some = devices[:count]
            ran = run(f"load-{count}", setting, some, count, stages=("edit",), steps=1)
            seconds[count] = max(one.load_s("edit") for one in ran.editors())
    return dict(sorted(seconds.items()))


def show_run(ran: Ran) -> None:
    """Print the timeline and what every device did with its seconds."""
    print(f"\n{text(ran.start)}\n\n{usage_block(ran.usage)}\n", flush=True)
    for name, watch in ran.watches.items():
        if watch.edits:
            print(
                f"{name}: busy {ran.busy_share(name):.1%} of its editing, from ready to its last edit; {len(watch.edits)} "
                f"edits, one in {watch.edit_s():.2f} s"
            )
    print("\n".join(start_lines(ran)))
    for note in ran.notes:
        print(f"warning: {note}")


def bounds(everything: Mapping[str, Any], at_once: Mapping[str, float] | Mapping[int, float]) -> list[str]:
    """Print load, memory and unload; return the promises that were broken."""
    print("load: " + ", ".join(f"{seconds:.1f} s with {count} at once" for count, seconds in at_once.items()))
    share = everything["memory_share"]
    print(f"host memory: at most {everything['memory_gib']:.1f} GiB taken, {share:.0%} of the machine's")
    broken = [f"{share:.0%} of the host's memory was taken"] if share >= MOST_MEMORY else []
    for stage, seconds in everything["unloads"].items():
        print(
            f"unload of every {stage} host: {seconds:.2f} s, the slowest, from the order to its memory being free"
        )
        if seconds > MOST_UNLOAD_S:
            broken.append(f"unload of a {stage} host took {seconds:.2f} s")
    return broken


def report(found: Mapping[str, Any], per_gpu: int, steps: int) -> list[str]:
    """Print what the numbers say; return the broken promises."""
    everything = found["all"]
    broken = bounds(everything, found["loads"])
    lines, bad = scaling_lines(found["one"], everything, LEAST_SCALING)
    print("\n".join(lines))
    broken += bad
    print("\n".join(hand_over_lines(everything, found.get("alone"))[0]))
    parts = our_parts(everything, steps, found.get("alone"))
    print(f"\nBy arithmetic from these parts ({per_gpu} edits a GPU), and not measured")
    for count in ON:
        composed = ours(parts, HEADLINE_EDITS, count, HEADLINE_STEPS)
        print("\n".join(composed.lines()))
        print(
            f"  described: {DESCRIBED_S:.0f} s = 5.5 h on 6 GPUs of 80 GB: {DESCRIBED_S / composed.seconds:.1f} times that"
        )
    return broken


def main() -> int:
    """Measure, print, and compare with what is promised."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--per-gpu", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--join", nargs="*", type=Path, default=[])
    add_common(parser)
    arguments = parser.parse_args()
    settle(arguments)
    if arguments.models != "full":
        arguments.per_gpu, arguments.steps = (3, 3) if arguments.scripted else (1, 2)
    found: dict[str, Any] = {}
    for path in arguments.join:
        found |= json.loads(path.read_text())
    with tempfile.TemporaryDirectory(prefix="edit-eval-perf-") as name:
        folder = arguments.output or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        setting = setting_of(arguments, folder)
        devices = devices_here(arguments.models, arguments.devices)
        print(f"{len(devices)} devices, {setting.models} models, judge on {setting.engine}", flush=True)
        if setting.engine == "vllm" and not was_started(setting):
            print("the judge's compile cache is empty: its start below is a cold one", flush=True)
        found["one"] = run("one", setting, devices[:1], arguments.per_gpu, stages=("edit",)).facts()
        print("one device: done", flush=True)
        ran = run("all", setting, devices, arguments.per_gpu * len(devices))
        found["all"] = ran.facts()
        was_started(setting, now=True)
        show_run(ran)
        keep(arguments, found, ran)
        found["loads"] = loads(setting, devices, found)
    broken = report(found, arguments.per_gpu, arguments.steps)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    for line in broken:
        print(f"BROKEN: {line}")
    held = arguments.models != "full" or not broken
    print("as promised" if arguments.models == "full" and held else "" if held else "not as promised")
    return 0 if held else 1


def keep(arguments: argparse.Namespace, found: Mapping[str, Any], ran: Ran) -> None:
    """Write what is kept: the numbers so far, the run's page, the picture of its timeline."""
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.output:
        command = [sys.executable, "-m", "edit_eval", "report", str(ran.output)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(f"page: {ran.output / 'report' / 'index.html'}" if done.returncode in (0, 3) else done.stderr)
    if arguments.svg or arguments.output:
        path = Path(arguments.svg) if arguments.svg else arguments.output / "timeline.svg"
        write_svg(ran.start, f"{len(ran.editors())} devices: edits, then verdicts", path)


if __name__ == "__main__":
    script(main)
