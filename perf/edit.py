"""One edit on one GPU, at full size with random weights: ours beside a plain diffusers loop, in one run.

    python perf/edit.py [--steps 4] [--repeats 3] [--profile] [--ways qkv tuned ...] [--budget 340] [--json FILE] [--tiny]

Qwen-Image-Edit-2509 (28.9 B parameters, bfloat16), one source of 1024 x 1024, true CFG. Prints, each as it is known:

- a denoising step, plain and ours, in turns, medians over `--repeats` calls; peak memory; how much the images differ;
- seconds to compile, with an empty cache and with a filled one;
- what an edit takes beside its steps: the plain loop (open, edit, save), and ours (`worker.host` with its threads: one edit's
  image is written beside the next), and its share of an edit of 40 steps;
- where that goes: encoder, VAE, decoding, PNG, thumbnail ...;
- with `--profile`: kernels by time, the part of the time in which the GPU is busy, and the arithmetic floor of this card;
- other ways to run the denoiser (`perf/edit_ways.py`), one line each, until `--budget` seconds are over.

Exits with 1 if ours is not at least 1.25 times as fast a step as plain diffusers, or more than 6 % of an edit of 40 steps
is spent beside the steps. `--tiny` uses a toy model on the CPU, to try the script itself, and promises nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import edit_kernels as kernels  # noqa: E402
from edit_bench import STEPS, Bench, Call, difference, set_up, where  # noqa: E402
from edit_beside import compare_beside, other_parts, our_beside, parts  # noqa: E402
from edit_ways import OURS, WAYS, Switch, Way  # noqa: E402
from entry import need_gpus, script  # noqa: E402

LEAST_GAIN = 1.25
MOST_BESIDE = 0.06


# Steps -----------------------------------------------------------------------------------------------------------


def compare_steps(bench: Bench) -> Switch:
    """Measure a step, plain and ours in turns; leave ours on."""
    plain_first = bench.call(2)
    with bench.peak() as plain_peak:
        plain = [bench.call(bench.arguments.steps)]
    bench.say(
        "plain_peak",
        plain_peak,
        f"plain: peak memory {_gib(plain_peak)}, first call {plain_first.whole_s:.1f} s",
    )
    cold_s, back = first_call(bench, OURS)
    bench.say("compile_cold_s", cold_s, f"ours: compiled in {cold_s:.1f} s, cache empty")
    switch = Switch(bench.pipeline, back)
    with bench.peak() as our_peak:
        ours = [bench.call(bench.arguments.steps)]
    for _ in range(bench.arguments.repeats - 1):
        switch.off()
        plain.append(bench.call(bench.arguments.steps))
        switch.on()
        ours.append(bench.call(bench.arguments.steps))
    plain_s, our_s = _step(plain), _step(ours)
    bench.say("plain_step_s", plain_s, f"a step, plain diffusers: {plain_s:.4f} s  {_each(plain)}")
    bench.say(
        "our_step_s",
        our_s,
        f"a step, ours:            {our_s:.4f} s  {_each(ours)}, {plain_s / our_s:.3f} x plain",
    )
    bench.say("our_peak", our_peak, f"ours: peak memory {_gib(our_peak)}")
    apart = difference(plain[0].image, ours[0].image)
    again = difference(plain[0].image, plain[-1].image)
    text = f"images differ by {apart:.3f} of 255 in the mean (plain against itself: {again:.3f})"
    bench.say("difference", apart, f"ours and plain: {text}")
    return switch


def first_call(bench: Bench, way: Way) -> tuple[float, Callable[[], None]]:
    """Apply a way and call it; return the seconds of compiling (above a second call) and how it is taken back."""
    back = way.apply(bench.pipeline, bench.backend)
    try:
        first = bench.call(2).whole_s
        return max(0.0, first - bench.call(2).whole_s), back
    except BaseException:
        back()
        raise


def _step(calls: list[Call]) -> float:
    return statistics.median(statistics.median(one.steps_s) for one in calls)


def _each(calls: list[Call]) -> str:
    return "(" + ", ".join(f"{statistics.median(one.steps_s):.4f}" for one in calls) + ")"


def _gib(peak: dict[str, float]) -> str:
    return ", ".join(f"{value:.1f} GiB {name}" for name, value in peak.items()) or "not known"


def warm_compile(bench: Bench, switch: Switch) -> None:
    """Measure compiling with a filled cache, as a second host or a later run does."""
    switch.off()
    seconds, back = first_call(bench, OURS)
    bench.say("compile_warm_s", seconds, f"ours: compiled in {seconds:.1f} s, cache filled (same process)")
    back()


# Other ways, and the floor ---------------------------------------------------------------------------------------


def other_ways(bench: Bench, names: list[str]) -> None:
    """Measure other ways to run the denoiser, as far as the budget goes."""
    plain = bench.call(bench.arguments.steps + 2).image
    for name in names:
        if bench.left_s() < (200 if WAYS[name].slow else 60):
            bench.say(f"way_{name}", None, f"way {name}: left out, the budget is spent")
            continue
        try:
            compile_s, back = first_call(bench, WAYS[name])
        except (RuntimeError, ImportError, OSError, TypeError, AttributeError, ValueError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            bench.say(f"way_{name}", {"error": reason}, f"way {name}: does not run here: {reason}")
            continue
        with bench.peak() as peak:
            call = bench.call(bench.arguments.steps + 2)
        back()
        step_s = statistics.median(call.steps_s)
        apart = difference(plain, call.image)
        gain = bench.found["our_step_s"] / step_s
        facts = {"step_s": step_s, "compile_s": compile_s, "of_ours": gain, "difference": apart, "peak": peak}
        bench.say(
            f"way_{name}",
            facts,
            f"way {name} ({WAYS[name].what}): {step_s:.4f} s a step, {gain:.3f} x ours, compiled in {compile_s:.0f} s, "
            f"differs from plain by {apart:.3f}, {_gib(peak)}",
        )


def seen_shape(bench: Bench) -> kernels.Shape:
    """Return what the denoiser is given in a step."""
    seen: list[tuple[int, int]] = []

    def look(_module: Any, _arguments: Any, given: dict[str, Any]) -> None:
        seen.append((given["hidden_states"].shape[1], given["encoder_hidden_states"].shape[1]))

    transformer = bench.pipeline.transformer
    hook = transformer.register_forward_pre_hook(look, with_kwargs=True)
    bench.call(2)
    hook.remove()
    heads, width = transformer.config.num_attention_heads, transformer.config.attention_head_dim
    texts = tuple(text for _, text in seen[: len(seen) // 2])
    return kernels.Shape(seen[0][0], texts, heads * width, heads, transformer.config.num_layers)


def explain(bench: Bench) -> None:
    """Say what separates a step from its floor."""
    shape = seen_shape(bench)
    flop = shape.matmul_flop() + shape.attention_flop()
    bench.say(
        "shape", asdict(shape), f"{shape.image} image tokens, {shape.texts} of text: {flop:.3e} FLOP a step"
    )
    if not bench.cuda:
        return
    device = bench.editor.context.device
    step_s = bench.found["our_step_s"]
    low = kernels.floor(shape, device)
    bench.say(
        "floor",
        asdict(low),
        f"floor: {low.arithmetic_s:.4f} s by arithmetic at {low.matmul_rate / 1e12:.0f} TFLOP/s (best product measured); "
        f"{low.matmul_s + low.attention_s:.4f} s as the sum of its products ({low.matmul_s:.4f}) and attention "
        f"({low.attention_s:.4f}) alone; ours is {step_s / low.arithmetic_s:.2f} and "
        f"{step_s / (low.matmul_s + low.attention_s):.2f} times these",
    )
    for line in kernels.attention_lines(shape, device):
        print(line, flush=True)


def profiled(bench: Bench) -> None:
    """Say which kernels take the time, and how long the GPU has nothing to do in an edit."""
    import torch

    activities = [torch.profiler.ProfilerActivity.CUDA if bench.cuda else torch.profiler.ProfilerActivity.CPU]
    edits, steps = 3, bench.arguments.steps
    with torch.profiler.profile(activities=activities) as recorded:
        our_beside(bench, bench.found["our_step_s"], edits)
        bench.sync()
    if not bench.cuda:
        return
    events = [one for one in recorded.events() if one.device_type == torch.autograd.DeviceType.CUDA]
    spans = [(one.time_range.start / 1e6, one.time_range.end / 1e6) for one in events]
    found = [(one.name, end - begin) for one, (begin, end) in zip(events, spans, strict=True)]
    covered, whole = kernels.busy(spans)
    idle = (whole - covered) / (
        edits - 1
    )  # as many gaps between edits as there are; too much for those within
    edit_s = STEPS * bench.found["our_step_s"] + bench.found["ours_beside"]["seconds"]
    bench.say(
        "idle_s",
        idle,
        f"GPU without work, under the profiler: {idle:.3f} s an edit; of one of {STEPS} steps busy {1 - idle / edit_s:.2%}",
    )
    lines = kernels.kernel_lines(found, edits * steps)
    bench.say(
        "kernels",
        dict(kernels.kinds_of(found)),
        "\n".join([f"{edits} edits of {steps} steps, all in all:", *lines]),
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument(
        "--ways", nargs="*", choices=WAYS, default=[name for name, one in WAYS.items() if not one.slow]
    )
    parser.add_argument("--profile", action="store_true")
    parser.add_argument(
        "--budget", type=float, default=340.0, help="seconds after which no other way is begun"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.size, arguments.device, arguments.budget = 64, "cpu", 3600.0
    need_gpus([arguments.device])
    with tempfile.TemporaryDirectory(prefix="edit-eval-perf-") as name:
        bench = set_up(arguments, Path(name))
        try:
            where(bench)
            whole = measure(bench)
        finally:
            if arguments.json:
                arguments.json.write_text(json.dumps(bench.found, indent=1) + "\n")
    gain = bench.found["plain_step_s"] / bench.found["our_step_s"]
    good = whole and gain >= LEAST_GAIN and bench.found["ours_beside"]["share"] <= MOST_BESIDE
    return 0 if good or (arguments.tiny and whole) else 1


def measure(bench: Bench) -> bool:
    """Measure everything, what matters most first; return whether all of it ran."""
    switch = compare_steps(bench)
    works: dict[str, Callable[[], None]] = {
        "beside the steps": lambda: compare_beside(bench, switch),
        "parts": lambda: parts(bench),
        "floor": lambda: explain(bench),
        "profile": lambda: profiled(bench) if bench.arguments.profile else None,
        "warm compile": lambda: warm_compile(bench, switch),
        "other ways": lambda: other_ways(bench, bench.arguments.ways),
        "other parts": lambda: other_parts(bench),
    }
    failed = [name for name, work in works.items() if not _ran(name, work)]
    return not failed


def _ran(name: str, work: Callable[[], None]) -> bool:
    try:
        work()
    except Exception:  # noqa: BLE001 - what the others find is worth having; the exit code tells
        print(f"{name}: failed", file=sys.stderr)
        traceback.print_exc()
        return False
    return True


if __name__ == "__main__":
    script(main)
