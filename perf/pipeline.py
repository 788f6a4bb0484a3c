"""Every part of the whole job, ours and as described, in one run on this machine's GPUs; and a long job composed of them.

    python perf/pipeline.py [--edits 16] [--steps 5] [--size 1024] [--tokens 128] [--verdicts N] [--engine vllm]
                            [--scratch DIR] [--phases one all alone described] [--json FILE] [--join FILE ...] [--tiny]

Full-size models with random weights (`random_weights.py`), our editor compiled as in the long job, in four phases:

    one         the first GPU makes `--edits` edits: loading alone, an edit, what two devices are compared with
    all         every GPU edits and judges the same number through the ordinary pool, hand-over included
    alone       every GPU starts the same judge with nothing before it, and judges `--verdicts` scripted edits each
    described   the described design on one GPU (`described.py`): plain loop, `.to("cpu")`, slow experts, batches of 4

Prints the parts side by side, the hand-over, two devices beside one, and 900 edits of 40 steps on 6 GPUs composed from the
parts, labelled as arithmetic. With vLLM and an empty `--scratch` the judge is started once before, not measured, so that
compile caches are warm. `--svg` draws what the devices did in the phase `all`, with the described design below, from the
same zero on and on one device with its share of the edits. `--phases` does some, `--json` keeps what was measured, and
`--join` takes up what another call on the same machine kept. Exits with 1 if all phases are there and a promise is broken:
two devices at least 1.97 times one (0.985 n), the device idle at most 5 s longer than a judge's start takes, at most 30 s
from the last edit to the first verdict, at least 2.5 and 1.5 times the described design with one and with all devices judging.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edit_eval.driver.timeline import Start

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from compose import DESCRIBED_S, Composed, Described, Ours, described, ours  # noqa: E402
from described import measured as measure_described  # noqa: E402
from entry import script  # noqa: E402
from lanes import beside, text, write_svg  # noqa: E402
from stages import Ran, Setting, devices_here, run, start_lines, vllm_is_here  # noqa: E402

PHASES = ("one", "all", "alone", "described")
HEADLINE_EDITS, HEADLINE_STEPS, HEADLINE_DEVICES = 900, 40, 6
LEAST_SCALING = 0.985
MOST_IDLE_S = 5.0
MOST_HAND_OVER_S = 30.0
LEAST_RATIO_ONE, LEAST_RATIO_ALL = 2.5, 1.5

Facts = Mapping[str, Any]


def setting_of(arguments: argparse.Namespace, folder: Path) -> Setting:
    """Return what all runs of a measurement have in common."""
    scratch = arguments.scratch or folder / "scratch"
    return Setting(
        folder=folder,
        models=arguments.models,
        engine=arguments.engine,
        steps=arguments.steps,
        size=arguments.size,
        tokens=arguments.tokens,
        scratch=scratch,
        editor=json.loads(arguments.editor),
        judge=json.loads(arguments.judge),
    )


def warm_up(setting: Setting, devices: Sequence[str]) -> bool:
    """Fill an empty compile cache of vLLM, not measured; return whether that was needed."""
    if setting.engine != "vllm" or was_started(setting):
        return False
    ran = run("warm", setting, devices, len(devices), stages=("judge",))
    print(f"empty compile cache: the judge's first start took {slowest(ran.facts(), 'judge_load_s'):.1f} s")
    was_started(setting, now=True)
    return True


def was_started(setting: Setting, *, now: bool = False) -> bool:
    """Return whether a judge was started with this scratch folder before; `now`: note that one was."""
    mark = (setting.scratch or setting.folder) / f"started-{setting.engine}"
    if now:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    return mark.exists()


def measure_all(setting: Setting, devices: Sequence[str], edits: int) -> Ran:
    """Edit and judge on all devices; print the timeline."""
    ran = run("all", setting, devices, edits)
    print(f"\n{text(ran.start)}\n")
    print("\n".join(start_lines(ran)), flush=True)
    return ran


def measure_as_described(
    setting: Setting, share: int, device: str, plain: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the described design takes for one device's share of the edits and as many verdicts, in batches of 4."""
    full = setting.models == "full"
    return measure_described(
        setting.models,
        steps=setting.steps,
        edits=max(1, share - 1) if full else 1,  # and one before that is not measured
        size=setting.size,
        tokens=setting.tokens,
        batches=-(-share // 4) if full else 1,
        device=device if full else "cpu",
        plain=dict(plain),
    )


def show_timeline(start: Start, described_lane: Sequence[Any] | None, edits: int, path: str | None) -> None:
    """Draw what our devices did, with one of the described design below, from the same zero on, if that was measured."""
    count = len(start.lanes)
    title = f"{edits} edits and verdicts on {count} device{'s' if count > 1 else ''}"
    if described_lane:
        start = beside(start, "described", described_lane)
        title += "; below, the described design with the share of one"
        print(f"\n{text(start)}\n", flush=True)
    if path:
        write_svg(start, title, Path(path))


def slowest(facts: Facts, name: str) -> float:
    """Return the largest of a number over devices."""
    return float(max(one[name] for one in facts["devices"].values() if name in one))


def mean(facts: Facts, name: str) -> float:
    """Return the mean of a number over devices."""
    return statistics.fmean(one[name] for one in facts["devices"].values() if one.get(name) is not None)


def our_parts(everything: Facts, steps: int, rate: Facts | None = None) -> Ours:
    """Return our parts, from a run on all devices; verdicts a second from `rate`, if a longer run of judging is there."""
    step = mean(everything, "step_s")
    judged = rate or everything
    judging = [one for one in judged["devices"].values() if one["verdicts"]]
    return Ours(
        load=slowest(everything, "load_s"),
        first=slowest(everything, "first_extra_s"),
        step=step,
        around=mean(everything, "edit_s") - steps * step,
        unload=slowest(everything, "unload_s"),
        judge_start=max(
            one["until_judge_ready_s"] - one["unload_s"]
            for one in everything["devices"].values()
            if "until_judge_ready_s" in one
        ),
        verdict=len(judging) / judged["verdicts_per_s"],
    )


def described_parts(load_s: float, found: Mapping[str, float]) -> Described:
    """Return the described parts; an editor's load is taken to be ours, for random weights come from no disk."""
    return Described(
        load=load_s,
        step=found["step"],
        around=found["around"],
        unload=found["unload"],
        judge_start=found["judge_start"],
        verdict=found["verdict"],
    )


def parts_table(mine: Ours, theirs: Described | None) -> list[str]:
    """Return both designs' parts side by side, in seconds."""
    rows = [f"{'seconds':<44}{'ours':>10}{'described':>12}{'ratio':>8}"]
    for title, name in (
        ("load of an editor (described: taken to be ours)", "load"),
        ("a denoising step", "step"),
        ("around the steps of an edit", "around"),
        ("unload of one editor", "unload"),
        ("judge's start (described: alone)", "judge_start"),
        ("a verdict, of one device", "verdict"),
    ):
        left = getattr(mine, name)
        right = None if theirs is None else getattr(theirs, name)
        ratio = "-" if right is None or left <= 0 or name == "load" else f"{right / left:.2f}"
        rows.append(f"{title:<44}{left:>10.3f}{'-' if right is None else f'{right:.3f}':>12}{ratio:>8}")
    return rows


def hand_over_lines(everything: Facts, alone: Facts | None) -> tuple[list[str], list[str]]:
    """Return what the hand-over took on each device, and the promises that it broke."""
    lines, broken = [], []
    for name, one in everything["devices"].items():
        if "hand_over_s" not in one:
            lines.append(f"{name}: {one['edits']} edits, {one['verdicts']} verdicts: no hand-over")
            continue
        line = (
            f"{name}: last edit to first verdict {one['hand_over_s']:.1f} s: unload {one['unload_s']:.2f} s, judge ready "
            f"{one['until_judge_ready_s']:.1f} s after the last edit, first batch {one['first_batch_s']:.1f} s"
        )
        host = everything["hosts"].get(f"judge {name}", {})
        if "prepared_s" in host:
            line += f"; had imported before, in {host['prepared_s']:.1f} s"
        if one["hand_over_s"] > MOST_HAND_OVER_S:
            broken.append(f"{name}: {one['hand_over_s']:.1f} s from last edit to first verdict")
        start = (alone or {"devices": {}})["devices"].get(name, {}).get("judge_load_s")
        if start is not None:
            idle = one["until_judge_ready_s"] - start
            line += f"; alone it is ready after {start:.1f} s: {idle:+.1f} s"
            if idle > MOST_IDLE_S:
                broken.append(f"{name}: idle {idle:.1f} s longer than its judge's start takes")
        lines.append(line)
    return lines, broken


def scaling_lines(one: Facts, everything: Facts, least: float) -> tuple[list[str], list[str]]:
    """Return how editing scales beside one device, and the promise if it is broken."""
    count = sum(1 for device in everything["devices"].values() if device["edits"])
    ratio = everything["edits_per_s"] / one["edits_per_s"]
    [(name, alone)] = [(name, found) for name, found in one["devices"].items() if found["edits"]]
    together = everything["devices"].get(name, {}).get("edits_per_s")
    lines = [
        (
            f"editing: {everything['edits_per_s']:.4f} edits a second on {count} devices, {one['edits_per_s']:.4f} on one: "
            f"{ratio:.3f} times (load and compilation left out; they took {slowest(one, 'load_s'):.1f} and "
            f"{slowest(one, 'first_extra_s'):.1f} s on one, {slowest(everything, 'load_s'):.1f} and "
            f"{slowest(everything, 'first_extra_s'):.1f} s on {count})"
        )
    ]
    if together:
        lines.append(
            f"{name} alone {alone['edits_per_s']:.4f}, with the others {together:.4f}: {together / alone['edits_per_s']:.3f} "
            "of it; what is more or less than that in the ratio above is the difference between cards"
        )
    short = ratio < least * count
    return lines, [
        f"{ratio:.3f} times one device on {count}, at least {least * count:.3f} promised"
    ] if short else []


def ratio_lines(mine: Composed, theirs: Sequence[tuple[Composed, float]]) -> tuple[list[str], list[str]]:
    """Return the composed jobs with their arithmetic, and the promises that they break."""
    lines, broken = mine.lines(), []
    for one, least in theirs:
        ratio = one.seconds / mine.seconds
        lines += [*one.lines(), f"  {ratio:.2f} times ours; the aim is {least}"]
        if ratio < least:
            broken.append(f"{one.name}: {ratio:.2f} times ours, {least} promised")
    lines.append(
        f"described by its user: {DESCRIBED_S:.0f} s = 5.5 h; ours is {DESCRIBED_S / mine.seconds:.1f} times faster"
    )
    return lines, broken


def report(found: Mapping[str, Any], steps: int, edits: int) -> list[str]:
    """Print all that can be said of the phases that are there; return the broken promises."""
    broken: list[str] = []

    def say(title: str, lines: Sequence[str], bad: Sequence[str] = ()) -> None:
        print("\n".join(["", title, *lines]))
        broken.extend(bad)

    one, everything, alone = found.get("one"), found.get("all"), found.get("alone")
    if everything is None:
        return broken
    mine = our_parts(everything, steps, alone)
    theirs = described_parts(mine.load, found["described"]) if "described" in found else None
    say("Parts", parts_table(mine, theirs))
    say("Hand-over", *hand_over_lines(everything, alone))
    if one:
        say(f"{edits} edits", *scaling_lines(one, everything, LEAST_SCALING))
    count = (HEADLINE_EDITS, HEADLINE_DEVICES, HEADLINE_STEPS)
    pairs = (
        [
            (described(theirs, *count, judges=1), LEAST_RATIO_ONE),
            (described(theirs, *count, judges=HEADLINE_DEVICES), LEAST_RATIO_ALL),
        ]
        if theirs
        else []
    )
    say("By arithmetic from these parts, and not measured", *ratio_lines(ours(mine, *count), pairs))
    return broken


def main() -> int:
    """Measure the phases asked for, print, and compare with what is promised."""
    arguments = arguments_of(argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ))  # fmt: skip
    found: dict[str, Any] = {}
    for path in arguments.join:
        found |= json.loads(Path(path).read_text())
    with tempfile.TemporaryDirectory(prefix="edit-eval-perf-") as name:
        setting = setting_of(arguments, Path(name))
        devices = devices_here(arguments.models, arguments.devices)
        print(f"{len(devices)} devices, {setting.models} models, judge on {setting.engine}", flush=True)
        if {"all", "alone"} & set(arguments.phases):
            warm_up(setting, devices)
        ran: list[Ran] = []

        def everything() -> dict[str, Any]:
            ran.append(measure_all(setting, devices, arguments.edits))
            return ran[0].facts()

        phases: dict[str, Callable[[], Any]] = {
            "one": lambda: run("one", setting, devices[:1], arguments.edits, stages=("edit",)).facts(),
            "all": everything,
            "alone": lambda: run(
                "alone", setting, devices, arguments.verdicts * len(devices), stages=("judge",)
            ).facts(),
            "described": lambda: measure_as_described(
                setting, -(-arguments.edits // len(devices)), devices[0], json.loads(arguments.plain)
            ),
        }
        for phase in PHASES:
            if phase in arguments.phases:
                found[phase] = phases[phase]()
                print(f"{phase}: done", flush=True)
                if arguments.json:
                    arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if ran:
        show_timeline(ran[0].start, found.get("described", {}).get("lane"), arguments.edits, arguments.svg)
    broken = report(found, arguments.steps, arguments.edits)
    for line in broken:
        print(f"BROKEN: {line}")
    held = arguments.models != "full" or not broken
    print("as promised" if held and arguments.models == "full" else "" if held else "not as promised")
    return 0 if held else 1


def arguments_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line."""
    parser.add_argument("--edits", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument(
        "--verdicts", type=int, help="of each device, in the phase `alone`: 64 by vLLM, else 12"
    )
    parser.add_argument("--phases", nargs="*", choices=PHASES, default=list(PHASES))
    parser.add_argument("--join", nargs="*", default=[])
    add_common(parser)
    arguments = parser.parse_args()
    settle(arguments)
    arguments.verdicts = arguments.verdicts or (64 if arguments.engine == "vllm" else 12)
    if arguments.models != "full":
        arguments.edits, arguments.steps, arguments.verdicts = (6, 3, 3) if arguments.scripted else (2, 2, 1)
    return arguments


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what `headline.py` takes too."""
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--engine", choices=("auto", "vllm", "transformers"), default="auto")
    parser.add_argument("--devices")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--editor", default="{}", help="JSON: further parameters of our editor")
    parser.add_argument("--judge", default="{}", help="JSON: further parameters of our judge")
    parser.add_argument("--plain", default="{}", help="JSON: parameters of the described design's editor")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", help="file for a picture of the timeline")
    parser.add_argument("--tiny", action="store_true", help="toy models on CPU slots")
    parser.add_argument("--scripted", action="store_true", help="no models at all")


def settle(arguments: argparse.Namespace) -> None:
    """Fill in what depends on other arguments."""
    arguments.models = "scripted" if arguments.scripted else "tiny" if arguments.tiny else "full"
    if arguments.models != "full":
        arguments.size, arguments.tokens, arguments.engine = 64, 4, "transformers"
    else:  # as in the long job that is composed of these few edits
        arguments.editor = json.dumps({"compile": "on", **json.loads(arguments.editor)})
    if arguments.engine == "auto":
        arguments.engine = "vllm" if vllm_is_here() else "transformers"


if __name__ == "__main__":
    script(main)
