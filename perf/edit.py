"""One edit on one GPU, at full size with random weights: ours beside a plain diffusers loop, in one run.

    python perf/edit.py [--steps 4] [--repeats 3] [--profile] [--ways gelu qkv ...] [--budget 340] [--json FILE] [--tiny]

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
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from edit_eval.core.identity import file_sha256
from edit_eval.core.types import HostContext, Sample
from edit_eval.editors import qwen_image_edit
from edit_eval.editors._reuse import reuse_qwen_parts
from edit_eval.editors.qwen_image_edit import QwenImageEdit, QwenImageEditParams
from edit_eval.worker.flags import flags_of
from edit_eval.worker.host import Host
from edit_eval.worker.images import open_image, open_rgb, png_bytes, save_thumbnail
from edit_eval.worker.inputs import Inputs
from edit_eval.worker.protocol import FROM_HOST, Channel
from edit_eval.worker.roles import EditRole

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import edit_kernels as kernels  # noqa: E402
from edit_ways import OURS, PARTS, WAYS, Switch, Way  # noqa: E402
from random_weights import FullSizeEditor, tiny_checkpoint  # noqa: E402

STEPS = 40
LEAST_GAIN = 1.25
MOST_BESIDE = 0.06
INSTRUCTION = "Make the door blue."
STARTED = time.monotonic()


@dataclass
class Call:
    """One call of the pipeline: its image, seconds of each step but the first, and of everything."""

    image: Any
    steps_s: list[float]
    whole_s: float


@dataclass
class Bench:
    """The model, what it is asked for, and what was found."""

    arguments: argparse.Namespace
    editor: QwenImageEdit
    sources: list[Path]
    folder: Path
    backend: dict[str, Any]
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def pipeline(self) -> Any:
        """The pipeline of diffusers."""
        return self.editor.pipeline

    @property
    def cuda(self) -> bool:
        """Whether this is a GPU."""
        return bool(self.editor.context.device.startswith("cuda"))

    def left_s(self) -> float:
        """Return seconds until the budget is spent."""
        return float(self.arguments.budget - (time.monotonic() - STARTED))

    def say(self, name: str, value: Any, text: str) -> None:
        """Note a finding, and print it with the time."""
        self.found[name] = value
        print(f"[{time.monotonic() - STARTED:5.0f} s] {text}", flush=True)

    def sync(self) -> None:
        """Wait for the GPU."""
        import torch

        if self.cuda:
            torch.cuda.synchronize()

    def call(self, steps: int, source: Path | None = None, seed: int = 0) -> Call:
        """Edit as a plain loop of diffusers does."""
        import torch

        marks: list[Any] = []

        def mark(_pipeline: Any, _index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if self.cuda:
                marks.append(torch.cuda.Event(enable_timing=True))
                marks[-1].record()
            else:
                marks.append(time.monotonic())
            return tensors

        params = self.editor.params
        began = time.monotonic()
        image = self.pipeline(
            image=open_rgb(source or self.sources[0]),
            prompt=INSTRUCTION,
            negative_prompt=params.negative_prompt,
            true_cfg_scale=params.true_cfg_scale,
            num_inference_steps=steps,
            height=params.height,
            width=params.width,
            generator=torch.Generator("cpu").manual_seed(seed),
            callback_on_step_end=mark,
        ).images[0]
        self.sync()
        whole = time.monotonic() - began
        pairs = list(pairwise(marks))
        if self.cuda:
            return Call(image, [one.elapsed_time(other) / 1000 for one, other in pairs], whole)
        return Call(image, [other - one for one, other in pairs], whole)

    @contextmanager
    def peak(self) -> Iterator[dict[str, float]]:
        """Yield a dict that gets the peak memory in GiB of what is done within."""
        import torch

        result: dict[str, float] = {}
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        yield result
        if self.cuda:
            result["allocated"] = torch.cuda.max_memory_allocated() / 2**30
            result["reserved"] = torch.cuda.max_memory_reserved() / 2**30


# Setting up ------------------------------------------------------------------------------------------------------


def set_up(arguments: argparse.Namespace, folder: Path) -> Bench:
    """Make the model and the sources."""
    from PIL import Image

    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
    model = str(tiny_checkpoint("qwen-image-edit-plus", folder))
    params = QwenImageEditParams(
        num_inference_steps=arguments.steps, height=arguments.size, width=arguments.size, compile="off"
    )
    if arguments.tiny:
        _look_at_less()
        params = QwenImageEditParams(
            num_inference_steps=arguments.steps, height=64, width=64, dtype="float32", compile="off"
        )
    qwen_image_edit.reuse_qwen_parts = lambda _pipeline: None  # ours alone has it (`our_beside`)
    kind = QwenImageEdit if arguments.tiny else FullSizeEditor
    editor = kind(params, HostContext((arguments.device,), model))
    sources = []
    for number in range(4):
        ramp = Image.linear_gradient("L").resize((arguments.size, arguments.size))
        parts = (ramp, ramp.rotate(90), Image.effect_noise(ramp.size, 20 + number))
        Image.merge("RGB", parts).save(folder / f"{number}.png")
        sources.append(folder / f"{number}.png")
    return Bench(arguments, editor, sources, folder, {"backend": "eager"} if arguments.tiny else {})


def _look_at_less() -> None:
    """Have the pipeline look at 64 x 64 pixels of a source, not at 1024 x 1024."""
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as module

    module.VAE_IMAGE_SIZE, module.CONDITION_IMAGE_SIZE = 64 * 64, 56 * 56


def where(bench: Bench) -> None:
    """Say what this was measured on."""
    import diffusers
    import torch
    import transformers

    libraries = {one.__name__: one.__version__ for one in (torch, diffusers, transformers)}
    gpu = torch.cuda.get_device_name(0) if bench.cuda else "CPU"
    facts = {"device": gpu, "python": sys.version.split()[0], **libraries}
    bench.say("where", facts, ", ".join(f"{name} {value}" for name, value in facts.items()))


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


def difference(one: Any, other: Any) -> float:
    """Return the mean absolute difference of two images, 0..255."""
    from PIL import ImageChops, ImageStat

    return float(sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3)


def warm_compile(bench: Bench, switch: Switch) -> None:
    """Measure compiling with a filled cache, as a second host or a later run does."""
    switch.off()
    seconds, back = first_call(bench, OURS)
    bench.say("compile_warm_s", seconds, f"ours: compiled in {seconds:.1f} s, cache filled (same process)")
    back()


# Beside the steps ------------------------------------------------------------------------------------------------


def plain_beside(bench: Bench) -> list[float]:
    """Return seconds beside the steps of each edit of a plain loop: open, edit, save."""
    beside = []
    for number in range(bench.arguments.repeats):
        began = time.monotonic()
        call = bench.call(bench.arguments.steps, bench.sources[number % len(bench.sources)])
        call.image.save(bench.folder / f"plain-{number}.png")
        whole = time.monotonic() - began
        beside.append(whole - bench.arguments.steps * statistics.median(call.steps_s))
    return beside


def our_beside(bench: Bench, step_s: float, edits: int) -> list[float]:
    """Return seconds beside the steps of each edit but the first, through the real host and role."""
    ours, theirs = socket.socketpair()
    done: list[float] = []

    def hear() -> None:
        channel = Channel(theirs, FROM_HOST)
        while len(done) < edits and not channel.closed:
            for message in channel.receive_blocking():
                if message["type"] == "failed":
                    print(f"failed: {message['reason']}", file=sys.stderr)
                if message["type"] in ("done", "failed"):
                    done.append(time.monotonic())

    ears = threading.Thread(target=hear, daemon=True)
    ears.start()
    host, role = Host(ours), _role(bench.editor)
    host._role = role
    tasks = [{"id": str(n), "payload": payload(bench, n)} for n in range(edits)]
    back = reuse_qwen_parts(bench.pipeline)
    host._hear({"type": "task", "tasks": tasks[:2]})
    for number in range(edits):
        host._work(role, host._take(1))
        if tasks[number + 2 : number + 3]:
            host._hear({"type": "task", "tasks": tasks[number + 2 : number + 3]})
    ears.join(60)
    back()
    steps = bench.arguments.steps
    return [after - before - steps * step_s for before, after in pairwise(done)]


def _role(editor: QwenImageEdit) -> EditRole:
    role = EditRole.__new__(EditRole)
    role._editor, role._inputs, role._ahead = editor, Inputs(), {}
    return role


def payload(bench: Bench, number: int) -> dict[str, Any]:
    """Return a task as the driver makes it."""
    source = str(bench.sources[number % len(bench.sources)])
    names = ("image", "thumbnail", "source_thumbnail")
    return {
        "sample": Sample(f"s{number}", INSTRUCTION, (source,)).to_json(),
        "inputs": [[source, file_sha256(source)]],
        "seed": number,
        "repeat": 0,
        **{name: str(bench.folder / "run" / f"{name}-{number}") for name in names},
    }


def compare_beside(bench: Bench, switch: Switch) -> None:
    """Measure what edits take beside their steps, the plain loop and ours."""
    switch.off()
    plain = statistics.median(plain_beside(bench))
    switch.on()
    step_s, plain_step_s = bench.found["our_step_s"], bench.found["plain_step_s"]
    ours = statistics.median(our_beside(bench, step_s, bench.arguments.repeats + 1))
    for name, seconds, step in (("plain", plain, plain_step_s), ("ours", ours, step_s)):
        share = seconds / (STEPS * step + seconds)
        text = f"beside the steps, {name}: {seconds:.3f} s an edit, {share:.2%} of one of {STEPS} steps"
        bench.say(f"{name}_beside", {"seconds": seconds, "share": share}, text)


def parts(bench: Bench) -> None:
    """Measure each part beside the steps, one after the other, with the GPU waited for."""
    seconds: dict[str, list[float]] = {}
    pipeline, vae = bench.pipeline, bench.pipeline.vae
    targets = {
        "prompts (both) and images encoded": (pipeline, "encode_prompt"),
        "VAE encode": (vae, "encode"),
        "VAE decode": (vae, "decode"),
        "image processor, preprocess": (pipeline.image_processor, "preprocess"),
        "image processor, postprocess": (pipeline.image_processor, "postprocess"),
    }
    with _timed(bench, targets, seconds):
        image = bench.call(2).image
    source = bench.sources[0]
    data = png_bytes(image)
    works: dict[str, Callable[[], Any]] = {
        "open a source": lambda: open_image(source),
        "encode the PNG": lambda: png_bytes(image),
        "flags": lambda: flags_of(image, [open_rgb(source)], image.size, nan=False),
        "thumbnail": lambda: save_thumbnail(image, bench.folder / "thumb.webp"),
        "write and sync the PNG": lambda: (bench.folder / "x.png").write_bytes(data),
    }
    for name, work in works.items():
        began = time.monotonic()
        work()
        seconds[name] = [time.monotonic() - began]
    table = {name: round(sum(values), 4) for name, values in seconds.items()}
    bench.say(
        "parts_s",
        table,
        "an edit's parts, one after the other: " + ", ".join(f"{n} {s:.3f} s" for n, s in table.items()),
    )


@contextmanager
def _timed(
    bench: Bench, targets: dict[str, tuple[Any, str]], seconds: dict[str, list[float]]
) -> Iterator[None]:
    """Note how long these methods take, while within."""

    def timed(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            bench.sync()
            began = time.monotonic()
            try:
                return plain(*arguments, **options)
            finally:
                bench.sync()
                seconds.setdefault(name, []).append(time.monotonic() - began)

        return call

    for name, (owner, method) in targets.items():
        setattr(owner, method, timed(name, getattr(owner, method)))
    try:
        yield
    finally:
        for owner, method in targets.values():
            delattr(owner, method)


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
        except (RuntimeError, ImportError, TypeError, AttributeError, ValueError) as error:
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


def other_parts(bench: Bench) -> None:
    """Measure VAE and encoder in other ways."""
    targets = {
        "prompts": (bench.pipeline, "encode_prompt"),
        "VAE encode": (bench.pipeline.vae, "encode"),
        "VAE decode": (bench.pipeline.vae, "decode"),
    }
    for name in ["plain", *PARTS]:
        if bench.left_s() < (90 if name.endswith("compiled") else 20) or (
            bench.arguments.tiny and name != "plain"
        ):
            bench.say(f"parts_{name}", None, f"parts {name}: left out")
            continue
        seconds: dict[str, list[float]] = {}
        try:
            with PARTS[name](bench.pipeline) if name in PARTS else _nothing():
                bench.call(2)
                with _timed(bench, targets, seconds):
                    bench.call(2)
        except (RuntimeError, TypeError, AttributeError, ValueError) as error:
            bench.say(
                f"parts_{name}",
                None,
                f"parts {name}: does not run here: {' '.join(str(error).split())[:200]}",
            )
            continue
        table = {part: round(sum(values), 4) for part, values in seconds.items()}
        bench.say(
            f"parts_{name}",
            table,
            f"parts {name}: " + ", ".join(f"{part} {s:.3f} s" for part, s in table.items()),
        )


@contextmanager
def _nothing() -> Iterator[None]:
    yield


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
    sys.exit(main())
